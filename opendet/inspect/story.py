"""The whole story of one sample: where it came from, what is believed of it, where it went."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from opendet.inspect.part_keys import keys_gone, keys_out
from opendet.manifest import PartCommit
from opendet.record import Provenance, Record, Region
from opendet.schema import table_to_records
from opendet.stage_order import SAMPLE_STAGES

if TYPE_CHECKING:
    from opendet.build import Build


@dataclass(frozen=True, slots=True)
class Chapter:
    """What a stage did with the sample."""

    stage: str
    fate: str
    """`kept`, `dropped`, `quarantined`, or `not built`."""
    why: str = ""
    """The reason and what belongs to it, or the error and the attempt; empty for a kept one."""


@dataclass(frozen=True, slots=True)
class Story:
    key: str
    record: Record | None
    """The fullest record that there is of it; None if the source's stage refused it already."""
    chapters: tuple[Chapter, ...]
    """In the order of the stages. A key that two files of a source share has two at `source`."""


def tell_story(build: "Build", key: str) -> Story:
    """Raises ValueError, with the nearest keys, for a key that the build does not know."""
    record: Record | None = None
    chapters: list[Chapter] = []
    for stage in SAMPLE_STAGES:
        folder = build.stage_folder(stage)
        if not (folder / "manifest.json").is_file():
            chapters.append(Chapter(stage, "not built"))
            continue
        for part in build.manifest(stage).parts:
            if key in keys_out(folder, part):
                chapters.append(Chapter(stage, "kept"))
                record = record if stage == "shards" else _record_of(folder, part, key)
            chapters += _gone(stage, part, key)
    if all(chapter.fate == "not built" for chapter in chapters):
        if len(chapters) == len(SAMPLE_STAGES):
            raise ValueError(f"nothing of {build.name} is built: run `opendet data build`")
        raise ValueError(_unknown(build, key))
    return Story(key, record, tuple(chapters))


def story_lines(story: Story) -> Iterator[str]:
    """The story for people, line by line. The text in it is the source's and may hold anything."""
    yield story.key
    if story.record:
        yield from _origin_lines(story.record)
        yield from _caption_lines(story.record)
        for index, region in enumerate(story.record.regions):
            yield from _region_lines(index, region)
        yield from _name_lines(story.record)
    if story.chapters:
        yield "stages"
    for chapter in story.chapters:
        yield f"  {chapter.stage:<10} {chapter.fate}{': ' if chapter.why else ''}{chapter.why}"


# --- finding it


def _gone(stage: str, part: PartCommit, key: str) -> Iterator[Chapter]:
    """Why a part dropped or quarantined the sample, if it did."""
    for refused in part.dropped:
        if refused.key == key:
            detail = f" ({refused.detail})" if refused.detail else ""
            yield Chapter(stage, "dropped", refused.reason + detail)
    for failed in part.quarantined:
        if failed.key == key:
            yield Chapter(stage, "quarantined", f"{failed.error} (attempt {failed.attempt})")


def _record_of(folder: Path, part: PartCommit, key: str) -> Record:
    path = folder / f"{part.shard.name}.parquet"
    table = pq.read_table(path, filters=[("key", "==", key)])
    return table_to_records(table, where=str(path))[0]


def _unknown(build: "Build", key: str) -> str:
    known: set[str] = set()
    for part in build.manifest("source").parts:
        known.update(keys_out(build.stage_folder("source"), part), keys_gone(part))
    holding = sorted(one for one in known if key in one)[:3]
    near = holding or difflib.get_close_matches(key, sorted(known), n=3)
    hint = f"; the nearest: {', '.join(near)}" if near else ""
    return f"the build {build.name} has no sample {key!r}{hint}"


# --- telling it


def _origin_lines(record: Record) -> Iterator[str]:
    yield f"  from       {record.source}, batch {record.batch} ({record.split}), {record.licence}"
    size = f"{record.width}x{record.height}"
    yield f"  file       {record.file} ({record.format}, {size}, {record.bytes} bytes)"
    yield f"  sha256     {record.sha256}"
    if record.near_duplicate_of:
        yield f"  looks like {record.near_duplicate_of}"


def _caption_lines(record: Record) -> Iterator[str]:
    if record.caption:
        yield f"caption by {said_by(record.caption_from)}"
        yield f"  {record.caption}"
    else:
        yield from (f"source's caption  {text}" for text in record.source_captions)
    for phrase in record.phrases:
        spoken = record.caption[phrase.start : phrase.end]
        regions = ", ".join(map(str, phrase.regions))
        yield f"  {spoken!r}: {f'regions {regions}' if regions else 'no region'}"


def _region_lines(index: int, region: Region) -> Iterator[str]:
    corners = " ".join(f"{side:g}" for side in region.box_xyxy)
    fate = f"refused: {region.refusal}" if region.refusal else "kept"
    yield f"region {index}  [{corners}] by {said_by(region.box_from)}, {fate}"
    if region.label is not None:
        yield f"  label      {region.label}{' (crowd)' if region.crowd else ''}"
    if region.names:
        yield f"  names      {', '.join(region.names)}, by {said_by(region.names_from)}"
    if region.description:
        yield f"  described  {region.description} (by {said_by(region.description_from)})"
    if region.agreement is not None:
        rival = f"; {region.rival!r} {region.rival_agreement:.3f}" if region.rival else ""
        yield f"  agreement  {region.agreement:.3f}{rival}, by {said_by(region.agreement_from)}"
    if region.seconded is not None:
        yield f"  seconded   {region.seconded:.3f}"
    for what, checked in (("name", region.name_checked), ("box", region.box_checked)):
        if checked is not None:
            yield f"  verified   {what} by {said_by(checked)}"


def _name_lines(record: Record) -> Iterator[str]:
    for fate, judgements in (("absent", record.absent), ("partial", record.partial)):
        for judged in judgements:
            yield f"{fate:<10} {judged.name}, by {said_by(judged.judged_from)}"


def said_by(provenance: Provenance | None) -> str:
    if provenance is None:
        return "nobody"
    score = "" if provenance.score is None else f", score {provenance.score:.3f}"
    return " ".join(filter(None, (provenance.model, provenance.revision))) + score
