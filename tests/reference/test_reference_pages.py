"""The pages of docs/reference/: never stale, and no key, field or command is left out."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel

from opendet.config import Config
from opendet.record import Record, Region
from opendet.reference.__main__ import FOLDER, main, pages, stale_pages
from opendet.reference.command_pages import commands
from opendet.reference.markdown_text import anchor
from opendet.reference.record_pages import arrow_text, json_example
from opendet.reference.section_pages import headings_of
from opendet.schema import RECORD_SCHEMA, record_from_json
from opendet.sources.card import SourceCard

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return dict(pages())


def section(page: str, heading: str) -> str:
    """The text below a heading of whatever level, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def rows(text: str) -> dict[str, str]:
    """First cell, without its code marks -> the whole row, of a table."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line for line in lines}


def test_the_pages_in_git_are_what_the_code_says() -> None:
    assert stale_pages(ROOT) == [], "run `python -m opendet.reference`"


def test_pages_fit_github(written: dict[str, str]) -> None:
    for name, text in written.items():
        assert len(text.encode()) < 500_000, name
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = [anchor(heading) for heading in headings]
        assert len(anchors) == len(set(anchors)), name
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(anchors), name
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(cells) == 1, f"{name}: a pipe breaks the table {block.splitlines()[2]}"


def test_files_named_are_there(written: dict[str, str]) -> None:
    named = re.compile(r"\b(?:configs|docs|opendet|pipelines|spec|tests)/[\w/]+\.\w+")
    for name, text in written.items():
        for path in named.findall(text):
            blank = Path(path).stem.isupper()  # configs/NAME.yaml
            assert blank or (ROOT / path).exists(), f"{name}: no file {path}"


@pytest.mark.parametrize(("page", "root"), [("config.md", Config), ("source.md", SourceCard)])
def test_every_key_is_there_with_its_docstring(
    written: dict[str, str], page: str, root: type[BaseModel]
) -> None:
    for found, heading in headings_of(root).items():
        told = rows(section(written[page], heading))
        assert list(told) == list(found.model_fields), heading
        for key, field in found.model_fields.items():
            words = (field.description or "").replace("`", " ").split()
            assert set(words[:4]) <= set(told[key].replace("`", " ").split()), (heading, key)


def test_rows_worked_by_hand(written: dict[str, str]) -> None:
    config = written["config.md"]
    assert rows(section(config, "train"))["steps"] == (
        "| `steps` | whole number, ≥ 1 | `600` | Optimizer steps, after the namer's warm-up. |"
    )
    assert '| `step`, `cosine`, `none` | `"step"` |' in rows(section(config, "train"))["decay"]
    assert "| [train.lora](#trainlora) |  |" in rows(section(config, "train"))["lora"]
    grids = rows(section(config, "objective.llmdet"))["grids"]
    assert "keys: whole number > 0; values: whole number > 0, at least 1 long" in grids
    assert "| **required** |" in rows(section(written["source.md"], "batches"))["split"]
    detect = rows(section(written["commands.md"], "opendet detect"))
    assert "| number ≥ 0 ≤ 1 |" in detect["--min-score"]
    assert "| a switch |" in detect["--json"]


def test_the_defaults_shown_are_a_configuration_that_loads(written: dict[str, str]) -> None:
    """A row of the page, written into YAML, is what the class has."""
    row = rows(section(written["config.md"], "filter"))
    shown = {key: line.split(" | ")[2].strip("` ") for key, line in row.items()}
    values = {key: json.loads(text) for key, text in shown.items() if text and "…" not in text}
    assert len(values) > 10
    assert Config.model_validate({"filter": values}).filter == Config().filter


def test_every_field_of_the_record_is_there(written: dict[str, str]) -> None:
    page = written["record.md"]
    for owner in (Record, Region):
        told = rows(section(page, owner.__name__))
        assert list(told) == [field.name for field in fields(owner)]
    assert "[-1, 1]" in rows(section(page, "Region"))["agreement"]
    top = [line.split(":")[0] for line in arrow_text().splitlines() if not line.startswith(" ")]
    assert top == RECORD_SCHEMA.names
    assert record_from_json(json_example()).regions[0].names == ("brown dog", "dog")


def test_every_command_is_there(written: dict[str, str]) -> None:
    names = [name for name, _ in commands()]
    assert "opendet data build" in names
    assert "opendet pool card" in names
    headings = re.findall(r"^## (.+)$", written["commands.md"], re.MULTILINE)
    assert headings == names


def test_stale_pages_are_named_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert "has no docs/" in capsys.readouterr().err
    (tmp_path / "docs").mkdir()
    assert main([]) == 0
    assert main(["--check"]) == 0
    page = tmp_path / FOLDER / "config.md"
    page.write_text(page.read_text() + "\n")
    assert main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("docs/reference/config.md is not what the code says")
    assert page.read_text().endswith("\n\n"), "--check wrote"
