"""The stage `source` as a whole: check every listed image, judge duplicates, plan the shards.

Checking is the work, and runs in chunks of the listing on the flow. What follows needs all of a
batch at once and little time: duplicates are judged and shards planned here, in order. What a chunk
refused is booked on the shard where the chunk's first good image went, so the ledger adds up.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

from opendet.curate.duplicates import deduplicate
from opendet.curate.plan import plan_shards
from opendet.curate.source import Checked, SourceChecker, SourceConfig, tally
from opendet.flow import Ran
from opendet.manifest import DroppedEntry, Manifest, PartCommit, ShardName
from opendet.record import Record
from opendet.sample import Dropped
from opendet.schema import read_records, write_records
from opendet.sources.batches import chunks, list_batch, require_worth
from opendet.sources.card import Batch, SourceCard
from opendet.sources.containers import container_name, write_images
from opendet.sources.digest import listing_digest
from opendet.sources.listing import Entry
from opendet.stage import Stage, Task
from opendet.work import WorkFolder, link_or_copy

log = logging.getLogger(__name__)


def check_stage(
    card: SourceCard, config: SourceConfig, *, root: Path, fingerprint: str
) -> tuple[Stage[Entry, Checked], list[Task]]:
    """The stage that checks the listing, and its tasks: one per chunk of each batch.

    Raises ValueError where a source's folder or annotation file is missing or broken.
    """
    listed: dict[str, Sequence[Entry]] = {}
    tasks: list[Task] = []
    for batch in card.batches:
        for number, chunk in enumerate(chunks(list_batch(card, batch, root))):
            name = ShardName(f"{batch.name}-{number:06d}", batch.name, batch.split)
            listed[name.name] = chunk
            tasks.append(Task(name, {"listing": listing_digest(card, batch, chunk, root)}))
    stage = Stage(
        name="source",
        fingerprint=fingerprint,
        read=partial(_listed, listed),
        load=partial(SourceChecker, config, card, root),
        write=_write_checked,
        tally=tally,
    )
    return stage, tasks


def plan(
    card: SourceCard, config: SourceConfig, checked: Ran, checks: WorkFolder, work: WorkFolder
) -> Ran:
    """Judge duplicates, cut the shards, and write their parts into `work`.

    `checks` is the work folder of the check stage, `checked` what it did. Raises ValueError for a
    batch without a single good image, or without a box where its format is for boxes.
    """
    chunks_of = {
        name: list(group)
        for name, group in groupby(checked.manifest.parts, lambda part: part.shard.batch)
    }
    records = {part.shard.name: _records(checks, part) for part in checked.manifest.parts}
    # In the card's order: a batch is judged against itself and those before it.
    in_order = (
        record
        for batch in card.batches
        for part in chunks_of.get(batch.name, ())
        for record in records[part.shard.name]
    )
    for batch in card.batches:
        parts = chunks_of.get(batch.name, ())
        _require_worth(card, batch, parts, [one for p in parts for one in records[p.shard.name]])
    _tell_of_changes(checked, checks)
    judged = iter(deduplicate(in_order, config))
    commits: list[PartCommit] = []
    for batch in card.batches:
        drafts = _draft_shards(
            batch,
            config,
            [
                (part, [next(judged) for _ in records[part.shard.name]])
                for part in chunks_of.get(batch.name, ())
            ],
        )
        commits += [draft.commit(work) for draft in drafts]
    came = sum(part.samples_in for part in checked.manifest.parts)
    assert sum(commit.samples_in for commit in commits) == came, f"{came} images were listed"
    return Ran(Manifest("source", checked.manifest.fingerprint, tuple(commits)), checked.parts_made)


def _require_worth(
    card: SourceCard, batch: Batch, parts: Sequence[PartCommit], records: Sequence[Record]
) -> None:
    refused = Counter(entry.reason for part in parts for entry in part.dropped)
    refused["quarantined"] = sum(len(part.quarantined) for part in parts)
    require_worth(
        card,
        batch,
        images=len(records),
        boxes=sum(len(record.regions) for record in records),
        texts=sum(
            bool(record.caption or record.source_captions or record.conversation)
            for record in records
        ),
        refused=+refused,
    )


def _tell_of_changes(checked: Ran, checks: WorkFolder) -> None:
    """One line for each batch that was built before from something else."""
    if not checked.parts_made:
        return
    commits = sorted(
        (checks.root / "commits").glob("*.json"), key=lambda path: path.stat().st_mtime_ns
    )
    chunks = [path.stem.rpartition("-")[0] for path in commits]  # behind it is what it was made of
    versions = Counter(chunks)
    made = chunks[-checked.parts_made :]
    again = Counter(chunk.rpartition("-")[0] for chunk in made if versions[chunk] > 1)
    for batch, count in again.items():
        log.warning(
            "batch %s is not what it was when it was built before: %d of its chunks were checked "
            "again, and its shards will be made again; new images belong in a new batch",
            batch,
            count,
        )


def link_drawn_images(checked: Ran, checks: WorkFolder, folder: Path, _: Manifest) -> None:
    """Put the files that hold drawn images beside the published parts."""
    for part in checked.manifest.parts:
        source = checks.part_folder(part.shard.name, part.files)
        for name in part.files:
            if name.startswith("images-"):
                link_or_copy(source / name, folder / name)


@dataclass
class _Draft:
    """A shard's part while its ledger is being filled."""

    name: ShardName
    records: Sequence[Record]
    chunks: list[tuple[PartCommit, list[Dropped]]] = field(default_factory=list)
    """What was checked, and refused, on the way to this shard."""

    def commit(self, work: WorkFolder) -> PartCommit:
        shard = self.name.name
        files = work.write_part(
            shard, lambda folder: write_records(folder / f"{shard}.parquet", self.records)
        )
        dropped = [
            entry
            for part, twins in self.chunks
            for entry in (*part.dropped, *(DroppedEntry(t.key, t.reason, t.detail) for t in twins))
        ]
        quarantined = [entry for part, _ in self.chunks for entry in part.quarantined]
        counts = sum((Counter(part.tally) for part, _ in self.chunks), Counter[str]())
        return PartCommit(
            shard=self.name,
            samples_in=len(self.records) + len(dropped) + len(quarantined),
            samples_out=len(self.records),
            dropped=tuple(dropped),
            quarantined=tuple(quarantined),
            tally=dict(sorted(counts.items())),
            files=files,
        )


def _draft_shards(
    batch: Batch,
    config: SourceConfig,
    judged: Sequence[tuple[PartCommit, Sequence[Record | Dropped]]],
) -> Iterator[_Draft]:
    """A batch's shards, each with the chunks whose first good image it holds."""
    kept = [item for _, items in judged for item in items if isinstance(item, Record)]
    shards = plan_shards(
        kept,
        batch=batch.name,
        split=batch.split,
        shard_bytes=config.shard_bytes,
        max_samples=config.shard_samples,
    ) or [(ShardName(f"{batch.name}-000000", batch.name, batch.split), [])]
    drafts = [_Draft(name, records) for name, records in shards]
    home_of = {record.key: draft for draft in drafts for record in draft.records}
    home = drafts[0]
    for part, items in judged:
        good = next((item for item in items if isinstance(item, Record)), None)
        home = home_of[good.key] if good else home
        home.chunks.append((part, [item for item in items if isinstance(item, Dropped)]))
    return iter(drafts)


def _listed(listed: Mapping[str, Sequence[Entry]], task: Task) -> Sequence[Entry]:
    return listed[task.shard.name]


def _write_checked(folder: Path, chunk: str, items: Sequence[Checked]) -> None:
    write_records(folder / f"{chunk}.parquet", [item.record for item in items])
    drawn = [(item.key, item.content) for item in items if item.content is not None]
    if drawn:
        batch, _, number = chunk.rpartition("-")
        write_images(folder / container_name(batch, int(number)), drawn)


def _records(checks: WorkFolder, part: PartCommit) -> list[Record]:
    name = part.shard.name
    return read_records(checks.part_folder(name, part.files) / f"{name}.parquet")
