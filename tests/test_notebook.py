"""The notebook runs from its first cell to its last, offline, and is in git without its outputs."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "examples" / "first_look.ipynb"


@pytest.fixture(scope="module")
def written() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_in_git_without_outputs(written: Any) -> None:
    nbformat.validate(written)
    for cell in written.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
        assert not cell.get("attachments")
    assert NOTEBOOK.stat().st_size < 50_000


def test_it_runs_offline(written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    kernels = tmp_path / "share" / "jupyter"
    specification = kernels / "kernels" / "python3"
    specification.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    told = {"argv": command, "display_name": "Python 3", "language": "python"}
    (specification / "kernel.json").write_text(json.dumps(told))
    monkeypatch.setenv("JUPYTER_PATH", str(kernels))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PATH", os.defpath)  # the notebook finds its own commands
    ran = NotebookClient(written, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    ran.execute()
    told = "\n".join(
        str(output.get("text", "")) for cell in written.cells for output in cell.get("outputs", ())
    )
    assert "Traceback" not in told
    assert "train-000003" in told
    assert "the surest:" in told
    pictures = [
        output
        for cell in written.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2
    assert not list(tmp_path.glob("first-look-*")), "it left its project behind"
