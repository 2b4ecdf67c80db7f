"""The bench of the prototype pool at a size of a second: that it measures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opendet.bench.harness import Place
from opendet.bench.pool import measure
from opendet.bench.pool_runs import Work, inertia
from opendet.bench.pool_world import SHARED, write_vectors
from opendet.curate.vector_file import VectorFile

TINY = Work(compared=1500, table=(1500, 3000), width=32, things=40, coarse=12)


def test_vectors_share_a_direction_and_a_larger_file_goes_on_where_a_smaller_ends(
    tmp_path: Path,
) -> None:
    asked = {"width": 256, "things": 60, "seed": 0}
    small = write_vectors(tmp_path / "small", 400, **asked)
    write_vectors(tmp_path / "large", 900, **asked)
    assert (tmp_path / "large").read_bytes().startswith((tmp_path / "small").read_bytes())
    assert (tmp_path / "large").stat().st_size == 900 * 256 * 2
    unit = small.read(np.arange(400))
    cosines = (unit @ unit.T)[np.triu_indices(400, 1)]
    # of different things; a picture's own part makes its cosines smaller by about 0.89
    assert np.median(cosines) == pytest.approx(SHARED * 0.89, abs=0.06)
    assert (cosines > 0.8).mean() > 0.01, "pictures of one thing"


def test_inertia_by_hand(tmp_path: Path) -> None:
    np.array([[1, 0], [0, 1], [0, 1]], np.float16).tofile(tmp_path / "v")
    vectors = VectorFile(tmp_path / "v", 3, 2)
    assert inertia(vectors, np.array([0, 1, 1], np.int32)) == pytest.approx(0)
    # the mean of the first two is (1, 1) / 2, at a squared distance of a half from each
    assert inertia(vectors, np.array([0, 0, 2], np.int32)) == pytest.approx(1 / 3)


@pytest.mark.slow
def test_all_rows_come_and_units_are_kept(tmp_path: Path) -> None:
    place = Place(tmp_path / "work")
    rows = {row.metric: row for row in measure(place, TINY)}
    assert rows["inertia over scikit-learn's"].value == pytest.approx(1, abs=0.1)
    assert rows["second runs with other bytes"].holds
    assert rows["peak memory, GB, 1,500 x 32"].holds
    assert {"dense spots", "CPU seconds a million vectors, 1,500"} <= set(rows)
    assert rows["CPU seconds a million, 3,000 over 1,500"].goal == "<= 1.25"
    assert not [path for path in (tmp_path / "work").iterdir() if path.is_dir()]
    again = Place(tmp_path / "work")
    assert [row.metric for row in measure(again, replace(TINY))] == list(rows)
    assert again.reused == again.done == 5
