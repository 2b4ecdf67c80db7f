"""The small world: who is frequent, what is drawn, and in which order it comes."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from opendet.bench.synthetic import NAMES, SIDE, TIERS, SceneBatches, SceneSet, draw_scenes


@pytest.fixture(scope="module")
def trained() -> SceneSet:
    return draw_scenes(60, seed=1, split="train")


@pytest.fixture(scope="module")
def tested() -> SceneSet:
    return draw_scenes(60, seed=1, split="test")


def test_the_tiers_have_their_sizes_and_every_word_equally_often() -> None:
    assert Counter(TIERS.values()) == {"frequent": 24, "rare": 24, "unseen": 16}
    words = Counter((word, tier) for name, tier in TIERS.items() for word in name.split())
    shares = {"frequent": 3, "rare": 3, "unseen": 2}
    assert all(count == shares[tier] for (_, tier), count in words.items())


def test_training_never_shows_an_unseen_name(trained: SceneSet) -> None:
    shown = Counter(TIERS[name] for names in trained.names for name in names)
    assert shown["unseen"] == 0
    assert 0 < shown["rare"] < 0.2 * shown["frequent"]


def test_the_test_set_shows_all_names_about_equally_often(tested: SceneSet) -> None:
    shown = Counter(name for names in tested.names for name in names)
    assert set(shown) == set(NAMES)
    assert max(shown.values()) <= 4 * min(shown.values()) + 4


def test_training_repeats_a_name_in_an_image_more_than_the_test_does(
    trained: SceneSet, tested: SceneSet
) -> None:
    def repeated(scenes: SceneSet) -> float:
        return np.mean([1 - len(set(names)) / len(names) for names in scenes.names])

    assert repeated(trained) > 1.3 * repeated(tested)


def test_a_seed_and_a_split_decide_every_byte(trained: SceneSet, tested: SceneSet) -> None:
    again = draw_scenes(60, seed=1, split="train")
    assert np.array_equal(again.images, trained.images)
    assert again.names == trained.names
    assert not np.array_equal(draw_scenes(60, seed=2, split="train").images, trained.images)
    assert not np.array_equal(tested.images, trained.images)


def test_boxes_lie_in_the_picture_around_what_differs_from_the_background(
    trained: SceneSet,
) -> None:
    for image, boxes in zip(trained.images, trained.boxes_xyxy, strict=True):
        assert 1 <= len(boxes) <= 8
        assert (boxes >= 0).all()
        assert (boxes <= SIDE).all()
        outside = np.ones((SIDE, SIDE), bool)
        for x0, y0, x1, y1 in boxes.round().astype(int):
            outside[max(0, y0 - 8) : y1 + 8, max(0, x0 - 8) : x1 + 8] = False
        if outside.sum() > 200:
            assert image[:, outside].std() < image.std()


def test_a_batch_is_what_the_trainer_takes(trained: SceneSet) -> None:
    batch = trained.batch([3, 0])
    assert batch.keys == ("train-3", "train-0")
    assert batch.images.shape == (2, 3, SIDE, SIDE)
    assert 0 <= float(batch.images.min()) < float(batch.images.max()) <= 1
    box, name = batch.targets[0].boxes_cxcywh[0] * SIDE, batch.targets[0].names[0]
    x0, y0, x1, y1 = trained.boxes_xyxy[3][0]
    assert torch.allclose(box, torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]))
    assert name == (trained.names[3][0],)


def test_batches_go_on_where_they_were_left_and_show_each_scene_once_an_epoch(
    trained: SceneSet,
) -> None:
    whole = SceneBatches(trained, batch_size=10, seed=0)
    keys = [batch.keys for batch in islice(whole, 12)]
    assert len({key for part in keys[:6] for key in part}) == 60
    assert keys[:6] != keys[6:]
    later = SceneBatches(trained, batch_size=10, seed=0)
    later.load_state_dict({"position": 7})
    assert [batch.keys for batch in islice(later, 5)] == keys[7:]
    assert later.state_dict() == whole.state_dict()
