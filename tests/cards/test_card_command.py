"""`opendet data card` and `opendet model card`, as a user types them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli_world import run_cli


def test_the_card_is_printed(finished: Path) -> None:
    ended = run_cli(finished, "data", "card")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("---\npretty_name: Pictures | of <b>noise</b>\n")
    assert "shards/train-000000.tar" in ended.out
    assert run_cli(finished, "data", "card", "--build", "tiny").out == ended.out


def test_croissant_is_printed(finished: Path) -> None:
    ended = run_cli(finished, "data", "card", "--croissant", "--published", "2026-11-22")
    assert json.loads(ended.out)["datePublished"] == "2026-11-22"


def test_both_are_written_again_and_again(finished: Path, tmp_path: Path) -> None:
    ended = run_cli(finished, "data", "card", "--out", str(tmp_path / "out"))
    assert ended.out == f"{tmp_path / 'out' / 'README.md'}, {tmp_path / 'out' / 'croissant.json'}\n"
    before = (tmp_path / "out" / "croissant.json").read_bytes()
    assert run_cli(finished, "data", "card", "--out", str(tmp_path / "out")).code == 0
    assert (tmp_path / "out" / "croissant.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--out", "x", "--croissant"], "--croissant prints, and --out writes both files"),
        (["--published", "tomorrow"], "--published tomorrow is no date: write it as 2026-01-31"),
        (["--published", "2026-13-41"], "--published 2026-13-41 is no date"),
        (["--out", "params.yaml"], "params.yaml cannot be a folder, params.yaml is none"),
        (["--build", "other"], "configs/other.yaml is missing"),
    ],
)
def test_a_mistake_is_one_line(finished: Path, arguments: list[str], line: str) -> None:
    ended = run_cli(finished, "data", "card", *arguments)
    assert ended.code == 1
    assert line in ended.line


@pytest.mark.parametrize("group", [["data", "card"], ["model", "card", "nowhere"]])
@pytest.mark.parametrize("mine", ["# Mine\n", "---\ntitle: Mine\n---\n- open-det\n"])
def test_a_page_that_a_person_wrote_is_not_lost(
    finished: Path, tmp_path: Path, group: list[str], mine: str
) -> None:
    page = tmp_path / "README.md"
    page.write_text(mine)
    ended = run_cli(finished, *group, "--out", str(tmp_path))
    assert ended.code == 1
    assert "README.md was written by hand: name another folder" in ended.line
    assert page.read_text() == mine
    assert list(tmp_path.iterdir()) == [page]


def test_before_there_are_shards_no_other_file_is_taken_for_the_data(project: Path) -> None:
    shutil.rmtree(project / "datasets" / "tiny" / "shards")
    (project / "out").mkdir()
    (project / "out" / "mine.txt").write_text("mine")
    assert run_cli(project, "data", "card", "--out", "out").code == 0
    assert "mine.txt" not in (project / "out" / "README.md").read_text()
    assert json.loads((project / "out" / "croissant.json").read_text())["distribution"] == []


def test_damage_is_one_line(project: Path) -> None:
    part = project / "datasets" / "tiny" / "filter" / "train-000001.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    ended = run_cli(project, "data", "card", "--out", "card")
    assert ended.code == 1
    assert "train-000001.parquet" in ended.line
    assert not (project / "card").exists()


def test_a_folder_without_a_model_is_one_line(finished: Path) -> None:
    ended = run_cli(finished, "model", "card", "datasets")
    assert ended.code == 1
    assert ended.line == "datasets holds no model (config.json is missing): train one first"
