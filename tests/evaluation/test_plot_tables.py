"""The tables of `dvc plots`: counted by hand, whole without their inputs, the same bytes twice."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opendet.evaluation.plot_tables import (
    FOLDER,
    MOST_NAMES,
    agreement_rows,
    drop_rows,
    name_rows,
    plot_tables,
    precision_recall_rows,
    score_rows,
    write_plot_tables,
)
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.report_gather import gather
from opendet.evaluation.report_inputs import ReportInputs, StageLedger
from opendet.record import Provenance, Record, Region

SOURCE = Provenance("source")


def region(name: str, left: float, **told: object) -> Region:
    made = Region(box_xyxy=(left, 0.0, left + 10.0, 10.0), box_from=SOURCE, label=name)
    return replace(made, names=(name,), **told)


def record(key: str, *regions: Region) -> Record:
    return Record(
        key=key, source="s", batch="b", split="val", licence="CC0-1.0", file=f"{key}.png",
        format="png", bytes=1, sha256="0" * 64, width=100, height=100, regions=regions,
    )  # fmt: skip


def found(key: str, *boxes: tuple[float, float]) -> ImagePrediction:
    """Boxes as (left, score)."""
    corners = [(left, 0.0, left + 10.0, 10.0) for left, _ in boxes]
    scores = np.asarray([score for _, score in boxes])
    return ImagePrediction(key, np.asarray(corners).reshape(-1, 4), scores, (("x",),) * len(boxes))


def test_names_of_kept_regions_the_most_frequent_first() -> None:
    inputs = ReportInputs(
        "toy",
        records=(
            record("a", region("dog", 0), region("cat", 20), region("dog", 40)),
            record("b", region("ape", 0), region("ox", 20, refusal="disagrees")),
        ),
    )
    assert list(name_rows(inputs)) == [("dog", 2), ("ape", 1), ("cat", 1)]
    many = tuple(record(f"r{n}", region(f"name {n:02}", 0)) for n in range(MOST_NAMES + 5))
    assert len(list(name_rows(replace(inputs, records=many)))) == MOST_NAMES


def test_drops_by_stage_and_reason() -> None:
    ledgers = (
        StageLedger("source", 9, 6, {"duplicate": 2}, {"cut off": 1}),
        StageLedger("caption", 6, 5, {"no \x1b[31mcaption": 1}, {}),
    )
    assert list(drop_rows(ReportInputs("toy", ledgers=ledgers))) == [
        ("source: duplicate", 2),
        ("source: quarantined", 1),
        ("caption: no  [31mcaption", 1),
    ]


def test_agreement_by_what_became_of_the_region() -> None:
    wrong = replace(region("dog", 0, agreement=0.31, refusal="disagrees"), label="cat")
    regions = (region("dog", 20, agreement=0.33), region("dog", 40, agreement=0.42), wrong)
    inputs = ReportInputs("toy", records=(record("a", *regions, region("ox", 60)),))
    assert agreement_rows(inputs) == [
        (0.325, 1, 1, 1),  # 0.30 to 0.35
        (0.375, 0, 0, 0),
        (0.425, 1, 0, 0),
    ]


def test_scores() -> None:
    inputs = ReportInputs("toy", predictions=(found("a", (0, 0.99), (20, 1.0)), found("b")))
    assert score_rows(inputs) == [(0.9875, 2)]


def test_precision_at_recall_by_hand() -> None:
    """Two objects; the surest box finds one, the next is wrong, the last finds the other."""
    inputs = ReportInputs(
        "toy",
        records=(record("a", region("dog", 0), region("cat", 20)), record("unseen")),
        predictions=(found("a", (0, 0.9), (60, 0.8), (20, 0.7)), found("gone", (0, 0.9))),
    )
    rows = dict(precision_recall_rows(inputs))
    assert len(rows) == 101
    assert rows[0.0] == rows[0.5] == 1.0
    assert rows[0.51] == rows[1.0] == pytest.approx(2 / 3, abs=1e-4)


def test_tables_are_there_without_anything_to_show(tmp_path: Path) -> None:
    write_plot_tables(tmp_path, ReportInputs("nothing"))
    files = sorted((tmp_path / FOLDER).iterdir())
    assert [path.stem for path in files] == sorted(plot_tables(ReportInputs("nothing")))
    assert all(len(path.read_text().splitlines()) == 1 for path in files)


def test_a_build_gives_the_same_bytes_twice(toy_build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    inputs = gather(toy_build.folder)
    for name in ("one", "two"):
        write_plot_tables(tmp_path / name, inputs)
    for path in (tmp_path / "one" / FOLDER).iterdir():
        assert path.read_bytes() == (tmp_path / "two" / FOLDER / path.name).read_bytes()
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) > 1, path.name
        assert len({len(row) for row in rows}) == 1, path.name
