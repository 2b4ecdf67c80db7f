"""The bench of writing shards, at a size of a moment."""

from pathlib import Path

from opendet.bench.packed_shards import picture, samples
from opendet.bench.reading import plain
from opendet.bench.writing import _forced, _ours, _plain, costs, rows_of


def test_it_measures_and_leaves_nothing(tmp_path: Path) -> None:
    told = costs(tmp_path / "work", count=5, rounds=2)
    rows = list(rows_of(told))
    assert [row.goal for row in rows[:4]] == [">= 0.8"] * 4
    assert all(float(row.value) >= 0 for row in rows)
    assert list((tmp_path / "work").iterdir()) == []


def test_both_write_the_same_samples(tmp_path: Path) -> None:
    made = samples(range(3), [picture(0, (64, 48))], (64, 48))
    _ours(tmp_path / "work", made)
    [tar] = (tmp_path / "work" / "parts").rglob("*.tar")
    _forced(tmp_path / "theirs.tar", [_plain(sample) for sample in made])
    ours, theirs = ([*plain([str(path)])] for path in (tar, tmp_path / "theirs.tar"))
    for one, other in zip(ours, theirs, strict=True):
        assert all(one[name] == other[name] for name in ("__key__", "jpg", "json"))
