"""All that is known of one sample, as the page of a sample shows it: words, not our classes."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from opendet.inspect.story import said_by
from opendet.pages.entry import Entry, Fate, said, said_name
from opendet.record import Provenance, Record, Region

MOST_CAPTION = 20_000
"""Characters; a longer caption ends with a mark and how much is missing."""
MOST_TEXT = 2_000
_MOST_WORDS = 40
"""Names of a region, turns of a conversation and so on that are listed."""


def details_of(entry: Entry, *, small: str, large: str) -> dict[str, Any]:
    """`small` and `large` are the paths of its pictures, empty where there are none."""
    record = entry.record
    return {
        "key": said(entry.key, MOST_TEXT),
        "small": small,
        "large": large,
        "fate": _fate(entry.fate),
        **({} if record is None else _of_record(record)),
    }


def _of_record(record: Record) -> dict[str, Any]:
    return {
        "width": record.width,
        "height": record.height,
        "caption": caption_spans(record),
        "cut": max(0, len(record.caption) - MOST_CAPTION),
        "captionFrom": said(said_by(record.caption_from), MOST_TEXT) if record.caption else "",
        "regions": [_region(one) for one in record.regions],
        "facts": [[name, said(text, MOST_TEXT)] for name, text in _facts(record) if text],
        "texts": [[name, said(text, MOST_TEXT)] for name, text in _texts(record)],
    }


def _fate(fate: Fate | None) -> list[str]:
    if fate is None:
        return []
    return [said(text, MOST_TEXT) for text in (fate.what, fate.stage, fate.reason, fate.detail)]


# --- the caption


def caption_spans(record: Record) -> list[list[Any]]:
    """The caption in spans of [text, the regions it speaks of, whether it is a phrase].

    Phrases that overlap share spans. Cutting here and not in the page spares it from knowing that
    our offsets count characters and JavaScript's count halves of some.
    """
    text = record.caption[:MOST_CAPTION]
    phrases = [one for one in record.phrases if one.start < len(text)]
    edges = {0, len(text)} | {
        min(max(at, 0), len(text)) for one in phrases for at in (one.start, one.end)
    }
    places = sorted(edges)
    spans = []
    for start, end in pairwise(places):
        meant = [one for one in phrases if one.start < end and one.end > start]
        regions = sorted({number for one in meant for number in one.regions})
        spans.append([said(text[start:end], MOST_CAPTION), regions, bool(meant)])
    return spans


# --- regions


def _region(region: Region) -> dict[str, Any]:
    return {
        "box": [round(float(side), 2) for side in region.box_xyxy],
        "name": said_name(region),
        "names": [said(name, 200) for name in region.names[1:_MOST_WORDS]],
        "label": said(region.label or "", 200),
        "crowd": region.crowd,
        "refusal": said(region.refusal, 200),
        "description": said(region.description, MOST_TEXT),
        "score": _rounded(region.box_from.score),
        "agreement": _rounded(region.agreement),
        "rival": said(region.rival, 200),
        "rivalAgreement": _rounded(region.rival_agreement),
        "mask": "" if region.mask is None else region.mask.counts,
        "from": [[what, said(text, MOST_TEXT)] for what, text in _origins(region)],
    }


def _origins(region: Region) -> Iterator[tuple[str, str]]:
    """Who said what of it."""
    believed: tuple[tuple[str, Provenance | None], ...] = (
        ("box", region.box_from),
        ("names", region.names_from),
        ("description", region.description_from),
        ("agreement", region.agreement_from),
        ("mask", region.mask.mask_from if region.mask else None),
        ("name checked", region.name_checked),
        ("box checked", region.box_checked),
    )
    for what, origin in believed:
        if origin is not None:
            asked = f", asked {origin.prompt!r}" if origin.prompt else ""
            yield what, said_by(origin) + asked
    if region.seconded is not None:
        yield "seconded", f"{region.seconded:.3f}"
    if region.other_labels:
        yield "other labels", ", ".join(region.other_labels[:_MOST_WORDS])


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(float(number), 4)


# --- the rest


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    yield "source", record.source
    yield "batch", record.batch
    yield "split", record.split
    yield "licence", record.licence
    yield "file", record.file
    yield "image", f"{record.format}, {record.width} x {record.height}, {record.bytes:,} bytes"
    yield "sha256", record.sha256
    yield "looks like", record.near_duplicate_of
    yield "tags", ", ".join(record.tags[:_MOST_WORDS])
    yield "absent", ", ".join(one.name for one in record.absent[:_MOST_WORDS])
    yield "not all boxed", ", ".join(one.name for one in record.partial[:_MOST_WORDS])


def _texts(record: Record) -> Iterator[tuple[str, str]]:
    for text in record.source_captions[:_MOST_WORDS]:
        yield "the source's caption", text
    for turn in record.conversation[:_MOST_WORDS]:
        yield turn.speaker, turn.text
