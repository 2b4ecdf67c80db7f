"""The bench of decoding, at a size of a moment: and that both sides make the same batches."""

from pathlib import Path

import pytest
import torch

from opendet.bench.decoding import PARTS, costs, photograph, rows_of
from opendet.bench.packed_shards import publish_pictures
from opendet.bench.plain_shards import LONGEST, SHORTEST, Backend, plain_batches
from opendet.data.config import LoaderConfig
from opendet.data.dataset import ExampleSet
from opendet.data.loader import evaluation_batches
from opendet.shard_set import ShardSet


def test_it_measures_and_leaves_nothing(tmp_path: Path) -> None:
    told = costs(tmp_path / "work", size_wh=(64, 48), images=4, rounds=1)
    rows = list(rows_of(told, "small"))
    assert [row.goal for row in rows if row.goal] == [">= 2", ">= 2"]
    assert {f"small, {part}, ms" for part in PARTS} <= {row.metric for row in rows}
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("backend", ["pil", "tensor"])
def test_both_sides_make_the_same_batches(tmp_path: Path, backend: Backend) -> None:
    size_wh = (400, 320)
    tar = publish_pictures(tmp_path / "made", 1, 2, [photograph(0, size_wh)], size_wh)
    config = LoaderConfig(batch_size=2, evaluation_edge=SHORTEST, longest_edge=LONGEST, multiple=1)
    [ours] = evaluation_batches(ExampleSet(ShardSet.open(tar.parent), config), config)
    [(images, targets)] = plain_batches([str(tar)], batch_size=2, backend=backend)
    assert images.shape == ours.images.shape
    assert (images - ours.images).abs().max() < 1.01 / 255  # Pillow rounds elsewhere
    for theirs, own in zip(targets, ours.targets, strict=True):
        kept = torch.tensor([bool(names) for names in own.names])  # ours keep boxes without a name
        torch.testing.assert_close(theirs["boxes"], own.boxes_cxcywh[kept])
        assert [tuple(names) for names in theirs["names"]] == [n for n in own.names if n]
