"""What of a record an export writes, and the account of what its format has no place for.

Every writer of a file of boxes reads its records through `exported`. It counts what is left out:
`image (<why>)` for whole images, `box <why>` or `crowd` for whole objects, `refused box` for those
that the stage `filter` refused, and for the rest the thing itself, such as `mask` or `phrase`.
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
    "caption",
    "source caption",
    "phrase",
    "tag",
    "conversation",
    "absent",
    "partial",
    "licence",
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


def exported(
    records: Iterable[Record],
    left_out: Counter[str],
    *,
    said: Set[Sayable],
    place: Callable[[str], str] = str,
) -> Iterator[tuple[Record, list[NamedObject]]]:
    """The records to write, in order, with their named objects; adds to `left_out`.

    `said` is what the format has a place for, `place` maps an image's file to what no two images
    of the export may share: a reader could not tell them apart. Raises ValueError for a record of
    no known split.
    """
    taken: set[str] = set()
    for record in records:
        if record.split not in get_args(Split):
            raise ValueError(
                f"record {record.key} is of the split {record.split[:40]!r}, expected one of "
                f"{', '.join(get_args(Split))}: build the stage again"
            )
        regions = [region for region in record.regions if region.kept]
        left_out["refused box"] += len(record.regions) - len(regions)
        problem = _problem_of(record)
        if not problem and place(record.file) in taken:
            problem = "same file as another"
        if problem:
            left_out[f"image ({problem})"] += 1
            left_out["box without image"] += len(regions)
            continue
        taken.add(place(record.file))
        objects = list(_named(regions, left_out, crowds="crowd" in said))
        left_out.update(_unsaid(record, objects, said))
        yield record, objects


def captions_of(record: Record) -> tuple[str, ...]:
    """What the source says of the image, then what the build does."""
    texts = (clean_text(text) for text in (*record.source_captions, record.caption))
    return tuple(dict.fromkeys(text for text in texts if text))


def name_of(region: Region) -> str:
    """The name that a file calls it by; empty where there is none."""
    return clean_text(region.names[0] if region.names else region.label or "")


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


def _unsaid(
    record: Record, objects: Iterable[NamedObject], said: Set[Sayable]
) -> dict[Sayable, int]:
    regions = [one.region for one in objects]
    present: dict[Sayable, int] = {
        "mask": sum(region.mask is not None for region in regions),
        "other label": sum(len(one.other_names) for one in objects),
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
    }
    return {what: count for what, count in present.items() if count and what not in said}
