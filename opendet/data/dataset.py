"""Shards as examples to train on, and as truth to judge by.

The two never meet: training sees the names that the build gave to kept regions, evaluation the
labels that the source gave to all of them. A region refused for its name alone keeps its box in
training: without it the detector would be told that a visible object is background.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from opendet.data import transforms
from opendet.data.batch import RegionRef
from opendet.data.config import CaptionText, LoaderConfig
from opendet.data.kinds import AnnotationKind
from opendet.data.mosaic import Companions, mosaic, shrunk
from opendet.data.order import Draw, sample_rng
from opendet.data.plan import EpochPlan, mixture_kind, plan_epochs
from opendet.data.transforms import Example
from opendet.record import Record, Region
from opendet.sample import Sample
from opendet.shard_set import ShardSet
from opendet.sources.images import decode_upright, pixels_upright

WIDEST_CROPPED = 10
"""Long sides to a short one: of a longer image the short side gets smaller before it is cropped, so
that a line of pixels does not grow into gigabytes."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the source says that an image shows."""

    key: str
    boxes_xyxy: Tensor
    """(M, 4) float32, pixels of the upright image."""
    labels: tuple[str, ...]
    """M of them."""
    crowd: Tensor
    """(M,) bool: the box covers a group; a detection there is neither right nor wrong."""


class ExampleSet:
    """Examples with their objects and the names of kept regions, resized and augmented."""

    def __init__(self, shards: ShardSet, config: LoaderConfig) -> None:
        self._shards = shards
        self._config = config
        self._cache: dict[tuple[int, int, int], Example] = {}
        self._companions: Companions | None = None

    def __len__(self) -> int:
        return len(self._shards)

    def plan(self) -> EpochPlan:
        """What an epoch draws. Raises ValueError, in one line, where that is nothing."""
        records = (self._shards.record(index) for index in range(len(self)))
        plan = plan_epochs(records, len(self), self._config)
        if self._config.mosaic:
            drawn = (self._shards.record(index) for index in plan.samples.tolist())
            self._companions = Companions.of(plan, drawn, self._config)
        return plan

    def example(self, draw: Draw, *, epoch: int) -> Example:
        """A sample as this epoch shows it: a function of the seed, the epoch and the draw.

        Where it comes again in one step its key says so (`a-0001.1`): the objective draws by key.
        Raises ValueError, naming the shard and the key, for a sample that cannot be read.
        """
        config = self._config
        rng = sample_rng(config.seed, epoch, draw)
        example = self._mosaic(draw.sample, rng) if config.mosaic else None
        example = example or self._varied(draw.sample, rng, config)
        return replace(example, key=f"{example.key}.{draw.repeat}") if draw.repeat else example

    def plain(self, index: int) -> Example:
        """Sample `index` at the evaluation's size, with nothing drawn."""
        config = self._config
        return self._resized(index, config.evaluation_edge, longest=config.longest_edge)

    def _mosaic(self, sample: int, rng: np.random.Generator) -> Example | None:
        """The sample among others, at a random place; None where it is to come alone."""
        if self._companions is None:  # the loader plans before its workers begin
            self.plan()
        assert self._companions is not None
        # A stream of its own: a sample that comes alone is augmented as it would be without.
        own = rng.spawn(1)[0]
        side = self._companions.side(sample, own, self._config)
        if side == 1:
            return None
        tile = shrunk(self._config, side)
        first = self._varied(sample, rng, tile)
        others = self._companions.draw(sample, side * side - 1, own)
        tiles = [self._varied(other, own, tile) for other in others]
        tiles.insert(int(own.integers(len(tiles), endpoint=True)), first)
        return mosaic(tiles, first=first, least_side=self._config.mosaic_least_side)

    def _varied(self, index: int, rng: np.random.Generator, config: LoaderConfig) -> Example:
        """One image, resized and augmented."""
        edge = int(rng.choice(config.shortest_edges))
        if rng.random() < config.crop:
            # Not held to the longest edge, for the last resize is: a panorama would be cut from a
            # smaller picture than others.
            between = int(rng.choice(config.crop_edges))
            wide = self._resized(index, between, longest=between * WIDEST_CROPPED)
            cut = transforms.random_crop(wide, rng, config)
            example = transforms.resize(cut, shortest=edge, longest=config.longest_edge)
        else:
            example = self._resized(index, edge, longest=config.longest_edge)
        return transforms.flip(example) if rng.random() < config.flip else example

    def _resized(self, index: int, shortest: int, *, longest: int) -> Example:
        place = (index, shortest, longest)
        if place in self._cache:
            return self._cache[place]
        sample = self._shards.sample(index)
        kind = mixture_kind(sample.record, self._config.mixture)
        whole = training_example(sample, kind, self._config.texts)
        example = transforms.resize(whole, shortest=shortest, longest=longest)
        if self._config.cache:
            self._cache[place] = example
        return example


class EvaluationSet:
    """Images in the manifest's order with what their sources say of them."""

    def __init__(self, shards: ShardSet) -> None:
        self._shards = shards

    def __len__(self) -> int:
        return len(self._shards)

    def samples(self) -> Iterator[tuple[Record, Image]]:
        """Each record with its upright image in RGB."""
        for index in range(len(self)):
            sample = self._shards.sample(index)
            yield sample.record, decoded(sample)

    def records(self) -> Iterator[Record]:
        """Each record, no pixels touched."""
        return (self._shards.record(index) for index in range(len(self)))

    def truths(self) -> Iterator[Truth]:
        """What each image shows."""
        return (truth_of(record) for record in self.records())


def truth_of(record: Record) -> Truth:
    """All regions that the source has a label for, kept or refused."""
    regions = [region for region in record.regions if region.label is not None]
    return Truth(
        key=record.key,
        boxes_xyxy=_boxes([region.box_xyxy for region in regions]),
        labels=tuple(region.label for region in regions if region.label is not None),
        crowd=torch.tensor([region.crowd for region in regions], dtype=torch.bool),
    )


def training_example(
    sample: Sample, kind: AnnotationKind = "box", texts: CaptionText = "caption"
) -> Example:
    """The whole image with its objects; those whose name was refused have no name. An `image` has
    no objects: its caption alone is to be believed."""
    record = sample.record
    boxed = () if kind == "image" else record.regions
    objects = {index: region for index, region in enumerate(boxed) if region.has_object}
    regions = objects.values()
    return Example(
        key=record.key,
        image=_image_of(sample),
        boxes_xyxy=_boxes([region.box_xyxy for region in regions]),
        names=tuple(region.names if region.kept else () for region in regions),
        original_hw=(record.height, record.width),
        kind=kind,
        caption=_text_of(record, texts) or None,
        absent=tuple(judged.name for judged in record.absent),
        partial=_unsure(record, boxed),
        regions=tuple(RegionRef(record.key, index) for index in objects),
        descriptions=tuple(region.description if region.kept else "" for region in regions),
    )


def _text_of(record: Record, texts: CaptionText) -> str:
    """What is said of the whole image; the caption where it has no conversation."""
    if texts == "conversation":
        told = [turn.text for turn in record.conversation if turn.speaker == "gpt"]
        if told:
            return told[-1]
    return record.caption


def _unsure(record: Record, boxed: Sequence[Region]) -> tuple[str, ...]:
    """Names that may be there without a box by that name: those of which more is there than has
    boxes, the crowds', and the refused ones, which were not refused for being absent."""
    told = [judged.name for judged in record.partial]
    told += [name for one in boxed if not (one.kept and one.has_object) for name in one.names]
    return tuple(dict.fromkeys(told))


def decoded(sample: Sample) -> Image:
    """The upright image in RGB. Raises ValueError, naming the key, if it does not decode, or not to
    the size that its record says."""
    with _named(sample.record):
        image = decode_upright(sample.content)
    _require_size(sample.record, image.size)
    return image


def _image_of(sample: Sample) -> Tensor:
    """(3, H, W) uint8: the pixels and the errors of `decoded`."""
    with _named(sample.record):
        pixels = pixels_upright(sample.content)
    height, width, _ = pixels.shape
    _require_size(sample.record, (width, height))
    return torch.from_numpy(pixels).permute(2, 0, 1)


@contextmanager
def _named(record: Record) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{record.key}: {error}") from error


def _require_size(record: Record, size: tuple[int, int]) -> None:
    if size != (record.width, record.height):
        raise ValueError(
            f"{record.key}: the image is {size[0]} x {size[1]}, its record says "
            f"{record.width} x {record.height}: these are not the shards that a build made"
        )


def _boxes(boxes_xyxy: list[tuple[float, float, float, float]]) -> Tensor:
    return torch.tensor(boxes_xyxy, dtype=torch.float32).reshape(-1, 4)
