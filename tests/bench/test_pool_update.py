"""The bench of the pool's update: its space, and that it can tell a collapse."""

from pathlib import Path

import pytest
import torch

from opendet.bench import pool_update as module
from opendet.bench.harness import Place, Row
from opendet.bench.pool_update import (
    KIND,
    NAME,
    OF_A_KIND,
    OF_A_NAME,
    SHARED,
    UPDATES,
    accuracy,
    draw_space,
    pairwise_cosine,
    pool_after,
)


def test_the_space_has_the_cosines_that_it_says() -> None:
    rows = draw_space(0).prototypes
    assert pairwise_cosine(rows) == pytest.approx(SHARED, abs=0.01)
    cosines = rows @ rows.T
    same = torch.arange(len(rows)) // OF_A_NAME
    kind = same // OF_A_KIND
    named = (same[:, None] == same) & ~torch.eye(len(rows), dtype=torch.bool)
    kin = (kind[:, None] == kind) & (same[:, None] != same)
    assert float(cosines[named].mean()) == pytest.approx(NAME, abs=0.01)
    assert float(cosines[kin].mean()) == pytest.approx(KIND, abs=0.01)


def test_cosine_and_accuracy_by_hand() -> None:
    """Cosines of three rows: 1, 0, 0; two of four crops are nearest to their name's rows."""
    assert pairwise_cosine(torch.tensor([[1.0, 0], [2.0, 0], [0, 3.0]])) == pytest.approx(1 / 3)
    prototypes = torch.eye(6)
    crops = torch.eye(6)[[0, 2, 3, 4]]
    assert accuracy(prototypes, crops, torch.tensor([0, 1, 1, 0])) == 0.5


def test_few_steps_say_which_way_it_goes() -> None:
    sparse, paper = (pool_after(0, UPDATES[name], steps=20) for name in ("sparse", "paper"))
    assert paper["cosine"] > sparse["cosine"] + 0.1
    assert paper["length"] > 1.5
    assert sparse["length"] == pytest.approx(1)
    assert sparse["novel"] == pytest.approx(sparse["novel_before"], abs=0.02)


def test_rows_and_their_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(seed: int, config: object) -> dict[str, float]:
        del config
        groups = ("base_before", "novel_before", "novel")
        scores = ("cosine_before", "cosine", *groups, "drift", "length")
        return dict.fromkeys(scores, 0.9) | {"base": 0.8 + 0.01 * seed}

    monkeypatch.setattr(module, "pool_after", told)
    rows: dict[str, Row] = {row.metric: row for row in module.measure(Place(tmp_path))}
    assert rows["sparse: mean pairwise cosine after 600 steps"].holds is False
    assert rows["paper: mean pairwise cosine after 600 steps"].holds is None
    lost = rows["sparse: nearest-name accuracy, base names, change"]
    assert (lost.value, lost.holds) == (pytest.approx(-0.09), False)
    assert rows["sparse: nearest-name accuracy, novel names, change"].holds
