"""What of a record an export writes, and the account of what its format has no place for.

Every writer of a file of boxes reads its records through `exported`. It counts what is left out:
`image (<why>)` for whole images, `box <why>` or `crowd` for whole objects, `refused box` for those
that the stage `filter` refused, and for the rest the thing itself, such as `mask` or `phrase`. Who
said a thing is nowhere said, and not counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, get_args

from opendet.record import Record, Region
from opendet.sources.card import Split
from opendet.sources.listing import clean_text, entry_of

Sayable = Literal[
    "crowd",
    "mask",
    "other label",
    "description",
    "score",
    "agreement",
    "second opinion",
    "name check",
    "box check",
    "caption",
    "source caption",
    "phrase",
    "tag",
    "conversation",
    "absent",
    "partial",
    "licence",
    "near duplicate",
]
"""What a format may have a place for, beside images, boxes and their names."""

_NAME_MAX = 255  # bytes of one step of a path, on all common file systems


@dataclass(frozen=True, slots=True)
class NamedObject:
    """A region under the name that a file calls it by."""

    name: str
    """What is believed first, else what the source says; without control characters."""
    other_names: tuple[str, ...]
    """Synonyms of the name, which is none of them."""
    region: Region

    @property
    def lost_words(self) -> int:
        """How many of the region's words are neither, such as the source's for what was renamed."""
        return len({*words_of(self.region)} - {self.name, *self.other_names})


def exported(
    records: Iterable[Record],
    left_out: Counter[str],
    *,
    said: Set[Sayable],
    place: Callable[[str], str] = str,
    by_key: bool = False,
) -> Iterator[tuple[Record, list[NamedObject]]]:
    """The records to write, in order, with their named objects; adds to `left_out`.

    `said` is what the format has a place for, `place` maps an image's file to what no two images
    of the export may share: a reader could not tell them apart. With `by_key` a reader does so by
    the keys, whatever the files. Raises ValueError for a record of no known split.
    """
    for record in written_images(records, left_out, place=place, by_key=by_key):
        regions = [region for region in record.regions if region.kept]
        left_out["refused box"] += len(record.regions) - len(regions)
        objects = list(_named(regions, left_out, crowds="crowd" in said))
        left_out.update(_unsaid(record, objects, said))
        yield record, objects


def written_images(
    records: Iterable[Record],
    left_out: Counter[str],
    *,
    place: Callable[[str], str] = str,
    several: bool = False,
    by_key: bool = False,
) -> Iterator[Record]:
    """The records whose images a reader can tell apart; adds the others, with their boxes.

    With `several`, a format that has an image in several lines takes one that comes again with the
    same bytes; with `by_key` all are told apart. Raises ValueError for a record of no known split.
    """
    taken: dict[str, str] = {}  # place -> the bytes' digest
    for record in records:
        if record.split not in get_args(Split):
            raise ValueError(
                f"record {record.key} is of the split {record.split[:40]!r}, expected one of "
                f"{', '.join(get_args(Split))}: build the stage again"
            )
        if by_key:
            yield record
            continue
        problem = _problem_of(record)
        if not problem and (first := taken.get(place(record.file))) is not None:
            same = several and first == record.sha256
            problem = "" if same else "same file as another"
        if problem:
            count_lost_image(record, problem, left_out)
        else:
            taken[place(record.file)] = record.sha256
            yield record


def count_lost_image(record: Record, why: str, left_out: Counter[str]) -> None:
    """Add an image and its boxes."""
    kept = sum(region.kept for region in record.regions)
    left_out[f"image ({why})"] += 1
    left_out["box without image"] += kept
    left_out["refused box"] += len(record.regions) - kept


def captions_of(record: Record) -> tuple[str, ...]:
    """What the source says of the image, then what the build does."""
    texts = (clean_text(text) for text in (*record.source_captions, record.caption))
    return tuple(dict.fromkeys(text for text in texts if text))


def name_of(region: Region) -> str:
    """The name that a file calls it by; empty where there is none."""
    return clean_text(region.names[0] if region.names else region.label or "")


def words_of(region: Region) -> tuple[str, ...]:
    """All that it is called, each once: what is believed first, then what the source says."""
    words = (*region.names, region.label or "", *region.other_labels)
    return tuple(dict.fromkeys(filter(None, map(clean_text, words))))


def judgements_of(regions: Iterable[Region]) -> dict[Sayable, int]:
    """How often regions were judged, by each of the ways."""
    listed = list(regions)
    return {
        "agreement": sum(one.agreement is not None or bool(one.rival) for one in listed),
        "second opinion": sum(one.seconded is not None for one in listed),
        "name check": sum(one.name_checked is not None for one in listed),
        "box check": sum(one.box_checked is not None for one in listed),
    }


def _problem_of(record: Record) -> str:
    """Why nothing may be written under the name of the record's file: it would leave the folder."""
    path = PurePosixPath(record.file)
    # A suffix of four characters takes the place of its own in files that are named after it.
    if not path.name or len(path.stem.encode(errors="replace")) + 4 > _NAME_MAX:
        return "unusable file name"
    return entry_of(record.batch, "", record.file).problem


def _named(
    regions: Iterable[Region], left_out: Counter[str], *, crowds: bool
) -> Iterator[NamedObject]:
    for region in regions:
        name = name_of(region)
        if not name:
            left_out["box without name"] += 1
        elif region.crowd and not crowds:  # as a plain box it would be taken for one object
            left_out["crowd"] += 1
        else:
            yield NamedObject(name, _other_names(region, name), region)


def _other_names(region: Region, name: str) -> tuple[str, ...]:
    """The source's synonyms are those of its own word: they count where the name is that word."""
    words = list(region.names[1:])
    if not region.names or region.names[0] == region.label:
        words += region.other_labels
    cleaned = dict.fromkeys(clean_text(word) for word in words)
    return tuple(word for word in cleaned if word and word != name)


def _unsaid(record: Record, objects: Iterable[NamedObject], said: Set[Sayable]) -> Counter[Sayable]:
    regions = [one.region for one in objects]
    present: dict[Sayable, int] = {
        "mask": sum(region.mask is not None for region in regions),
        "other label": sum(len(one.other_names) for one in objects),
        **judgements_of(regions),
        "description": sum(bool(region.description) for region in regions),
        "score": sum(region.box_from.score is not None for region in regions),
        "caption": int(bool(record.caption)),
        "source caption": len(record.source_captions),
        "phrase": len(record.phrases),
        "tag": len(record.tags),
        "conversation": int(bool(record.conversation)),
        "absent": len(record.absent),
        "partial": len(record.partial),
        "licence": int(bool(record.licence)),
        "near duplicate": int(bool(record.near_duplicate_of)),
    }
    unsaid = Counter({what: count for what, count in present.items() if what not in said})
    unsaid["other label"] += sum(one.lost_words for one in objects)
    return +unsaid
