"""`opendet pool`: what it prints and writes, and what a user must mend in one line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from opendet.pools.command import pool
from tests.pools.pool_world import SPOTS, Spot, write

HEAVY = ("torch", "transformers", "ray", "pyarrow", "numpy", "sklearn", "jinja2", "pydantic")


def run(*arguments: object) -> str:
    """What it printed; raises what a user must mend, as `opendet` does before it prints it."""
    ended = CliRunner().invoke(pool, list(map(str, arguments)), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "mine", SPOTS)
    return tmp_path / "mine"


def test_the_card_is_printed_or_lies_in_a_folder(folder: Path, tmp_path: Path) -> None:
    page = run("card", folder)
    assert page.startswith("# Prototype pool `mine`\n")
    found = json.loads(run("card", folder, "--json"))
    assert found["pool"] == "mine"
    assert "card.md" in run("card", folder, "--out", tmp_path / "card")
    assert (tmp_path / "card/card.md").read_text() == page
    assert json.loads((tmp_path / "card/card.json").read_text()) == found


def test_a_diff_is_told_as_a_table_and_as_json(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "other", (*SPOTS[:3], Spot("hat", ("hat",), (0, 0.2, 0, -1), parent=1)))
    said = run("diff", folder, tmp_path / "other")
    assert "fine, lost: boot" in said
    assert "  gained: hat" in said
    found = json.loads(run("diff", folder, tmp_path / "other", "--json"))
    assert found["levels"][1]["lost_names"] == ["boot"]
    assert "are the same pool" in run("diff", folder, folder)


@pytest.mark.parametrize("ending", ["svg", "html"])
def test_a_picture_is_the_same_twice(folder: Path, tmp_path: Path, ending: str) -> None:
    pages = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.{ending}"
        assert "4 of 4 fine prototypes" in run("look", folder, "--out", out)
        pages.append(out.read_text())
    assert pages[0] == pages[1]
    assert pages[0].count("<circle") == 4
    assert ("Its health" in pages[0]) == (ending == "html")


def test_a_pool_of_files(tmp_path: Path) -> None:
    rows = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    np.savez(tmp_path / "v.npz", rows=rows, names=np.array(["cat", "Cat", "dog", "hat"]))
    said = run("build", tmp_path / "v.npz", "--out", tmp_path / "pool", "--coarse", 2)
    assert "2 coarse and 3 fine prototypes of 4 vectors" in said
    assert "| fine purity | 100.0% |" in run("card", tmp_path / "pool")
    rows[3] = np.nan
    np.savez(tmp_path / "v.npz", rows=rows, names=np.array(["cat", "Cat", "dog", "hat"]))
    said = run("build", tmp_path / "v.npz", "--out", tmp_path / "less", "--coarse", 2)
    assert "2 fine prototypes of 3 of 4 vectors, 1 left out" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("card", "nothing"), "there is no folder nothing"),
        (("card", "mine", "--names", "n.txt"), "--names are those of --vectors"),
        (("card", "mine", "--out", "file"), "file cannot be a folder"),
        (("look", "mine", "--out", "p.png"), "p.png is neither .svg nor .html"),
        (("look", "one", "--out", "p.svg"), "one has a single prototype"),
        (("diff", "mine", "one"), "4 and 2 wide"),
        (("build", "v.npy", "--out", "p"), "v.npy is missing"),
        (("build", "v.npy", "--out", "mine"), "mine is not empty"),
    ],
)
def test_what_must_be_mended_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(folder.parent)
    Path("file").touch()
    write(Path("one"), (Spot("cat", ("cat",), (1, 0)),))
    with pytest.raises(ValueError, match=said) as raised:
        run(*arguments)
    assert "\n" not in str(raised.value)


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    code = (
        "import sys, opendet.pools.command; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "[]\n", ended.stderr
