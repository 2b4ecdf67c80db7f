"""A tiny world for CLIP: flat coloured pictures, a record each, a model of a few steps."""

import hashlib
from collections.abc import Sequence

from PIL import Image, ImageDraw

from opendet.curate.clip import ClipConfig
from opendet.record import Provenance, Record, Region
from opendet.sample import Sample

COLOURS = ("red", "green", "blue", "yellow")
TINY = ClipConfig(image_size=32, width=16, text_layers=1, steps=4, batch=8, texts=4, threads=1)
SOURCE = Provenance("source")


def region(name: str, left: int) -> Region:
    names = (name,) if name else ()
    return Region((left, 10.0, left + 20.0, 30.0), SOURCE, label=name, names=names)


def sample(key: str, names: Sequence[str]) -> Sample:
    """A grey picture with a square of each name's colour, side by side; "" stays unnamed."""
    pixels = Image.new("RGB", (24 * len(names) + 8, 40), (128, 128, 128))
    for place, name in enumerate(names):
        corner = 24 * place + 4
        box = (corner, 10, corner + 20, 30)
        ImageDraw.Draw(pixels).rectangle(box, fill=name or "black")
    record = Record(
        key=key,
        source="squares",
        batch="b0",
        split="train",
        licence="CC0-1.0",
        file=f"{key}.png",
        format="png",
        bytes=1,
        sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
        width=pixels.width,
        height=pixels.height,
        regions=tuple(region(name, 24 * place + 4) for place, name in enumerate(names)),
    )
    return Sample(record, pixels=pixels)


def samples() -> list[Sample]:
    """Six pictures: all colours, pairs, one region without a name, and no region at all."""
    return [
        sample("b0-0", COLOURS),
        sample("b0-1", ("red", "green")),
        sample("b0-2", ("blue", "", "yellow")),
        sample("b0-3", ()),
        sample("b0-4", COLOURS[::-1]),
        sample("b0-5", ("red",)),
    ]
