"""The stage `source` as a whole: check every listed image, judge duplicates, plan the shards.

Checking is the work, and runs in chunks of the listing on the flow. What follows goes through the
images in order and takes little time: duplicates are judged and shards planned here, chunk by
chunk, so that the driver never holds the records of a batch. What a chunk refused is booked on the
shard where the chunk's first good image went, so the ledger adds up.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from opendet.curate.duplicates import DuplicateJudge
from opendet.curate.plan import Draft, plan_shards
from opendet.curate.source import Checked, SourceChecker, SourceConfig, tally
from opendet.flow import Ran
from opendet.manifest import Manifest, PartCommit, ShardName
from opendet.record import Record
from opendet.sample import Dropped
from opendet.schema import read_records, write_records
from opendet.sources.batches import chunks, list_batch, require_worth
from opendet.sources.card import Batch, SourceCard
from opendet.sources.containers import container_name, write_images
from opendet.sources.digest import listing_digest
from opendet.sources.listing import Entry
from opendet.sources.listing_file import listing_text, read_listing
from opendet.stage import Stage, Task
from opendet.work import WorkFolder, link_or_copy, replace_folder

log = logging.getLogger(__name__)


def check_stage(
    card: SourceCard, config: SourceConfig, *, root: Path, checks: WorkFolder, fingerprint: str
) -> tuple[Stage[Entry, Checked], list[Task]]:
    """The stage that checks the listing, and its tasks: one per chunk of each batch.

    The listing is put into the work folder, a file a chunk, where its workers read it. Raises
    ValueError where a source's folder or annotation file is missing or broken.
    """
    listings = checks.root / "listings"
    checks.root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="publish-", dir=checks.root) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        tasks = list(_listed_tasks(card, root, new))
        replace_folder(new, listings)
    stage = Stage(
        name="source",
        fingerprint=fingerprint,
        read=partial(_listed, listings),
        load=partial(SourceChecker, config, card, root),
        write=_write_checked,
        tally=tally,
    )
    return stage, tasks


def _listed_tasks(card: SourceCard, root: Path, listings: Path) -> Iterator[Task]:
    """List batch after batch into a folder."""
    for batch in card.batches:
        for number, chunk in enumerate(chunks(list_batch(card, batch, root))):
            name = ShardName(f"{batch.name}-{number:06d}", batch.name, batch.split)
            text = listing_text(chunk)
            (listings / f"{name.name}.json").write_text(text, "utf-8")
            yield Task(name, {"listing": listing_digest(card, batch, chunk, text, root)})


def plan(
    card: SourceCard, config: SourceConfig, checked: Ran, checks: WorkFolder, work: WorkFolder
) -> Ran:
    """Judge duplicates, cut the shards, and write their parts into `work`.

    `checks` is the work folder of the check stage, `checked` what it did. Raises ValueError for a
    batch without a single good image, or without a box where its format is for boxes.
    """
    _tell_of_changes(checked, checks)
    chunks_of = {
        name: list(group)
        for name, group in groupby(checked.manifest.parts, lambda part: part.shard.batch)
    }
    judge = DuplicateJudge(config)
    commits: list[PartCommit] = []
    # In the card's order: a batch is judged against itself and those before it.
    for batch in card.batches:
        worth = _Worth()
        drafts = plan_shards(
            _judged(chunks_of.get(batch.name, ()), checks, judge, worth),
            batch=batch.name,
            split=batch.split,
            shard_bytes=config.shard_bytes,
            max_samples=config.shard_samples,
        )
        commits += [_commit(draft, work) for draft in drafts]
        worth.require(card, batch)
    came = sum(part.samples_in for part in checked.manifest.parts)
    assert sum(commit.samples_in for commit in commits) == came, f"{came} images were listed"
    return Ran(Manifest("source", checked.manifest.fingerprint, tuple(commits)), checked.parts_made)


def _judged(
    parts: Sequence[PartCommit], checks: WorkFolder, judge: DuplicateJudge, worth: "_Worth"
) -> Iterator[tuple[PartCommit, list[Record | Dropped]]]:
    """The chunks of a batch, each with what the judge says of its images."""
    for part in parts:
        records = _records(checks, part)
        worth.count(part, records)
        yield part, [judge(record) for record in records]


@dataclass(slots=True)
class _Worth:
    """What a batch as a whole has to offer."""

    images: int = 0
    boxes: int = 0
    texts: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def count(self, part: PartCommit, records: Sequence[Record]) -> None:
        self.images += len(records)
        self.boxes += sum(len(record.regions) for record in records)
        self.texts += sum(
            bool(record.caption or record.source_captions or record.conversation)
            for record in records
        )
        self.refused.update(entry.reason for entry in part.dropped)
        self.refused["quarantined"] += len(part.quarantined)

    def require(self, card: SourceCard, batch: Batch) -> None:
        """Raises ValueError, in one line, where that is nothing."""
        require_worth(
            card,
            batch,
            images=self.images,
            boxes=self.boxes,
            texts=self.texts,
            refused=+self.refused,
        )


def _commit(draft: Draft, work: WorkFolder) -> PartCommit:
    """Write a shard's part; its commit record."""
    shard = draft.name.name
    files = work.write_part(
        shard, lambda folder: write_records(folder / f"{shard}.parquet", draft.records)
    )
    return PartCommit(
        shard=draft.name,
        samples_in=len(draft.records) + len(draft.dropped) + len(draft.quarantined),
        samples_out=len(draft.records),
        dropped=tuple(draft.dropped),
        quarantined=tuple(draft.quarantined),
        tally=dict(sorted(draft.tally.items())),
        files=files,
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


def _listed(listings: Path, task: Task) -> Sequence[Entry]:
    return read_listing(listings / f"{task.shard.name}.json")


def _write_checked(folder: Path, chunk: str, items: Sequence[Checked]) -> None:
    write_records(folder / f"{chunk}.parquet", [item.record for item in items])
    drawn = [(item.key, item.content) for item in items if item.content is not None]
    if drawn:
        batch, _, number = chunk.rpartition("-")
        write_images(folder / container_name(batch, int(number)), drawn)


def _records(checks: WorkFolder, part: PartCommit) -> list[Record]:
    name = part.shard.name
    return read_records(checks.part_folder(name, part.files) / f"{name}.parquet")
