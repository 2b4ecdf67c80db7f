"""The scenes: equal bytes everywhere, boxes that fit, a long tail with names never trained."""

import io
import os
import subprocess
import sys
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from opendet.sources.drawing import PAINTS, Look, cut_stencil, draw_background, paint_object
from opendet.sources.scenes import (
    MIN_VISIBLE,
    TEXTURES,
    Scene,
    SceneSettings,
    SceneVocabulary,
    draw_batch_scene,
)
from opendet.sources.shapes import SHAPES

SETTINGS = SceneSettings(seed=3)

DIGEST = """
import hashlib
from opendet.sources.scene_settings import SceneSettings
from opendet.sources.scenes import draw_batch_scene
drawn = dict(batch="a", split="train")
scenes = [draw_batch_scene(SceneSettings(seed=3), index=index, **drawn) for index in range(6)]
print(hashlib.sha256(repr(scenes).encode()).hexdigest())
"""


def scene(index: int, *, batch: str = "a", split: str = "train") -> Scene:
    return draw_batch_scene(SETTINGS, batch=batch, split=split, index=index)


def test_every_process_draws_the_same_bytes() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed, zone in (("0", "UTC"), ("1", "Asia/Tokyo"), ("77", "America/Lima"))
    }
    assert len(digests) == 1


def test_no_two_scenes_are_alike() -> None:
    scenes = [
        scene(index, batch=batch, split=split)
        for index in range(5)
        for batch, split in (("a", "train"), ("b", "train"), ("a", "val"))
    ]
    other_seed = draw_batch_scene(SceneSettings(seed=4), batch="a", split="train", index=0)
    assert len({one.content for one in [*scenes, other_seed]}) == 16


def test_a_scene_is_a_small_jpeg_of_the_size_asked_for() -> None:
    for size in (64, 128):
        drawn = draw_batch_scene(SceneSettings(size=size), batch="a", split="train", index=0)
        with Image.open(io.BytesIO(drawn.content)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (size, size))
            assert len(drawn.content) < size * size
        assert drawn.size == size


def test_the_number_and_the_sizes_of_objects_are_as_set() -> None:
    scenes = [scene(index) for index in range(80)]
    counts = Counter(len(one.objects) for one in scenes)
    assert set(counts) == set(range(2, 9))
    areas = [
        (x1 - x0) * (y1 - y0)
        for one in scenes
        for x0, y0, x1, y1 in (thing.box_xyxy for thing in one.objects)
    ]
    assert max(areas) > 10 * min(areas)
    for one in scenes:
        for x0, y0, x1, y1 in (thing.box_xyxy for thing in one.objects):
            assert 0 < x0 < x1 < 128
            assert 0 < y0 < y1 < 128
            assert 15 <= max(x1 - x0, y1 - y0) <= 62


def test_some_objects_overlap_and_some_names_repeat() -> None:
    scenes = [scene(index) for index in range(60)]
    assert sum(any(_overlap(one)) for one in scenes) > 15
    assert sum(len({thing.name for thing in one.objects}) < len(one.objects) for one in scenes) > 10


def _overlap(one: Scene) -> list[bool]:
    boxes = [thing.box_xyxy for thing in one.objects]
    return [
        min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
        for a, b in combinations(boxes, 2)
    ]


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("angle", [-0.35, 0.0, 0.3])
def test_boxes_are_tight_around_the_pixels(shape: str, angle: float) -> None:
    look = Look("red", "plain", shape, (63.3, 60.8), 40.0, 1.1, angle)
    stencil = cut_stencil(look)
    mask = stencil.on_canvas(128)
    rows, columns = np.nonzero(mask.max(1) > 0)[0], np.nonzero(mask.max(0) > 0)[0]
    from_pixels = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.subtract(stencil.box_xyxy, from_pixels)).max() < 1.0
    x0, y0, x1, y1 = stencil.box_xyxy
    assert max(x1 - x0, y1 - y0) == pytest.approx(40, abs=1.5)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((63.3, 60.8), abs=0.75)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_painting_changes_the_box_and_a_shadow_below_it_only(shape: str) -> None:
    look = Look("green", "striped", shape, (64, 64), 30.0, 1.0, 0.2)
    before = draw_background(np.random.default_rng(0), size=128)
    after = before.copy()
    stencil = cut_stencil(look)
    paint_object(after, stencil, look)
    changed = np.abs(after - before).max(-1) > 0
    x0, y0, x1, y1 = (round(edge) for edge in stencil.box_xyxy)
    assert changed[y0:y1, x0:x1].mean() > 0.25
    changed[y0 - 2 : y1 + 9, x0 - 2 : x1 + 9] = False
    assert not changed.any()


def test_no_object_is_hidden_by_the_ones_on_top_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from opendet.sources import scenes as module

    stencils = []

    def keep(look: Look) -> object:
        stencils.append(cut_stencil(look))
        return stencils[-1]

    monkeypatch.setattr(module, "cut_stencil", keep)
    for index in range(30):
        stencils.clear()
        boxes = [thing.box_xyxy for thing in scene(index).objects]
        covers = [one.on_canvas(128) for one in stencils if one.box_xyxy in boxes]
        assert len(covers) == len(boxes)
        for below, cover in enumerate(covers):
            seen = cover.copy()
            for above in covers[below + 1 :]:
                seen = seen * (1 - above)
            assert seen.sum() >= (MIN_VISIBLE - 1e-3) * cover.sum()


def test_names_fall_into_four_disjoint_tiers_with_balanced_words() -> None:
    vocabulary = SceneVocabulary.from_seed(3)
    assert Counter(vocabulary.tiers.values()) == {
        "frequent": 72,
        "common": 72,
        "rare": 96,
        "unseen": 48,
    }
    for tier in ("frequent", "common", "rare", "unseen"):
        names = vocabulary.of_tier(tier)
        for place, words in enumerate((PAINTS, TEXTURES, SHAPES)):
            counts = Counter(name.split()[place] for name in names)
            assert set(counts.values()) == {len(names) // len(words)}
            assert set(counts) == set(words)
    assert SceneVocabulary.from_seed(3) == vocabulary
    assert SceneVocabulary.from_seed(4) != vocabulary
    assert vocabulary.frequency_of(vocabulary.of_tier("rare")[0]) == "rare"


def test_training_has_a_long_tail_and_only_held_out_scenes_show_unseen_names() -> None:
    vocabulary = SceneVocabulary.from_seed(3)
    rng = np.random.default_rng(0)
    trained = [vocabulary.draw_name(rng, split="train") for _ in range(6000)]
    tiers = Counter(vocabulary.frequency_of(name) for name in trained)
    per_name = {tier: tiers[tier] / len(vocabulary.of_tier(tier)) for tier in tiers}
    assert tiers["unseen"] == 0
    assert per_name["frequent"] > 2 * per_name["common"] > 5 * per_name["rare"]
    held_out = [vocabulary.draw_name(rng, split="val") for _ in range(3000)]
    unseen = sum(vocabulary.frequency_of(name) == "unseen" for name in held_out)
    assert 0.10 < unseen / 3000 < 0.16


def test_scenes_of_training_never_show_an_unseen_name() -> None:
    vocabulary = SceneVocabulary.from_seed(3)
    names = {thing.name for index in range(60) for thing in scene(index).objects}
    assert "unseen" not in {vocabulary.frequency_of(name) for name in names}
    held_out = {t.name for index in range(60) for t in scene(index, split="val").objects}
    assert "unseen" in {vocabulary.frequency_of(name) for name in held_out}


def test_a_crowded_small_scene_has_fewer_objects_rather_than_hidden_ones() -> None:
    crowded = SceneSettings(size=32, min_objects=30, max_objects=30, smallest=0.3, largest=0.5)
    drawn = draw_batch_scene(crowded, batch="a", split="train", index=0)
    assert 2 <= len(drawn.objects) < 30


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="min_objects <= max_objects"):
        SceneSettings(min_objects=5, max_objects=4)
