"""Digests of weights: other weights have another one, other notes beside them do not."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from opendet.annotators.weights import file_digest, folder_digest


def tensors(*, head: int = 0, backbone: int = 0) -> dict[str, np.ndarray]:
    """A large backbone and a small head, each by its seed."""
    large = np.random.default_rng(backbone).integers(0, 9, 3_000_000).astype(np.uint8)
    small = np.random.default_rng(head).standard_normal(100).astype(np.float32)
    return {"backbone": large, "head": small}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    save_file(tensors(), tmp_path / "model" / "model.safetensors")
    return tmp_path / "model" / "model.safetensors"


def test_a_new_head_on_an_old_backbone_is_another_model(file: Path) -> None:
    before = (file_digest(file), folder_digest(file.parent))
    save_file(tensors(), file)
    assert (file_digest(file), folder_digest(file.parent)) == before
    save_file(tensors(head=1), file)
    assert file_digest(file) != before[0]
    assert folder_digest(file.parent) != before[1]
    save_file(tensors(backbone=1), file)
    assert file_digest(file) != before[0]


def test_every_other_file_counts_whole_and_hidden_ones_do_not(file: Path) -> None:
    before = folder_digest(file.parent)
    (file.parent / ".cache").mkdir()
    (file.parent / ".cache" / "w.metadata").write_text("downloaded today")
    assert folder_digest(file.parent) == before
    (file.parent / "config.json").write_text("{}")
    with_config = folder_digest(file.parent)
    (file.parent / "config.json").write_text("[]")
    assert len({before, with_config, folder_digest(file.parent)}) == 3


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 40, b"\x02" + b"\x00" * 7 + b"[]"])
def test_what_is_no_safetensors_file_is_read_whole(tmp_path: Path, content: bytes) -> None:
    damaged = tmp_path / "a.safetensors"
    damaged.write_bytes(content)
    first = file_digest(damaged)
    damaged.write_bytes(content + b"x")
    assert file_digest(damaged) != first
