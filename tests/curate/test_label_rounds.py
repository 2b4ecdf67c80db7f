"""Rounds on disk: taken once and whole, followed by their records; what is amiss is said."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opendet.curate.label_rounds import Rounds, rounds_in, take_round
from opendet.curate.label_value import COLUMNS, CONTRADICTED, UNHEARD, LabelValueConfig
from opendet.record import Provenance, Region

RULES = LabelValueConfig(min_agreement=0.0, max_share=1.0)
CAT = Region((0, 0, 9, 9), Provenance("source"), names=("cat",))


def signals(folder: Path, agreement: float, name: str = "signals.parquet") -> Path:
    path = folder / name
    rows = ["a"], [0], ["cat"], [5], [None], [agreement]
    table = pa.table(dict(zip((*COLUMNS, "iou"), (*rows, [1.0]), strict=True)))
    pq.write_table(table, path)
    return path


def test_a_round_is_taken_as_it_is_and_says_what_was_before(tmp_path: Path) -> None:
    made, folder = signals(tmp_path, -1.0), tmp_path / "datasets/label_value" / "tiny"
    assert rounds_in(folder) == []
    first = take_round(made, folder, {"ap": 0.25})
    assert first.signals.read_bytes() == made.read_bytes()
    second = take_round(signals(tmp_path, 1.0), folder, {})
    assert rounds_in(folder) == [first, second]
    assert [one.number for one in rounds_in(folder)] == [1, 2]
    assert rounds_in(folder)[0].before == {"ap": 0.25}


def test_the_filter_hears_as_many_rounds_as_it_knows_of(tmp_path: Path) -> None:
    folder = tmp_path / "rounds"
    take_round(signals(tmp_path, -1.0), folder, {})
    take_round(signals(tmp_path, 1.0), folder, {})
    assert Rounds(folder, 0).judged(RULES) is UNHEARD
    assert Rounds(folder, 1).judged(RULES).refusal("a", 0, CAT) == CONTRADICTED
    assert Rounds(folder, 2).judged(RULES).refusal("a", 0, CAT) == ""


def test_the_same_training_is_no_second_round(tmp_path: Path) -> None:
    folder, made = tmp_path / "rounds", signals(tmp_path, -1.0)
    take_round(made, folder, {})
    with pytest.raises(ValueError, match="is round 1 already: train again first"):
        take_round(made, folder, {})
    assert len(rounds_in(folder)) == 1


def test_a_copy_without_its_record_is_no_round(tmp_path: Path) -> None:
    """What a kill between the two leaves; the next attempt overwrites it."""
    folder = tmp_path / "rounds"
    folder.mkdir()
    (folder / "round-1.parquet").write_bytes(b"torn")
    assert rounds_in(folder) == []
    take_round(signals(tmp_path, -1.0), folder, {})
    assert len(rounds_in(folder)) == 1


def test_what_is_amiss_is_said_in_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "rounds"
    for agreement in (-1.0, 0.5, 1.0):
        take_round(signals(tmp_path, agreement), folder, {})
    (folder / "round-3.json").write_text("{}")
    with pytest.raises(ValueError, match=r"round-3.json is damaged"):
        rounds_in(folder)
    (folder / "round-3.json").unlink()
    (folder / "round-2.parquet").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"round-2.parquet is missing or not what round-2.json"):
        rounds_in(folder)
    (folder / "round-1.json").unlink()
    (folder / "round-2.parquet").unlink()
    (folder / "round-2.json").rename(folder / "round-x.json")
    with pytest.raises(ValueError, match="is no round: they are called round-1"):
        rounds_in(folder)


def test_a_gap_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "rounds"
    for agreement in (-1.0, 0.5):
        take_round(signals(tmp_path, agreement), folder, {})
    (folder / "round-1.json").unlink()
    with pytest.raises(ValueError, match="has no round 1, yet one after it"):
        rounds_in(folder)


def test_other_files_are_no_signals(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"key": ["a"]}), path)
    text = tmp_path / "text.parquet"
    text.write_text("nothing")
    for other in (path, text):
        with pytest.raises(ValueError, match=r"holds no signals of a training .*train.signals"):
            take_round(other, tmp_path / "rounds", {})
    assert not (tmp_path / "rounds").exists()
