"""Models that cost nothing: each looks at all pixels once, and says what follows from their mean.

Pure functions of a record and its upright image, so that any engine can run the same ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import ImageStat
from PIL.Image import Image

from opendet.record import Provenance, Record, Region
from opendet.sample import Sample

STUB = Provenance("stub", "1")
COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class Stub:
    """A worker that has a function of a record and its pixels for a model."""

    say: Callable[[Record, Image], Record]

    def __call__(self, samples: Sequence[Sample]) -> list[Record]:
        return [self._said(sample) for sample in samples]

    def _said(self, sample: Sample) -> Record:
        assert sample.pixels is not None
        return self.say(sample.record, sample.pixels)


def captioned(record: Record, pixels: Image) -> Record:
    """With a sentence on the image's main colour."""
    caption = f"a picture in {_colour(pixels)}, and a thing in its middle"
    return replace(record, caption=caption, caption_from=STUB)


def with_regions(record: Record, pixels: Image) -> Record:
    """With two boxes: the image's left half, and its middle."""
    width, height = pixels.size
    left = (0.0, 0.0, width / 2, float(height))
    middle = (width / 4, height / 4, width * 3 / 4, height * 3 / 4)
    return replace(record, regions=(Region(left, STUB), Region(middle, STUB)))


def described(record: Record, pixels: Image) -> Record:
    """With a name and a sentence of each region, by the main colour of its crop."""
    colours = [_colour(pixels.crop(region.box_xyxy)) for region in record.regions]
    regions = tuple(
        replace(
            region,
            names=(f"{colour} thing",),
            names_from=STUB,
            description=f"a thing that is mainly {colour}",
            description_from=STUB,
        )
        for region, colour in zip(record.regions, colours, strict=True)
    )
    return replace(record, regions=regions)


def _colour(pixels: Image) -> str:
    means = ImageStat.Stat(pixels).mean
    return COLOURS[means.index(max(means))]
