"""Gathers the report's inputs from a build's folder; what is not there is left out."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from opendet.curate.pool import read_pool
from opendet.evaluation.predictions import ImagePrediction, read_predictions
from opendet.evaluation.report_inputs import STAGES, Curve, ReportInputs, StageLedger
from opendet.manifest import Manifest, read_manifest
from opendet.pools.figures import figures
from opendet.pools.health import read_measures
from opendet.pools.levels import LEVELS, vectors_of
from opendet.record import Record
from opendet.schema import read_records
from opendet.sources.card import read_card

CARD = "source.yaml"
SERIES = "train/series.csv"
PREDICTIONS = "evaluate/predictions.parquet"
POOL = "prototypes"

_RECORD_STAGES = ("filter", "verify", "embed", "describe", "regions", "caption", "source")
_PACKAGES = (
    "opendet",
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "open_clip_torch",
    "ray",
    "dvc",
    "pyarrow",
    "faster-coco-eval",
)


def gather(build: Path, *, seconds: Mapping[str, float] | None = None) -> ReportInputs:
    """Read all that a build has to show.

    `seconds` says how long each stage took; without it a stage's own metric `seconds` counts.
    Raises ValueError, in one line, for a manifest or a part that is damaged.
    """
    manifests = {stage: _manifest(build / stage) for stage in STAGES}
    present = {stage: found for stage, found in manifests.items() if found is not None}
    metrics = {stage: _metrics(build, stage) for stage in STAGES}
    card = read_card(build / CARD) if (build / CARD).exists() else None
    own_seconds = {stage: own["seconds"] for stage, own in metrics.items() if "seconds" in own}
    return ReportInputs(
        build=build.name,
        title="" if card is None else card.title,
        ledgers=tuple(_ledger(stage, manifest) for stage, manifest in present.items()),
        metrics={stage: own for stage, own in metrics.items() if own},
        records=_records(build, present),
        predictions=_predictions(build / PREDICTIONS),
        curves=_curves(build / SERIES),
        **_pool(build / POOL),
        seconds=own_seconds if seconds is None else seconds,
        versions=_versions(_PACKAGES),
        procedural=card is not None and any(one.format == "scenes" for one in card.batches),
    )


def _manifest(folder: Path) -> Manifest | None:
    return read_manifest(folder) if (folder / "manifest.json").exists() else None


def _metrics(build: Path, stage: str) -> dict[str, Any]:
    path = build / "metrics" / f"{stage}.json"
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    own: dict[str, Any] = found.get(stage, found)  # Written with or without the stage's name.
    return own


def _ledger(stage: str, manifest: Manifest) -> StageLedger:
    parts = manifest.parts
    dropped = Counter(one.reason for part in parts for one in part.dropped)
    failed = Counter(_first_line(one.error) for part in parts for one in part.quarantined)
    return StageLedger(
        stage=stage,
        samples_in=sum(part.samples_in for part in parts),
        samples_out=sum(part.samples_out for part in parts),
        dropped=dict(dropped.most_common()),
        quarantined=dict(failed.most_common()),
        tally=dict(manifest.tally()),
    )


def _records(build: Path, manifests: Mapping[str, Manifest]) -> tuple[Record, ...]:
    for stage in _RECORD_STAGES:
        if stage in manifests:
            parts = manifests[stage].parts
            return tuple(
                record
                for part in parts
                for record in read_records(build / stage / f"{part.shard.name}.parquet")
            )
    return ()


def _predictions(path: Path) -> tuple[ImagePrediction, ...]:
    return read_predictions(path) if path.exists() else ()


def _curves(path: Path) -> tuple[Curve, ...]:
    if not path.exists():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else ()) if name != "step"]
    return tuple(
        Curve(name, tuple((float(row["step"]), float(row[name])) for row in rows if row[name]))
        for name in names
    )


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # An extra that is not installed says nothing on this build.
            continue
    return found


def _pool(folder: Path) -> dict[str, Any]:
    """The fields of `ReportInputs` that tell of the pool; none where there is no pool."""
    if not folder.exists():
        return {}
    pool = read_pool(folder)
    return {
        "pool": pool.prototypes,
        "pool_vectors": {level: vectors_of(pool, level) for level in LEVELS},
        "pool_figures": figures(pool.health, read_measures(folder, pool)),
    }


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else "unknown error"
