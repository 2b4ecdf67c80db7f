"""From shards to batches at evaluation's size, beside webdataset, Pillow and torchvision v2.

The same JPEGs and records on both sides, on one thread: read, decode, resize to a shortest edge of
800, move the boxes, pad into a batch of four. Ours verifies what it reads. Two kinds of pictures:
of COCO's size, and of a camera's 12 megapixels. Then what our own parts take, one by one.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from opendet.bench.alternation import ROUNDS, Spent, alternate, cost, spent_of, times
from opendet.bench.harness import Place, Row, at_least, code_of
from opendet.bench.packed_shards import picture, publish_pictures
from opendet.bench.plain_shards import LONGEST, SHORTEST, Backend, plain_batches
from opendet.bench.reading import use
from opendet.data import transforms
from opendet.data.collate import collate
from opendet.data.config import LoaderConfig
from opendet.data.dataset import ExampleSet, training_example
from opendet.data.loader import evaluation_batches
from opendet.shard_set import ShardSet
from opendet.sources.images import decode_upright, pixels_upright

CASES = {"640 x 480": ((640, 480), 96), "12 megapixels": ((4000, 3000), 12)}
"""Size of the pictures, and how many of them."""
BATCH, PICTURES = 4, 2
FASTER = 2.0
PEERS: dict[str, tuple[Backend, str]] = {
    "pil": ("pil", "resized by Pillow"),
    "tensor": ("tensor", "resized as a tensor"),
}
PARTS = ("read", "decode", "decode by Pillow", "resize", "targets and batch")


def measure(place: Place) -> Iterator[Row]:
    """Images a CPU second, against the peer's two ways to resize; then our parts."""
    code = code_of("opendet.bench.decoding")
    for case, (size_wh, images) in CASES.items():
        settings = {"size": size_wh, "images": images, "batch": BATCH, "rounds": ROUNDS}
        work = partial(costs, place.folder, size_wh=size_wh, images=images)
        told: dict[str, Any] | None = place.unit(settings, code, work, what=f"decoding, {case}")
        if told is not None:
            yield from rows_of(told, case)


def costs(
    folder: Path, *, size_wh: tuple[int, int], images: int, rounds: int = ROUNDS
) -> dict[str, Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / "made"
            make = picture if size_wh[0] < 2000 else photograph
            pictures = [make(seed, size_wh) for seed in range(PICTURES)]
            publish_pictures(made, 1, images, pictures, size_wh)
            tars = [str(path) for path in made.glob("*.tar")]
            opened = ShardSet.open(made)
            ways = {"ours": partial(_ours, opened)}
            for name, (backend, _) in PEERS.items():
                ways[name] = partial(_theirs, tars, backend)
            spent = alternate({**ways, **_parts(opened)}, rounds=rounds)
    finally:
        torch.set_num_threads(threads)
    return {"images": images, "bytes": sum(map(len, pictures)) / PICTURES, "spent": spent}


def rows_of(told: Mapping[str, Any], case: str) -> Iterator[Row]:
    spent, count = spent_of(told["spent"]), int(told["images"])
    ours = spent["ours"]
    for name, (_, way) in PEERS.items():
        said = f"{cost(ours, count, unit='ms')} against {cost(spent[name], count, unit='ms')}"
        yield at_least(f"times the peer's images a CPU second, {case}, {way}",
                       times(spent[name], ours), FASTER, said)  # fmt: skip
    size = f"files of {told['bytes'] / 1000:.0f} KB"
    for part in PARTS:
        yield Row(f"{case}, {part}, ms", _milliseconds(spent[part], count), detail=size)
    for name in ("ours", *PEERS):
        yield Row(f"{case}, {name}: memory, MB", spent[name].megabytes, detail="grown by a pass")


def photograph(seed: int, size_wh: tuple[int, int]) -> bytes:
    """A JPEG with detail of every size, as a camera's has: some 2 MB of 12 megapixels."""
    rng, size_hw = np.random.default_rng(seed), size_wh[::-1]
    image = np.zeros((*size_hw, 3), np.float32)
    for octave in range(1, 9):
        coarse = rng.normal(0, 2.2**octave, [max(side >> octave, 1) for side in size_hw] + [3])
        for channel in range(3):
            plane = Image.fromarray(coarse[..., channel].astype(np.float32))
            image[..., channel] += np.asarray(plane.resize(size_wh, Image.Resampling.BILINEAR))
    image *= 50 / image.std()
    image += 128 + 5 * rng.standard_normal(image.shape, np.float32)
    file = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _ours(opened: ShardSet) -> None:
    config = LoaderConfig(batch_size=BATCH, evaluation_edge=SHORTEST, longest_edge=LONGEST)
    use(evaluation_batches(ExampleSet(opened, config), config))


def _theirs(tars: list[str], backend: Backend) -> None:
    use(plain_batches(tars, batch_size=BATCH, backend=backend))


def _parts(opened: ShardSet) -> dict[str, Callable[[], None]]:
    """Each over as many images as there are."""
    places = range(len(opened))
    sample = opened.sample(0)
    example = training_example(sample)
    small = transforms.resize(example, shortest=SHORTEST, longest=LONGEST)
    works: tuple[Callable[[int], object], ...] = (
        opened.sample,
        lambda _: pixels_upright(sample.content),
        lambda _: decode_upright(sample.content),
        lambda _: transforms.resize(example, shortest=SHORTEST, longest=LONGEST),
        lambda place: None if place % BATCH else collate([small] * BATCH, multiple=32),
    )
    return {part: partial(_each, work, places) for part, work in zip(PARTS, works, strict=True)}


def _each(work: Callable[[int], object], places: range) -> None:
    use(work(place) for place in places)


def _milliseconds(spent: Spent, count: int) -> float:
    return float(np.median(spent.cpu)) / count * 1e3
