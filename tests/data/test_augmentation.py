"""What an epoch shows of an image, by GenerateU's recipe (spec A.5), and of odd shapes."""

import resource
from collections.abc import Sequence
from pathlib import Path

import pytest
import shard_world as world
import torch

from opendet.data.collate import collate
from opendet.data.config import LoaderConfig
from opendet.data.dataset import ExampleSet
from opendet.data.order import Draw
from opendet.data.transforms import Example
from opendet.sample import Sample
from opendet.shard_set import ShardSet

RECIPE = LoaderConfig()
EDGES = {480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800}
DRAWS = 24


def shown(folder: Path, sample: Sample, **changes: object) -> list[Example]:
    """One image over a number of epochs."""
    world.publish(folder / "out", {"a-000000": [sample]})
    config = RECIPE.model_copy(update=changes)
    examples = ExampleSet(ShardSet.open(folder / "out"), config)
    return [examples.example(Draw(0), epoch=epoch) for epoch in range(DRAWS)]


def image(width: int, height: int) -> Sample:
    box = (width // 4, 0, max(width // 2, width // 4 + 1), height)
    return world.painted("a-0", size=(width, height), regions=(world.region(box, "thing"),))


def aspects(examples: Sequence[Example]) -> list[float]:
    """Width over height."""
    return [example.size_hw[1] / example.size_hw[0] for example in examples]


def test_the_recipe_is_the_default() -> None:
    assert set(RECIPE.shortest_edges) == EDGES
    assert (RECIPE.longest_edge, RECIPE.evaluation_edge) == (1333, 800)
    assert (RECIPE.flip, RECIPE.crop) == (0.5, 0.5)
    assert RECIPE.crop_edges == (400, 500, 600)
    assert RECIPE.crop_sides == (384, 600)
    assert RECIPE.crop_keep == 0  # detectron2 keeps whatever is left of a box


def test_without_a_crop_the_whole_image_is_resized(tmp_path: Path) -> None:
    examples = shown(tmp_path, image(80, 60), crop=0.0)
    assert {min(example.size_hw) for example in examples} <= EDGES
    assert len({example.size_hw for example in examples}) > 4
    assert aspects(examples) == pytest.approx([4 / 3] * DRAWS, rel=0.01)


def test_half_of_the_images_are_cropped_and_half_are_flipped(tmp_path: Path) -> None:
    """A crop of a 4 : 3 image is hardly ever 4 : 3; the box begins a quarter from the left, or,
    flipped, half way: 24 fair coins show 4 to 20 heads but for one time in a thousand."""
    examples = shown(tmp_path, image(80, 60))
    cropped = [abs(aspect - 4 / 3) > 0.01 for aspect in aspects(examples)]
    assert 4 <= sum(cropped) <= 20
    whole = [example for example, cut in zip(examples, cropped, strict=True) if not cut]
    flipped = [float(e.boxes_xyxy[0, 0]) / e.size_hw[1] > 0.4 for e in whole]
    assert {True, False} == set(flipped)


def test_a_panorama_is_cropped_at_the_same_scale_as_others(tmp_path: Path) -> None:
    """400 to 600 high and thousands of pixels wide it may be before it is cut; held to 1333 wide it
    would be 167 high, and its crop a strip."""
    examples = shown(tmp_path, image(240, 30), crop=1.0)
    assert all(384 / 600 <= aspect <= 600 / 384 for aspect in aspects(examples))
    assert {min(example.size_hw) for example in examples} <= EDGES


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000), (1, 1), (3000, 7)])
def test_a_line_of_pixels_stays_small(tmp_path: Path, size: tuple[int, int]) -> None:
    examples = shown(tmp_path, image(*size))
    for example in examples:
        assert min(example.size_hw) >= 1
        assert max(example.size_hw) <= RECIPE.longest_edge
        boxes = example.boxes_xyxy
        assert torch.isfinite(boxes).all()
    batch = collate(examples[:4], multiple=RECIPE.multiple)
    assert max(batch.images.shape[-2:]) <= 1344
    for target in batch.targets:
        assert ((target.boxes_cxcywh >= 0) & (target.boxes_cxcywh <= 1 + 1e-6)).all()


def test_a_line_of_pixels_is_not_blown_up_before_it_is_cropped(tmp_path: Path) -> None:
    """To 400 px on the short side, 1 x 5000 pixels would be 2,000,000 wide: 2.4 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shown(tmp_path, image(5000, 1), crop=1.0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KB, of the peak
    assert grown < 300_000
