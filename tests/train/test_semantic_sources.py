"""A pool and the regions' vectors must be of one CLIP, which neither of them knows by name."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opendet.curate.pool import Member, write_pool
from opendet.curate.prototypes import PrototypesConfig, build_pool
from opendet.data.batch import RegionRef
from opendet.train.region_store import marks_of
from opendet.train.region_vectors import RegionVectors
from opendet.train.semantic_sources import require_one_clip

COUNT, WIDTH = 400, 32


def _vectors(seed: int) -> NDArray[np.float32]:
    """Nothing but noise about one direction: the worst that a pool can be made of."""
    rows = np.random.default_rng(seed).standard_normal((COUNT, WIDTH)) + 1
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)
    return unit


def _pool(folder: Path, vectors: NDArray[np.float32], coarse: int) -> Path:
    members = [Member(f"image-{row}", 1, "thing") for row in range(COUNT)]
    write_pool(folder, build_pool(vectors, members, PrototypesConfig(coarse=coarse)))
    return folder


def _crops(vectors: NDArray[np.float32], key: str = "image") -> RegionVectors:
    marks = marks_of([RegionRef(f"{key}-{row}", 1) for row in range(COUNT)])
    order = marks.argsort()
    return RegionVectors(marks[order], order, vectors.astype(np.float16))


def test_a_pool_of_these_vectors_is_welcome(tmp_path: Path) -> None:
    require_one_clip(_pool(tmp_path, _vectors(0), 20), _crops(_vectors(0)))


@pytest.mark.parametrize("seed", range(3))
def test_a_pool_of_another_clip_of_the_same_width_is_one_line(tmp_path: Path, seed: int) -> None:
    turned, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((WIDTH, WIDTH)))
    pool = _pool(tmp_path, _vectors(0), 20)
    with pytest.raises(ValueError, match="are of two CLIP models: build prototypes") as error:
        require_one_clip(pool, _crops((_vectors(0) @ turned).astype(np.float32)))
    assert "\n" not in str(error.value)
    assert str(pool) in str(error.value)


def test_too_few_hearts_say_nothing(tmp_path: Path) -> None:
    few = _pool(tmp_path / "few", _vectors(0), 9)
    require_one_clip(few, _crops(_vectors(1)))
    strangers = _pool(tmp_path / "many", _vectors(0), 20)
    require_one_clip(strangers, _crops(_vectors(1), key="other"))


def test_a_collapsed_pool_is_of_no_other_clip(tmp_path: Path) -> None:
    """All lie in one place: what is wrong with it is said elsewhere."""
    same = np.repeat(_vectors(0)[:1], COUNT, 0)
    nudged = same + 1e-4 * _vectors(1)
    pool = _pool(tmp_path, nudged.astype(np.float32), 20)
    require_one_clip(pool, _crops(nudged.astype(np.float32)))
