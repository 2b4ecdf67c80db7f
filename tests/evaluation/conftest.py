"""A small finished build to report on: scenes, planted errors, a detector with some faults."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from opendet.curate.filter import FilterConfig, tally
from opendet.curate.pool import Member, write_pool
from opendet.curate.prototypes import PrototypesConfig, build_pool
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.evaluate import evaluate
from opendet.evaluation.predictions import write_predictions
from opendet.files import write_json_durably
from opendet.manifest import (
    DroppedEntry,
    FileStamp,
    Manifest,
    PartCommit,
    QuarantinedEntry,
    ShardName,
    write_manifest,
)
from opendet.record import Provenance, Record, Region
from opendet.schema import write_records
from opendet.sources.scene_settings import SceneSettings
from opendet.sources.scenes import SceneVocabulary, draw_batch_scene

GRAMMAR = Provenance("grammar", "1")
CARD = """\
name: toy
title: Toy scenes
licence: CC0-1.0
format: scenes
batches:
  - {name: toy, split: train, count: 9}
"""


@dataclass(frozen=True)
class ToyBuild:
    folder: Path
    records: list[Record]
    images: dict[str, bytes]

    def read_image(self, record: Record) -> bytes:
        return self.images[record.key]


def draw_records(count: int, split: str) -> tuple[list[Record], dict[str, bytes]]:
    """Scenes with names, a tenth of them wrong, and a judge that is mostly right."""
    rng = np.random.default_rng(len(split))
    vocabulary = sorted(SceneVocabulary.from_seed(0).tiers)
    records, images = [], {}
    for index in range(count):
        scene = draw_batch_scene(SceneSettings(), batch="toy", split=split, index=index)
        regions = tuple(
            _region(one.name, one.box_xyxy, vocabulary, rng, split) for one in scene.objects
        )
        key = f"toy-{split}-{index:05d}"
        images[key] = scene.content
        records.append(_record(key, split, scene.size, regions))
    return records, images


def _region(
    label: str,
    box_xyxy: tuple[float, float, float, float],
    vocabulary: list[str],
    rng: np.random.Generator,
    split: str,
) -> Region:
    wrong = rng.random() < 0.12
    name = vocabulary[rng.integers(len(vocabulary))] if wrong else label
    agreement = float(rng.normal(0.25 if wrong else 0.62, 0.14))
    rival = float(rng.normal(0.38, 0.05))
    refusal = "disagrees" if agreement < rival and split == "train" else ""
    if split == "train" and rng.random() < 0.02:
        refusal = "too small"
    return Region(
        box_xyxy,
        Provenance("source"),
        label=label,
        names=(name,),
        names_from=GRAMMAR,
        description=f"a {name} somewhere",
        description_from=GRAMMAR,
        agreement=agreement,
        rival=vocabulary[rng.integers(len(vocabulary))],
        rival_agreement=rival,
        agreement_from=Provenance("tiny clip", "abc123"),
        refusal=refusal,
    )


def _record(key: str, split: str, size: int, regions: tuple[Region, ...]) -> Record:
    return Record(
        key=key,
        source="toy",
        batch="toy",
        split=split,
        licence="CC0-1.0",
        file=f"{key}.jpg",
        format="jpg",
        bytes=1,
        sha256="0" * 64,
        width=size,
        height=size,
        caption="The picture shows things.",
        caption_from=GRAMMAR,
        regions=regions,
    )


@dataclass(frozen=True)
class Found:
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    names: list[list[str]]
    prompts: None = None
    masks: None = None


def faulty_detector(records: list[Record]) -> Callable[[list[object]], list[Found]]:
    """Misses some, misnames some, and sees something where nothing is."""
    rng = np.random.default_rng(3)
    vocabulary = sorted(SceneVocabulary.from_seed(0).tiers)
    waiting = iter(records)

    def look(record: Record) -> Found:
        boxes, scores, names = [], [], []
        for one in record.regions:
            if rng.random() < 0.08:
                continue
            boxes.append(np.array(one.box_xyxy) + rng.normal(0, 1, 4))
            scores.append(rng.uniform(0.5, 0.99))
            right = rng.random() < 0.7
            other = vocabulary[rng.integers(len(vocabulary))]
            beams = [one.label or "", other] if right else [other, one.label or ""]
            names.append([*beams, vocabulary[rng.integers(len(vocabulary))]])
        if rng.random() < 0.4:
            boxes.append(np.array([5.0, 5, 40, 30]))
            scores.append(0.35)
            names.append([vocabulary[0]])
        return Found(np.array(boxes).reshape(-1, 4), np.array(scores), names)

    return lambda images: [look(next(waiting)) for _ in images]


def hashed_words(texts: object) -> np.ndarray:
    """(N, 64): a text is the sum of its words."""
    rows = []
    for text in texts:  # type: ignore[attr-defined]
        parts = text.replace(",", " ").split()
        row = sum(np.random.default_rng(sum(part.encode())).normal(size=64) for part in parts)
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def write_build(folder: Path, *, train: int, val: int) -> ToyBuild:
    """A build with every part that the report knows."""
    records, images = draw_records(train, "train")
    judged, more = draw_records(val, "val")
    folder.mkdir()
    (folder / "source.yaml").write_text(CARD)
    everything = [*records, *judged]
    lost = [DroppedEntry("k", "exact duplicate")] * 3 + [DroppedEntry("l", "too few regions")]
    broken = [QuarantinedEntry("q", "source", "OSError: image file is truncated\n  at x", 0)]
    _write_stage(folder, "source", everything, dropped=lost[:3], quarantined=broken)
    for stage in ("caption", "regions", "describe", "embed"):
        _write_stage(folder, stage, everything)
    counted = tally(records, FilterConfig())
    _write_stage(folder, "filter", everything, dropped=lost[3:], tally=counted)
    _write_stage(folder, "shards", everything)
    _write_evaluation(folder, judged)
    _write_training(folder)
    _write_pool(folder, records)
    return ToyBuild(folder, everything, images | more)


def _write_stage(
    folder: Path,
    stage: str,
    records: list[Record],
    *,
    dropped: list[DroppedEntry] | None = None,
    quarantined: list[QuarantinedEntry] | None = None,
    tally: dict[str, int] | None = None,
) -> None:
    path = folder / stage / "toy-000000.parquet"
    path.parent.mkdir()
    write_records(path, records)
    lost, broken = tuple(dropped or ()), tuple(quarantined or ())
    part = PartCommit(
        shard=ShardName("toy-000000", "toy", "train"),
        samples_in=len(records) + len(lost) + len(broken),
        samples_out=len(records),
        dropped=lost,
        quarantined=broken,
        tally=tally or {},
        files={path.name: FileStamp.of(path)},
    )
    write_manifest(folder / stage, Manifest(stage, "f" * 8, (part,)))


def _write_evaluation(folder: Path, records: list[Record]) -> None:
    from PIL import Image

    samples = [(one, Image.new("RGB", (8, 8))) for one in records]
    tiers = SceneVocabulary.from_seed(0).tiers
    found = evaluate(faulty_detector(records), samples, hashed_words, tiers, EvaluateConfig())
    write_json_durably(folder / "metrics" / "evaluate.json", found.metrics)
    write_predictions(folder / "evaluate" / "predictions.parquet", found.predictions)


def _write_training(folder: Path) -> None:
    rng = np.random.default_rng(0)
    names = ("loss", "box_l1", "box_giou", "objectness", "alignment", "language")
    lines = ["step," + ",".join(names) + ",grad_norm,lr"]
    for step in range(10, 601, 10):
        values = [5 * np.exp(-step / 150) * share + 0.3 for share in (1, 0.3, 0.4, 0.2, 0.5, 0.6)]
        noisy = [f"{value * rng.normal(1, 0.04):.5f}" for value in values]
        lines.append(f"{step}," + ",".join(noisy) + ",0.1,0.0001")
    (folder / "train").mkdir()
    (folder / "train" / "series.csv").write_text("\n".join(lines) + "\n")
    write_json_durably(folder / "metrics" / "train.json", {"train": {"seconds": 281.4}})


def _write_pool(folder: Path, records: list[Record]) -> None:
    members = [
        Member(record.key, number, one.names[0])
        for record in records[:4]
        for number, one in enumerate(record.regions)
    ]
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(members), 8))
    pool = build_pool(vectors, members, PrototypesConfig(coarse=3, eps=1.5, min_samples=2))
    write_pool(folder / "prototypes", pool)
    numbers = {"prototypes": {"seconds": 3.2, **asdict(pool.health)}}
    write_json_durably(folder / "metrics" / "prototypes.json", numbers)


@pytest.fixture(scope="session")
def toy_build(tmp_path_factory: pytest.TempPathFactory) -> ToyBuild:
    return write_build(tmp_path_factory.mktemp("build") / "toy", train=6, val=3)
