"""What a build holds, in numbers small enough to read."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING

from opendet.manifest import Manifest
from opendet.record import Record
from opendet.stage_order import RECORD_STAGES, STAGES

if TYPE_CHECKING:
    from opendet.build import Build

TOP_NAMES = 20
SMALL_AREA, LARGE_AREA = 32.0**2, 96.0**2
"""Square pixels; where COCO draws the lines between small, medium and large."""
_REFUSED = "refused."


@dataclass(frozen=True, slots=True)
class StageStats:
    """One stage's ledger: in = out + dropped + quarantined."""

    stage: str
    samples_in: int
    samples_out: int
    dropped: dict[str, int]
    """Reason -> images."""
    quarantined: int
    """Images."""
    refused: dict[str, int]
    """Reason -> regions that stay in their records but that nothing learns from."""
    counted: dict[str, int]
    """Whatever else the stage counts, such as `box.inverted`."""
    seconds: float | None
    """How long its last run took."""


@dataclass(frozen=True, slots=True)
class RecordStats:
    """What the fullest records say."""

    stage: str
    """Whose records they are."""
    images: int
    regions: int
    kept: int
    """Regions that no rule refused."""
    distinct_names: int
    names: dict[str, int]
    """The most frequent first names of kept regions."""
    boxes: dict[str, int]
    """`small`, `medium`, `large` as COCO calls them -> regions."""
    caption_words: tuple[int, int, int]
    """Fewest, median and most of the captions that there are."""
    without_caption: int


@dataclass(frozen=True, slots=True)
class BuildStats:
    build: str
    stages: tuple[StageStats, ...]
    """Those that are built, in their order."""
    records: RecordStats | None
    """None before the first stage is built."""


def build_stats(build: "Build") -> BuildStats:
    """Raises ValueError where nothing is built, or a manifest or a part is damaged."""
    stages = ledgers(build)
    if not stages:
        raise ValueError(f"nothing of {build.name} is built: run `opendet data build`")
    built = {stage.stage for stage in stages}
    fullest = next((stage for stage in reversed(RECORD_STAGES) if stage in built), None)
    records = record_stats(fullest, build.records(fullest)) if fullest else None
    return BuildStats(build.name, stages, records)


def ledgers(build: "Build") -> tuple[StageStats, ...]:
    """The ledger of each stage that is built."""
    return tuple(
        stage_stats(build.manifest(stage), seconds_of(build, stage))
        for stage in STAGES
        if (build.stage_folder(stage) / "manifest.json").is_file()
    )


def stage_stats(manifest: Manifest, seconds: float | None) -> StageStats:
    parts, tally = manifest.parts, manifest.tally()
    dropped = Counter(entry.reason for part in parts for entry in part.dropped)
    return StageStats(
        stage=manifest.stage,
        samples_in=sum(part.samples_in for part in parts),
        samples_out=sum(part.samples_out for part in parts),
        dropped=dict(dropped.most_common()),
        quarantined=sum(len(part.quarantined) for part in parts),
        refused=_refused(tally),
        counted=dict(sorted((k, n) for k, n in tally.items() if not k.startswith(_REFUSED))),
        seconds=seconds,
    )


def record_stats(stage: str, records: Iterable[Record]) -> RecordStats:
    """One pass over the records of a stage."""
    names, boxes, words = Counter[str](), Counter[str](), Counter[int]()
    images = regions = kept = 0
    for record in records:
        images += 1
        regions += len(record.regions)
        words[len(record.caption.split())] += 1
        for region in record.regions:
            boxes[size_of(region.box_xyxy)] += 1
            kept += region.kept
            names.update(region.names[:1] if region.kept else ())
    without = words.pop(0, 0)
    return RecordStats(
        stage=stage,
        images=images,
        regions=regions,
        kept=kept,
        distinct_names=len(names),
        names=dict(names.most_common(TOP_NAMES)),
        boxes={size: boxes[size] for size in ("small", "medium", "large")},
        caption_words=_range(words),
        without_caption=without,
    )


def size_of(box_xyxy: tuple[float, float, float, float]) -> str:
    """`small`, `medium` or `large`, for a box in pixels."""
    x0, y0, x1, y1 = box_xyxy
    area = (x1 - x0) * (y1 - y0)
    return "small" if area < SMALL_AREA else "large" if area > LARGE_AREA else "medium"


def seconds_of(build: "Build", stage: str) -> float | None:
    """How long the stage's last run took, where its metrics say so."""
    path = build.folder / "metrics" / f"{stage}.json"
    if not path.is_file():
        return None
    try:
        seconds = json.loads(path.read_bytes())[stage].get("seconds")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: build the stage {stage} again") from error
    return seconds if isinstance(seconds, int | float) else None


def _refused(tally: Mapping[str, int]) -> dict[str, int]:
    """`refused.too_small` and the like, by their reasons, the most frequent first."""
    counts = Counter(
        {
            name.removeprefix(_REFUSED).replace("_", " "): count
            for name, count in sorted(tally.items())
            if name.startswith(_REFUSED)
        }
    )
    return dict(counts.most_common())


def _range(counts: Counter[int]) -> tuple[int, int, int]:
    """Lowest, median and highest of counted numbers."""
    if not counts:
        return 0, 0, 0
    values = sorted(counts.elements())
    middle = quantiles(values, n=2)[0] if len(values) > 1 else values[0]
    return values[0], round(middle), values[-1]
