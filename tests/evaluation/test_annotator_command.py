"""`opendet data judge`, as a user calls it."""

import json
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from opendet.evaluation.annotator_command import judge_annotated
from opendet.record import Provenance
from tests.annotated_world import CAT, DOG, found, known, publish, record
from tests.cli_world import SCENES, make_project

TRUTH = (known(CAT, "cat"), known(DOG, "dog"))
APP = typer.Typer()
APP.command()(judge_annotated)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", SCENES)


def judge(project: Path, *arguments: str) -> Any:
    with chdir(project):
        return CliRunner().invoke(APP, [*arguments])


def error_of(project: Path, *arguments: str) -> str:
    ended = judge(project, *arguments)
    assert isinstance(ended.exception, ValueError), ended.output
    assert "\n" not in str(ended.exception)
    return str(ended.exception)


def folder_of(project: Path, stage: str = "regions") -> Path:
    return project / "datasets" / "tiny" / stage


def test_a_table_and_json(project: Path) -> None:
    checked = replace(found(CAT, "cat"), name_checked=Provenance("verifier", score=0.9))
    train = record(found(CAT, "cat"), key="train-1", split="train")
    proposer = found(DOG, by="proposer")
    publish(folder_of(project), [train, record(*TRUTH, checked, proposer)])
    ended = judge(project)
    assert ended.exit_code == 0, ended.output
    assert "1 images, 2 objects of the source" in ended.output
    assert "verdicts on names: 1 of 1 accepted" in ended.output
    [row] = [line.split() for line in ended.output.splitlines() if line.startswith(" eye")]
    assert row[:8] == ["eye", "1", "0.500", "0.500", "1.000", "0.500", "0.667", "1.000"]
    # half of the objects are found: 51 of COCO's 101 points of recall
    assert row[8:] == ["0.505", "1.000", "0.500", "0.667", "1.000"]

    told = json.loads(judge(project, "--json", "--min-belief", "0.95").output)
    eye, proposer_told = told["annotators"]
    assert (eye["annotator"], eye["ap50"], eye["box_recall"]) == ("eye", 0.5, 0.5)
    assert proposer_told["annotator"] == "proposer"
    assert told["verdicts"]["names"]["accepted"] == 0
    assert told["verdicts"]["names"]["precision"] is None
    assert told["verdicts"]["boxes"] is None


def test_the_filters_own_threshold(project: Path) -> None:
    config = project / "configs" / "tiny.yaml"
    told = yaml.safe_load(config.read_text())
    told["filter"]["min_name_belief"] = 0.95
    told["verify"] = {"annotator": "vision_language"}
    config.write_text(yaml.safe_dump(told))
    checked = replace(found(CAT, "cat"), name_checked=Provenance("verifier", score=0.9))
    publish(folder_of(project, "verify"), [record(*TRUTH, checked)], "verify")
    judged = json.loads(judge(project, "--json", "--stage", "verify").output)
    assert judged["verdicts"]["names"]["accepted"] == 0


def test_a_verifier_alone(project: Path) -> None:
    """The boxes are the source's, the names another's."""
    named = known(CAT, "cat", names="cow")
    checked = replace(named, name_checked=Provenance("verifier", score=0.1))
    publish(folder_of(project), [record(checked)])
    ended = judge(project)
    assert ended.exit_code == 0, ended.output
    assert "0 of 1 accepted, precision -, recall -, 1.000 of the wrong ones caught" in ended.output
    assert json.loads(judge(project, "--json").output)["annotators"] == []


def test_two_revisions_are_told_apart(project: Path) -> None:
    regions = (found(CAT, "cat", revision="r1"), found(CAT, "cat", revision="r2"))
    publish(folder_of(project), [record(*TRUTH, *regions)])
    output = judge(project).output
    assert "eye r1" in output
    assert "eye r2" in output


def test_what_cannot_be_judged_is_told_in_one_line(project: Path) -> None:
    assert "build the stage first" in error_of(project)
    assert "did you mean regions?" in error_of(project, "--stage", "region")
    assert "the stage train has no records" in error_of(project, "--stage", "train")
    publish(folder_of(project), [record(*TRUTH)])
    assert "tiny, stage regions, split val: 1 images hold boxes of their source" in error_of(
        project
    )
    assert "no split 'test'; it has val" in error_of(project, "--split", "test")
    publish(folder_of(project, "describe"), [record(found(CAT, "cat"))], "describe")
    assert "no box of their source" in error_of(project, "--stage", "describe")
