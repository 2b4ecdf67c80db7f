"""The ordered map over Ray: the same results as in this process, deaths and errors."""

import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from opendet.curate.prototypes import PrototypesConfig, clusters_of
from opendet.curate.vector_file import VectorFile
from opendet.ordered_map import AHEAD
from opendet.ray_map import ordered_map

pytestmark = pytest.mark.slow


def dies_once(folder: Path, item: int) -> int:
    if item == 3 and not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(1)
    return -item


def test_any_number_of_workers_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opendet.curate.spherical_kmeans.CHUNK", 300)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(12, 16))[np.arange(2000) % 12] + rng.normal(0, 0.3, (2000, 16))
    vectors.astype(np.float16).tofile(tmp_path / "v")
    file = VectorFile(tmp_path / "v", 2000, 16)
    config = PrototypesConfig(coarse=9, restarts=1)
    found = []
    for actors in (0, 1, 2):
        with ordered_map(actors) as each, threadpool_limits(limits=1):
            found.append(clusters_of(file, config, each))
    for other in found[1:]:
        assert other.coarse_of.tobytes() == found[0].coarse_of.tobytes()
        assert other.fine_of.tobytes() == found[0].fine_of.tobytes()
        assert [one.centre.tobytes() for one in other.fine] == [
            one.centre.tobytes() for one in found[0].fine
        ]


def noted(folder: Path, item: int) -> int:
    (folder / str(item)).touch()
    if item == 0:
        time.sleep(3)
    return item


def test_behind_a_slow_item_few_results_wait(tmp_path: Path) -> None:
    with ordered_map(2) as each:
        assert next(each(partial(noted, tmp_path), range(50))) == 0
    assert len(list(tmp_path.iterdir())) <= AHEAD * 2 + 2


def test_a_worker_that_dies_is_replaced_and_an_error_comes_through(tmp_path: Path) -> None:
    with ordered_map(2) as each:
        assert list(each(partial(dies_once, tmp_path), range(8))) == [-n for n in range(8)]
        assert (tmp_path / "died").exists()
        with pytest.raises(ZeroDivisionError):
            list(each(partial(divmod, 1), [1, 0, 2]))
