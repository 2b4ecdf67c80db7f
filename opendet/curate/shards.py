"""Stage `shards`: packs the images' own bytes and their records into WebDataset tar files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from opendet.files import write_durably
from opendet.inspect.lint_rules import findings_in
from opendet.manifest import Manifest
from opendet.record import Record
from opendet.sample import Dropped, Sample
from opendet.section import Section
from opendet.shard_reader import read_shard
from opendet.shards import WIDS_INDEX, check_sample, index_text, wids_text, write_shard


class ShardsConfig(Section):
    """What goes into the tar files; how large they are, the plan says."""

    keep_refused: bool = True
    """Keep the regions that `filter` refused, each with its reason; training skips them anyway."""


class Packer:
    """Makes samples ready to be packed: their bytes are those of their records.

    A sample whose file has changed since the stage `source` raises ValueError and so goes to the
    quarantine.
    """

    def __init__(self, config: ShardsConfig) -> None:
        self._config = config

    def __call__(self, samples: Sequence[Sample]) -> list[Sample | Dropped]:
        return [self._ready(sample) for sample in samples]

    def _ready(self, sample: Sample) -> Sample:
        check_sample(sample, where=sample.record.file)
        if self._config.keep_refused:
            return sample
        return replace(sample, record=without_refused(sample.record))


def without_refused(record: Record) -> Record:
    """The record with its kept regions alone; phrases follow the regions that they speak of."""
    kept = [index for index, region in enumerate(record.regions) if region.kept]
    moved = {old: new for new, old in enumerate(kept)}
    return replace(
        record,
        regions=tuple(record.regions[index] for index in kept),
        phrases=tuple(
            replace(phrase, regions=tuple(moved[i] for i in phrase.regions if i in moved))
            for phrase in record.phrases
        ),
    )


def write_part(folder: Path, shard_name: str, samples: Sequence[Sample]) -> None:
    """Write `<shard>.tar` and `<shard>.idx`; flow makes them durable."""
    members = write_shard(folder / f"{shard_name}.tar", samples)
    (folder / f"{shard_name}.idx").write_text(index_text(members), encoding="ascii")


def read_part(folder: Path, shard_name: str) -> list[Sample]:
    """What `write_part` wrote, back, sorted by key."""
    return list(read_shard(folder / f"{shard_name}.tar"))


def write_index(folder: Path, name: str, manifest: Manifest) -> None:
    """Write the wids index of a build called `name` beside its shards, as `index.json`."""
    write_durably(folder / WIDS_INDEX, wids_text(folder, name, manifest).encode())


def tally(samples: Sequence[Sample]) -> Mapping[str, int]:
    """What the tar files hold, and what the lint finds in it (`opendet data lint` shows where)."""
    found = Counter(
        f"lint.{finding.kind}" for sample in samples for finding in findings_in(sample.record)
    )
    regions = [region for sample in samples for region in sample.record.regions]
    return {
        **found,
        "regions": len(regions),
        "regions.kept": sum(region.kept for region in regions),
        "images.without.kept.regions": sum(
            not any(region.kept for region in sample.record.regions) for sample in samples
        ),
        "image.bytes": sum(len(sample.content) for sample in samples),
    }
