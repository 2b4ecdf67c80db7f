"""What training sees, what evaluation sees, and that a cache is only faster."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shard_world as world
import torch

from opendet.boxes import to_record
from opendet.data.collate import collate, padded, scaled
from opendet.data.config import LoaderConfig, MixtureSource
from opendet.data.dataset import EvaluationSet, ExampleSet, training_example, truth_of
from opendet.data.order import Draw
from opendet.data.transforms import Example
from opendet.shard_set import ShardSet

CONFIG = LoaderConfig(
    shortest_edges=(32, 40, 48), evaluation_edge=40, longest_edge=64, crop_edges=(40,),
    crop_sides=(24, 40), batch_size=4,
)  # fmt: skip


def test_training_sees_objects_and_the_names_that_were_kept() -> None:
    kept = world.region((1, 2, 20, 30), "kept")
    doubted = world.region((5, 5, 15, 15), "doubted", "disagrees")
    small = world.region((3, 3, 9, 9), "no", "too small")
    crowd = replace(kept, crowd=True)
    example = training_example(world.painted("k", regions=(kept, doubted, small, crowd)))
    assert example.names == (("kept",), ())
    assert example.boxes_xyxy.tolist() == [[1, 2, 20, 30], [5, 5, 15, 15]]
    assert (example.kind, example.caption) == ("box", "a white thing, “übrig”")


def test_an_image_of_a_caption_has_no_objects() -> None:
    sample = world.painted("k", regions=(world.region((1, 2, 20, 30), "kept"),))
    example = training_example(sample, "image")
    assert (example.boxes_xyxy.shape, example.names) == ((0, 4), ())
    assert (example.kind, example.caption) == ("image", "a white thing, “übrig”")
    silent = replace(sample, record=replace(sample.record, caption=""))
    assert training_example(silent, "image").caption is None


def test_truth_is_every_label_of_the_source() -> None:
    kept = world.region((1, 2, 20, 30), "kept")
    refused = world.region((3, 3, 9, 9), "no", "too small")
    crowd = replace(kept, crowd=True, names=())
    regions = (kept, refused, replace(kept, label=None), crowd)
    truth = truth_of(world.painted("k", regions=regions).record)
    assert truth.labels == ("true kept", "true no", "true kept")
    assert truth.crowd.tolist() == [False, False, True]
    assert truth.boxes_xyxy.shape == (3, 4)
    assert truth_of(world.painted("k").record).boxes_xyxy.shape == (0, 4)


def test_evaluation_reads_records_and_pixels(tmp_path: Path) -> None:
    samples = world.small_build(tmp_path / "out")
    evaluation = EvaluationSet(ShardSet.open(tmp_path / "out", split="train"))
    assert [record for record, _ in evaluation.samples()] == [sample.record for sample in samples]
    assert all(i.size == (r.width, r.height) for r, i in evaluation.samples())
    assert all(image.mode == "RGB" for _, image in evaluation.samples())
    assert [truth.key for truth in evaluation.truths()] == [sample.key for sample in samples]


def test_a_record_of_another_size_is_refused() -> None:
    sample = world.painted("k")
    with pytest.raises(ValueError, match="its record says 63 x 48"):
        training_example(replace(sample, record=replace(sample.record, width=63)))


def test_an_image_that_does_not_decode_is_named() -> None:
    sample = world.painted("k")
    with pytest.raises(ValueError, match=r"^k: ") as caught:
        training_example(replace(sample, content=sample.content[:200]))
    assert "\n" not in str(caught.value)


def same(first: Example, second: Example) -> bool:
    return (
        torch.equal(first.image, second.image)
        and torch.equal(first.boxes_xyxy, second.boxes_xyxy)
        and (first.key, first.names) == (second.key, second.names)
    )


def test_the_cache_changes_nothing(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out")
    shards = ShardSet.open(tmp_path / "out")
    plain = ExampleSet(shards, CONFIG)
    cached = ExampleSet(shards, CONFIG.model_copy(update={"cache": True}))
    for epoch in range(6):
        for index in range(len(plain)):
            assert same(
                plain.example(Draw(index), epoch=epoch), cached.example(Draw(index), epoch=epoch)
            )
    assert all(same(plain.plain(i), cached.plain(i)) for i in range(len(plain)))


def test_augmentation_is_a_function_of_its_place(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out")
    shards = ShardSet.open(tmp_path / "out")
    one, two = ExampleSet(shards, CONFIG), ExampleSet(shards, CONFIG)
    torch.manual_seed(1)
    np.random.seed(1)
    forwards = [one.example(Draw(index), epoch=1) for index in range(len(one))]
    torch.manual_seed(2)
    backwards = [two.example(Draw(index), epoch=1) for index in reversed(range(len(two)))]
    assert all(same(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    others = [one.example(Draw(index), epoch=2) for index in range(len(one))]
    assert not all(same(a, b) for a, b in zip(forwards, others, strict=True))


def test_bytes_become_floats_exactly_and_padding_is_zero() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).repeat(3, 1, 1)
    sizes = ((16, 16), (5, 9))
    examples = [
        Example("k", every[:, :height, :width], torch.zeros(0, 4), (), (height, width))
        for height, width in sizes
    ]
    bare = padded(examples, multiple=10)
    assert (bare.images.dtype, bare.images.shape) == (torch.uint8, (2, 3, 20, 20))
    images = scaled(bare).images
    assert torch.equal(images, collate(examples, multiple=10).images)
    for image, example, (height, width) in zip(images, examples, sizes, strict=True):
        assert torch.equal(image[:, :height, :width], example.image.float() / 255)
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()


def test_collate_pads_and_keeps_boxes(tmp_path: Path) -> None:
    samples = world.samples(6)
    examples = [training_example(sample) for sample in samples]
    batch = collate(examples, multiple=32)
    assert batch.images.shape == (6, 3, 64, 64)
    assert 0 <= float(batch.images.min()) < float(batch.images.max()) <= 1
    assert batch.sizes_hw.dtype == batch.original_sizes_hw.dtype == torch.int64
    for place, example in enumerate(examples):
        height, width = example.size_hw
        assert batch.sizes_hw[place].tolist() == [height, width]
        image = batch.images[place]
        assert torch.equal((image[:, :height, :width] * 255).round().byte(), example.image)
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()
        target = batch.targets[place]
        back = to_record(target.boxes_cxcywh, width=width, height=height)
        assert torch.allclose(back, example.boxes_xyxy, atol=1e-4)
        assert target.names == example.names
    assert batch.targets[0].boxes_cxcywh.shape == (0, 4)


def test_a_batch_knows_what_each_image_is_good_for(tmp_path: Path) -> None:
    """The mixture says it, the example carries it, and the batch has it on any device."""
    world.publish(
        tmp_path / "out", {"a-0": world.samples(2, batch="a"), "b-0": world.samples(2, batch="b")}
    )
    mixture = (MixtureSource(batch="a", weight=1), MixtureSource(batch="b", weight=1, kind="box"))
    config = CONFIG.model_copy(update={"mixture": mixture})
    examples = ExampleSet(ShardSet.open(tmp_path / "out"), config)
    shown = [examples.example(Draw(index), epoch=0) for index in range(4)]
    targets = collate(shown, multiple=32).to(torch.device("cpu")).targets
    assert [target.kind for target in targets] == ["image", "box", "box", "box"]
    assert {target.caption for target in targets} == {"a white thing, “übrig”"}


def test_each_coming_of_a_sample_is_augmented_anew(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out")
    examples = ExampleSet(ShardSet.open(tmp_path / "out"), CONFIG)
    turns = [examples.example(Draw(1, turn), epoch=0) for turn in range(6)]
    assert not all(same(turns[0], turn) for turn in turns)
    again = [examples.example(Draw(1, turn), epoch=0) for turn in range(6)]
    assert all(map(same, turns, again))


def test_a_sample_that_comes_twice_in_a_step_has_two_keys(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out")
    examples = ExampleSet(ShardSet.open(tmp_path / "out"), CONFIG)
    first, second = (examples.example(Draw(1, 2, repeat), epoch=0) for repeat in (0, 1))
    assert (first.key, second.key) == ("a-0001", "a-0001.1")
    assert torch.equal(first.image, second.image)
