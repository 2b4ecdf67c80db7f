"""`opendet data loop`: rounds are taken once, killed or not; what the filter makes of them."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from opendet.build import Build
from opendet.curate.label_rounds import rounds_in, take_round
from opendet.curate.label_value import COLUMNS, CONTRADICTED
from opendet.inspect.tables import show
from opendet.label_value_command import dvc_hint, go_round, rounds_folder, standings_table
from opendet.manifest import read_manifest
from opendet.programs import run_programs
from opendet.record import Record
from opendet.schema import read_records
from tests.cli_world import COCO, SCENES, make_project, run_cli, write_pictures
from tests.model.worlds import TINY_DETECTOR, TINY_NAMER

LOOP: dict[str, Any] = {
    "train": {"signals": True},
    "filter": {"min_margin": None, "label_value": {"min_agreement": 0.0, "max_share": 1.0}},
}


class KilledError(Exception):
    """The process is no more."""


class Stages:
    """In the place of the stages: each new number of rounds is a training of its own."""

    def __init__(
        self,
        build: Build,
        *,
        news: bool = True,
        dies_at: int = 0,
        code: int = 0,
        judges: bool = True,
    ) -> None:
        self.build = build
        self.judges = judges
        self.news = news
        self.dies_at = dies_at
        self.code = code
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, stages: Sequence[str]) -> int:
        self.calls.append(tuple(stages))
        if len(self.calls) == self.dies_at:
            raise KilledError
        rounds = len(rounds_in(rounds_folder(self.build)))
        trained = rounds if self.news else 0
        write_signals(self.build.stage_folder("train"), ("a", 0, "cat", 5, None, trained / 10))
        refused = {"refused.contradicted_by_training": 4} if rounds else {}
        training = {"training": {"precision": 0.75, "recall": 0.5}} if rounds else {}
        self.build.write_metrics("filter", {"kept": 20 - 4 * rounds, **refused, **training})
        judged = {"agnostic_ap": 0.5, "named_ap": {"all": 0.2 + rounds / 10}}
        self.build.write_metrics("evaluate", judged if self.judges else {"images": 3})
        return self.code


def write_signals(folder: Path, *rows: tuple[object, ...]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "signals.parquet"
    pq.write_table(
        pa.table(dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))), path
    )
    return path


def opened(root: Path, **sections: Any) -> Build:
    return Build.open(root=make_project(root / "project", SCENES, {**LOOP, **sections}))


def shown(build: Build, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    show(standings_table(build))
    return [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_a_round_is_taken_between_two_builds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = opened(tmp_path)
    run = Stages(build)
    assert go_round(build, 1, run) == ""
    assert [stages[-1] for stages in run.calls] == ["evaluate"] * 2
    [taken] = rounds_in(build.root / "datasets/label_value" / "tiny")
    assert taken.before["named_ap"] == 0.2
    lines = shown(build, capsys)
    assert lines[-2][-4:] == ["20", "0", "50.0", "20.0"]
    assert lines[-1][-6:] == ["16", "4", "75.0", "50.0", "50.0", "30.0"]
    assert go_round(build, 1, run) == ""  # it is done
    assert (len(run.calls), len(rounds_in(rounds_folder(build)))) == (3, 1)
    go_round(build, 3, run)
    assert len(rounds_in(rounds_folder(build))) == 3


def test_where_nothing_could_be_judged_the_loop_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metrics leave out what they could not measure: the AP of images without an object."""
    build = opened(tmp_path)
    go_round(build, 1, Stages(build, judges=False))
    assert shown(build, capsys)[-1][-4:] == ["16", "4", "75.0", "50.0"]


@pytest.mark.parametrize("dies_at", [1, 2])
def test_killed_it_goes_on_and_takes_no_round_twice(tmp_path: Path, dies_at: int) -> None:
    build = opened(tmp_path)
    with pytest.raises(KilledError):
        go_round(build, 1, Stages(build, dies_at=dies_at))
    assert len(rounds_in(rounds_folder(build))) == dies_at - 1
    go_round(build, 1, Stages(build))
    assert len(rounds_in(rounds_folder(build))) == 1


def test_a_round_that_changes_nothing_is_the_last(tmp_path: Path) -> None:
    build = opened(tmp_path)
    run = Stages(build, news=False)
    assert go_round(build, 5, run) == "round 1 refused nothing new: training has no more to say"
    assert len(run.calls) == 2


def test_a_stage_that_fails_ends_it(tmp_path: Path) -> None:
    build = opened(tmp_path)
    with pytest.raises(typer.Exit) as ended:
        go_round(build, 1, Stages(build, code=3))
    assert ended.value.exit_code == 3
    assert rounds_in(rounds_folder(build)) == []


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"train": {}}, r"configs/tiny.yaml: train.signals is off.*: set it to true"),
        ({"filter": {}}, r"no rule of filter.label_value is on.*set filter.label_value.min_ag"),
    ],
)
def test_a_configuration_without_a_loop(
    tmp_path: Path, sections: dict[str, Any], line: str
) -> None:
    build = opened(tmp_path, **sections)
    with pytest.raises(ValueError, match=line):
        go_round(build, 1, Stages(build))


def test_dvc_is_told_where_it_tracks_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = opened(tmp_path)
    monkeypatch.chdir(build.root)
    assert dvc_hint(build) == ""
    Path("dvc.yaml").write_text("stages: {}\n")
    assert dvc_hint(build).startswith("`dvc commit -f filter prototypes shards train evaluate`")
    Path("params.yaml").write_text("build: other\n")
    assert dvc_hint(build) == ""


def records(project: Path) -> dict[str, Record]:
    folder = project / "datasets/tiny/filter"
    parts = read_manifest(folder).parts
    found = [one for part in parts for one in read_records(folder / f"{part.shard.name}.parquet")]
    return {one.key: one for one in found}


def test_the_stage_hears_each_new_round(tmp_path: Path) -> None:
    """Round 1 speaks against one name; round 2 against another, and has no word on the first."""
    project = make_project(tmp_path / "project", COCO, LOOP)
    write_pictures(project)
    assert run_cli(project, "data", "build", "--until", "filter").code == 0
    first, second = records(project)["train-p0"], records(project)["train-p1"]
    assert all(one.regions[0].kept for one in (first, second))
    folder = project / "datasets/label_value" / "tiny"
    heard = [
        (first.key, 0, first.regions[0].names[0], 5, None, -0.5),
        (second.key, 0, second.regions[0].names[0], 5, None, 0.5),
    ]
    for rows, refused in ((heard, 1), ([(*heard[1][:5], -0.1)], 2)):
        take_round(write_signals(tmp_path, *rows), folder, {})
        assert run_cli(project, "data", "build", "filter").code == 0
        told = records(project)
        assert told[first.key].regions[0].refusal == CONTRADICTED
        assert (told[second.key].regions[0].refusal == CONTRADICTED) == (refused == 2)
        metrics = json.loads((project / "datasets/tiny/metrics/filter.json").read_text())["filter"]
        assert metrics["refused.contradicted_by_training"] == refused
        assert metrics["training.unheard"] == metrics["kept"] + refused - 2
        assert metrics["training"] == {"precision": 0.0, "recall": None}
    (folder / "round-2.parquet").write_bytes(b"other")
    ended = run_cli(project, "data", "build", "filter")
    assert (ended.code, "round-2.parquet is missing or not what" in ended.err) == (1, True)


@pytest.mark.slow
def test_a_whole_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real stages, on six scenes: what training refuses is no name of the next training."""
    training = {"steps": 4, "checkpoint_every": 2, "threads": 1, "warmup": {"steps": 1}}
    rules = {"min_agreement": 1.0, "min_seen": 1, "max_share": 0.5}
    sections = {
        "describe": {"planted_error_share": 0.5},
        "filter": {"min_margin": None, "label_value": rules},
        "train": {**training, "signals": True},
        "loader": {"batch_size": 2, "shortest_edges": [64], "evaluation_edge": 64},
        "detector": TINY_DETECTOR.model_dump(mode="json", exclude_unset=True),
        "namer": {**TINY_NAMER.model_dump(mode="json", exclude_unset=True), "prompt_width": 16},
    }
    build = Build.open(root=make_project(tmp_path / "project", SCENES, sections))
    monkeypatch.chdir(build.root)
    before = list(sys.path)
    try:
        go_round(build, 1, partial(run_programs, build="", actors=0))
    finally:
        sys.path[:] = before
    [taken] = rounds_in(rounds_folder(build))
    heard = {(row["key"], row["region"]) for row in pq.read_table(taken.signals).to_pylist()}
    assert heard
    told = records(build.root)
    refused = {
        (key, place)
        for key, record in told.items()
        for place, region in enumerate(record.regions)
        if region.refusal == CONTRADICTED
    }
    assert refused
    assert refused <= heard
    left = pq.read_table(build.stage_folder("train") / "signals.parquet").to_pylist()
    assert refused.isdisjoint((row["key"], row["region"]) for row in left)
