"""How many images a second the loader gives at the paper's sizes: decoded, augmented, padded.

The images are JPEGs of 640 x 480 pixels whose texture makes files of about 100 KB, the size of a
photograph in COCO.
"""

import hashlib
import io
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, ImageFilter

from opendet.bench.harness import Place, Row, code_of
from opendet.curate.shards import write_part
from opendet.data.config import LoaderConfig
from opendet.data.dataset import ExampleSet
from opendet.data.loader import Loader
from opendet.manifest import FileStamp, Manifest, PartCommit, ShardName, write_manifest
from opendet.record import Provenance, Record, Region
from opendet.sample import Sample
from opendet.shard_set import ShardSet

IMAGES = 240
SIZE_WH = (640, 480)
BOXES = 10  # of an image
WORKERS = (0, 1, 2)
EPOCHS = 3  # timed; one before them starts the workers
BATCH = 4
SHARD = "bench-000000"


def loader(place: Place) -> Iterator[Row]:
    """Images a second at shortest edges of 480 to 800 px, by the number of workers."""
    code = code_of("opendet.bench.loader")
    for workers in WORKERS:
        settings = {"images": IMAGES, "batch": BATCH, "workers": workers}
        work = partial(rates, place.folder / "shards", images=IMAGES, workers=workers)
        measured: list[float] | None = place.unit(
            settings, code, work, what=f"the loader with {workers} workers"
        )
        if measured is not None:
            spread = f"{min(measured):.1f} to {max(measured):.1f} over {EPOCHS} epochs"
            yield Row(f"images/s, workers {workers}", median(measured), detail=spread)


def rates(folder: Path, *, images: int, workers: int) -> list[float]:
    """Images a second in each of some epochs over a shard that is packed into the folder."""
    _pack(folder, images)
    config = LoaderConfig(batch_size=BATCH, workers=workers)
    batches = Loader(ExampleSet(ShardSet.open(folder), config), config)
    return [_epoch_rate(batches) for _ in range(EPOCHS + 1)][1:]


def _epoch_rate(batches: Loader) -> float:
    start = time.perf_counter()
    images = sum(len(batch.keys) for batch in batches)
    return images / (time.perf_counter() - start)


def _pack(folder: Path, images: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    write_part(folder, SHARD, [_sample(index, rng) for index in range(images)])
    files = {name: FileStamp.of(folder / name) for name in (f"{SHARD}.idx", f"{SHARD}.tar")}
    shard = ShardName(SHARD, "bench", "train")
    part = PartCommit(shard, images, images, (), (), {}, files)
    write_manifest(folder, Manifest("shards", "bench", (part,)))


def _sample(index: int, rng: np.random.Generator) -> Sample:
    width, height = SIZE_WH
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).filter(ImageFilter.GaussianBlur(0.8)).save(file, "JPEG", quality=75)
    content = file.getvalue()
    key = f"bench-{index:06d}"
    record = Record(
        key=key,
        source="bench",
        batch="bench",
        split="train",
        licence="CC0-1.0",
        file=f"{key}.jpg",
        format="jpg",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        width=width,
        height=height,
        regions=tuple(_region(rng) for _ in range(BOXES)),
    )
    return Sample(record, content=content)


def _region(rng: np.random.Generator) -> Region:
    x, y = (float(rng.uniform(0, side - 64)) for side in SIZE_WH)
    return Region((x, y, x + 60, y + 60), Provenance("source"), names=("thing",))
