"""The pages of promises name the test of each: every one of them is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("SECURITY.md", "docs/reliability.md")
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@cache
def defined_in(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def named_in(text: str) -> list[tuple[str, str]]:
    return NAMED.findall(text)


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    named = named_in((ROOT / page).read_text(encoding="utf-8"))
    assert len(named) > 10
    for file, test in named:
        assert (ROOT / file).is_file(), file
        assert not test or test in defined_in(ROOT / file), f"{file}::{test}"


@pytest.mark.parametrize("page", PAGES)
def test_no_test_is_named_in_another_form(page: str) -> None:
    """Else the test above would pass it over."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert len(re.findall(r"tests/[\w/]+\.py", text)) == len(named_in(text))


def test_every_threat_has_a_test() -> None:
    table = (ROOT / "SECURITY.md").read_text(encoding="utf-8").split("## Threats")[1]
    rows = [line for line in table.split("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        assert named_in(row.rsplit("|", 2)[1]), row


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", "docs/guides/platform.md"])
def test_it_is_said_that_dvc_runs_what_a_repository_says(page: str) -> None:
    """Nothing else stands between a reader and the commands of somebody's `dvc.yaml`."""
    said = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert re.search(r"`dvc repro` runs the commands of a repository", said)
