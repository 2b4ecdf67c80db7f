"""The doctor finds what is missing, and tells no secret."""

import shutil
from pathlib import Path

import pytest

from opendet.inspect import doctor
from opendet.inspect.doctor import (
    check_disk,
    check_nltk,
    check_package,
    check_project,
    check_shadowing,
)
from tests.cli_world import COCO, SCENES, make_project, run_cli, write_card


def test_a_healthy_project(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", SCENES)
    ended = run_cli(project, "doctor")
    assert ended.code == 0, ended.out
    for said in ("Python", "torch", "ray", "dvc", "6 scenes, drawn here", "GB free"):
        assert said in ended.out


def test_missing_data_fails_without_telling_where_a_variable_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project", {**COCO, "root": "${SOME_TOKEN}/pictures"})
    unset = check_project(project)[-1]
    assert unset.fails
    assert "SOME_TOKEN: set it" in unset.said
    monkeypatch.setenv("SOME_TOKEN", "hf_secret")
    ended = run_cli(project, "doctor")
    assert ended.code == 1
    assert "MISSING" in ended.out
    assert "${SOME_TOKEN}/pictures is missing" in ended.out
    assert "hf_secret" not in ended.out + ended.err


def test_a_broken_project(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", SCENES, {"fliter": {}})
    (check,) = check_project(project)
    assert check.fails
    assert "did you mean filter?" in check.said
    write_card(project, {**SCENES, "batches": []})
    assert check_project(project)[0].fails
    none = check_project(tmp_path)[0]
    assert not none.well
    assert not none.fails, "a model can be asked anywhere"


def test_nltk_is_needed_where_the_config_says_so(tmp_path: Path) -> None:
    config = {"regions": {"tagger": "nltk", "nltk_folder": str(tmp_path / "nowhere")}}
    project = make_project(tmp_path / "project", SCENES, config)
    (check,) = [check for check in check_project(project) if check.name == "nltk data"]
    assert check.fails
    assert "no folder" in check.said
    assert not check_nltk(tmp_path / "nowhere").fails


def test_python_in_datasets_hides_the_library(tmp_path: Path) -> None:
    assert check_shadowing(tmp_path).well
    (tmp_path / "datasets/tiny").mkdir(parents=True)
    assert check_shadowing(tmp_path).well
    (tmp_path / "datasets/__init__.py").write_text("")
    assert check_shadowing(tmp_path).fails


def test_packages_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_package("no-such-package-anywhere").fails
    assert not check_package("no-such-package-anywhere", needed=False).fails
    assert check_package("pydantic").well
    monkeypatch.setattr(doctor, "NEEDED_FREE", 2.0 * shutil.disk_usage(tmp_path).total)
    assert check_disk(tmp_path).fails
