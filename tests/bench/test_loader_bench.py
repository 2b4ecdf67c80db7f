"""The loader's bench measures the trainer's own loader."""

from pathlib import Path

import pytest

from opendet.bench.loader import BATCH, BOXES, EPOCHS, SIZE_WH, rates
from opendet.shard_set import ShardSet


def test_it_reads_photographs_with_boxes(tmp_path: Path) -> None:
    measured = rates(tmp_path / "shards", images=BATCH, workers=0)
    assert len(measured) == EPOCHS
    assert all(rate > 0 for rate in measured)
    record = ShardSet.open(tmp_path / "shards").record(0)
    assert (record.width, record.height) == SIZE_WH
    assert len(record.regions) == BOXES
    assert record.bytes == pytest.approx(100_000, rel=0.2)
