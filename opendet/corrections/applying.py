"""What people said becomes part of the record: the last word on its regions.

A corrected region is kept whatever the rules said, and what models measured of the box or the name
that it had is gone. A person's name is the truth that evaluation judges by, wherever the source
said one. A region that was deleted stays where it is, refused as `corrected away`, so that no other
changes its number; one that was added comes last, and no crop vector of the build is its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from opendet.corrections.batches import Given
from opendet.corrections.edits import SAME_OBJECT, Edit, Seen, overlap, same_place, seen_of
from opendet.record import Phrase, Provenance, Record, Region

CORRECTION = "correction"
"""The model of a belief's provenance; its revision is the batch."""
CORRECTED_AWAY = "corrected away"
"""The refusal of a region that a person deleted."""


def is_corrected(region: Region) -> bool:
    """Whether a person's word stands in it."""
    said = (region.box_from, region.names_from, region.box_checked)
    return any(one is not None and one.model == CORRECTION for one in said)


@dataclass(slots=True, eq=False)
class _Spot:
    """A region on its way through the batches."""

    region: Region
    labelled: bool
    """Whether a name of it is a truth that evaluation judges by."""
    seen: list[Seen]
    """All that it was seen as: a later batch may speak of what an earlier one has changed since."""
    retold: bool = False
    """Whether the caption's phrases no longer speak of it."""


def corrected(record: Record, given: Given) -> Record:
    """The record with what was said of it, the later batch above the earlier one."""
    if not given:
        return record
    labels = [one.label is not None for one in record.regions]
    spots = [
        _Spot(region, label, [seen_of(region)])
        for region, label in zip(record.regions, labels, strict=True)
    ]
    for batch, edits in given:
        by = Provenance(CORRECTION, batch)
        for edit, spot in _found(edits, spots):
            if spot is not None:
                _change(spot, edit, by)
            elif edit.now is not None:
                spots.append(_added(edit.now, by, labelled=any(labels) or not labels))
    retold = {number for number, spot in enumerate(spots) if spot.retold}
    return replace(
        record,
        regions=tuple(spot.region for spot in spots),
        phrases=tuple(_without(retold, record.phrases)),
    )


def _found(edits: Iterable[Edit], spots: Sequence[_Spot]) -> list[tuple[Edit, _Spot | None]]:
    """The regions that the edits of one batch speak of, each another one. All are found before one
    is changed: two may have changed places."""
    free = list(spots)
    pairs: list[tuple[Edit, _Spot | None]] = []
    for edit in edits:
        spot = _spot_of(edit, free)
        if spot is not None:
            free.remove(spot)
        pairs.append((edit, spot))
    return pairs


def _spot_of(edit: Edit, spots: Sequence[_Spot]) -> _Spot | None:
    """The region in the very place, else, where the build has changed since, the one of its name
    that overlaps it most. What was added is there where an earlier batch added the same."""
    if edit.was is None:
        same = (one for one in spots if edit.now in one.seen and is_corrected(one.region))
        return next(same, None)
    was = edit.was
    best = max(spots, key=lambda one: (_likeness(was, one), one.region.kept), default=None)
    return best if best is not None and _likeness(was, best) else None


def _likeness(was: Seen, spot: _Spot) -> float:
    """How surely it is the one: 2 for its name in the very place, 1.5 for the place alone, else the
    IoU with one of its name, and 0 below `SAME_OBJECT`."""
    degrees = [0.0]
    for seen in spot.seen:
        iou = overlap(seen.box_xyxy, was.box_xyxy)
        if same_place(seen.box_xyxy, was.box_xyxy):
            degrees.append(2.0 if seen.name == was.name else 1.5)
        elif seen.name == was.name and iou >= SAME_OBJECT:
            degrees.append(iou)
    return max(degrees)


def _change(spot: _Spot, edit: Edit, by: Provenance) -> None:
    if edit.now is None:
        spot.region = _deleted(spot.region, by)
        spot.retold = True
        return
    kinds = edit.kinds
    spot.region = _unjudged(spot.region)
    if "moved" in kinds:
        spot.region = replace(spot.region, box_xyxy=edit.now.box_xyxy, box_from=by, mask=None)
    if "renamed" in kinds:
        spot.region = _renamed(spot.region, edit.now.name, by)
        spot.retold = True
    if not spot.region.names:  # it was shown by the source's word, and left so
        spot.region = replace(spot.region, names=(edit.now.name,), names_from=by)
    if spot.labelled and (spot.region.label is None or "renamed" in kinds):
        spot.region = replace(spot.region, label=edit.now.name)
    spot.seen.append(edit.now)


def _deleted(region: Region, by: Provenance) -> Region:
    """Refused, and no truth any more; who says so stands as the one who checked its box."""
    away = replace(by, score=0.0)
    return replace(region, refusal=CORRECTED_AWAY, label=None, other_labels=(), box_checked=away)


def _unjudged(region: Region) -> Region:
    """Kept, without what was measured of another box or another name."""
    return replace(
        region,
        refusal="",
        agreement=None,
        rival="",
        rival_agreement=None,
        agreement_from=None,
        seconded=None,
        name_checked=None,
        box_checked=None,
    )


def _renamed(region: Region, name: str, by: Provenance) -> Region:
    """Its sentence goes with the old name."""
    return replace(
        region,
        names=(name,),
        names_from=by,
        other_labels=(),
        description="",
        description_from=None,
    )


def _added(now: Seen, by: Provenance, *, labelled: bool) -> _Spot:
    label = now.name if labelled else None
    region = Region(now.box_xyxy, by, label=label, names=(now.name,), names_from=by)
    return _Spot(region, labelled, [now])


def _without(retold: set[int], phrases: Iterable[Phrase]) -> Iterable[Phrase]:
    """Phrases no longer speak of what has another name now, or is not there."""
    for phrase in phrases:
        yield replace(phrase, regions=tuple(one for one in phrase.regions if one not in retold))
