"""What a user of the data must know, as the data itself shows it, and nothing that it does not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opendet.cards.about import MODEL, AnnotatorAbout
from opendet.cards.licences import forbidden_by
from opendet.cards.page import number, share
from opendet.cards.tally import GRAMMAR, RecordTally

_MUCH = 0.5
"""Share from which one name, or small boxes, are told to lead."""


def limits_of(
    tally: RecordTally,
    annotators: Sequence[AnnotatorAbout],
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    judged: Sequence[str],
) -> tuple[str, ...]:
    """A sentence each, in the order of weight: what is forbidden, what is wrong, what is thin.

    `judged`: the splits that the filter's rules look at.
    """
    return (
        *_forbidden(tally),
        *_unknown_licences(tally, annotators),
        *_written_by_rules(tally),
        *_left_wrong(metrics),
        *_unjudged(tally, judged),
        *_refused(tally),
        *_thin(tally),
        *_names(tally),
        *_doubled(tally),
    )


def _forbidden(tally: RecordTally) -> Iterator[str]:
    total = tally.licences.total()
    counts: dict[str, int] = {}
    for (_, licence), images in tally.licences.items():
        for what in forbidden_by(licence):
            counts[what] = counts.get(what, 0) + images
    for what, images in sorted(counts.items()):
        part = _of(images, total)
        yield f"The licences of {part} images forbid {what}: these are not to be used so."


def _unknown_licences(tally: RecordTally, annotators: Sequence[AnnotatorAbout]) -> Iterator[str]:
    if unsaid := sum(images for (_, licence), images in tally.licences.items() if not licence):
        yield f"Images that say no licence: {_of(unsaid, tally.licences.total())}."
    for one in annotators:
        if one.kind == MODEL and not one.licence:
            yield (
                f"The licence of the model {one.name} is unknown here, and so is what it allows "
                "to be done with what the model said."
            )


def _written_by_rules(tally: RecordTally) -> Iterator[str]:
    for what in ("captions", "descriptions"):
        by_all = sum(count for (_, _, said), count in tally.said.items() if said == what)
        by_rules = sum(
            count for (who, _, said), count in tally.said.items() if (who, said) == (GRAMMAR, what)
        )
        if by_rules:
            yield (
                f"A grammar wrote {share(by_rules, by_all)} of the {what} from the source's own "
                "boxes and names, without a look at the picture: they tell nothing that the "
                "annotations do not."
            )


def _left_wrong(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    planted = metrics.get("describe", {}).get("planted", 0)
    counts = metrics.get("filter", {})
    judged, caught = counts.get("planted.judged", 0), counts.get("planted.caught", 0)
    if judged > planted:  # names of models, or of people, are unlike the source's label too
        yield f"Names unlike the source's label that passed the filter: {number(judged - caught)}."
    elif judged:
        mended = ", unless people corrected them" if counts.get("corrected") else ""
        yield (
            f"Of {number(planted)} errors that were planted in the build, "
            f"{number(judged - caught)} passed the filter and {number(planted - judged)} lie where "
            f"it judges nothing: these texts and names are wrong{mended}."
        )
    elif planted:
        yield f"Texts made wrong on purpose, at which no filter has looked: {number(planted)}."


def _unjudged(tally: RecordTally, judged: Sequence[str]) -> Iterator[str]:
    if not judged and tally.splits:
        yield "No filter has judged any region."
    for name, split in sorted(tally.splits.items()) if judged else ():
        if split.regions and name not in judged:
            yield f"Regions of the split {name}, which no rule judged: {number(split.regions)}."


def _refused(tally: RecordTally) -> Iterator[str]:
    refused = sum(split.regions - split.kept for split in tally.splits.values())
    if refused:
        yield (
            f"Regions with a reason in their field refusal: {number(refused)}; nothing is to be "
            "learned from their names."
        )


def _thin(tally: RecordTally) -> Iterator[str]:
    for name, split in sorted(tally.splits.items()):
        if without := split.without_kept:
            part = _of(without, split.images)
            yield f"Images of the split {name} without a kept region: {part}."
        if without := split.images - split.captions:
            part = _of(without, split.images)
            yield f"Images of the split {name} without a caption: {part}."
    small, kept = tally.sizes["small"], tally.sizes.total()
    if small > _MUCH * kept:
        yield f"{share(small, kept)} of the kept boxes are smaller than 32 x 32 pixels."
    for split_name in ("train", "val"):
        if tally.splits and split_name not in tally.splits:
            yield f"There is no split {split_name}."


def _names(tally: RecordTally) -> Iterator[str]:
    names = tally.names
    if not names:
        return
    (first, count), named = names.most_common(1)[0], names.total()
    if len(names) == 1:
        yield f"Every named region is called {first}."
    elif count > _MUCH * named:
        part = share(count, named)
        yield f"{part} of the named regions are called {first}: read figures by name."
    if once := sum(count == 1 for count in names.values()):
        yield f"Names that come once: {_of(once, len(names))}."
    train = tally.splits.get("train")
    for split_name, split in sorted(tally.splits.items()):
        new = [name for name in split.names if train and name not in train.names]
        if new and split is not train:
            part = _of(len(new), len(split.names))
            yield f"Names of the split {split_name} that are not in train: {part}."


def _doubled(tally: RecordTally) -> Iterator[str]:
    if tally.twins:
        yield (
            f"Images that look like an earlier one: {number(tally.twins)}; the field "
            "near_duplicate_of names it, and it may be in another split."
        )


def _of(part: int, whole: int) -> str:
    return f"{number(part)} of {number(whole)}"
