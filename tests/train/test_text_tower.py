"""The tower that a configuration names."""

from pathlib import Path

import numpy as np
import pytest
import torch

from opendet.annotators.clip import Clip
from opendet.annotators.hash_text import HashTextEncoder
from opendet.annotators.tiny_clip import TinyShape, save_weights, start_clip
from opendet.train.text_config import TextConfig
from opendet.train.text_tower import open_tower

SHAPE = TinyShape(image_size=32, tower="test_resnet", width=16, text_layers=1, vocabulary=300)


def test_the_hash_tower_needs_no_build(tmp_path: Path) -> None:
    tower = open_tower(TextConfig(tower="hash", hash_width=12), cache=tmp_path)
    rows = tower.encode_texts(["red"])
    np.testing.assert_array_equal(rows, HashTextEncoder(12).encode_texts(["red"]))


def test_a_folder_of_open_clip_is_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(start_clip(tmp_path, ["red star"], SHAPE)[0], tmp_path)
    tower = open_tower(TextConfig(tower=str(tmp_path)), cache=tmp_path / "cache")
    assert tower.revision == Clip.load(str(tmp_path)).revision
    assert tower.encode_texts(["red star"]).shape == (1, 16)


@pytest.mark.parametrize("name", ["transformers:nowhere", "no-such-clip"])
def test_a_tower_that_is_not_there_is_one_clear_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=name.removeprefix("transformers:")) as refusal:
        open_tower(TextConfig(tower=name), cache=tmp_path)
    assert "\n" not in str(refusal.value)
