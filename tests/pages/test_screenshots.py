"""The documentation's pictures are drawn by a command."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from opendet.pages.screenshots import SHOTS, make_screenshots
from tests.pages.page_world import shards


def test_no_browser_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match="no chromium to draw with: apt-get install chromium"):
        make_screenshots(tmp_path, tmp_path)


def test_the_documents_have_them() -> None:
    docs = Path(__file__).parents[2] / "docs"
    for shot in SHOTS:
        content = (docs / shot.name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 400_000


@pytest.mark.slow
def test_draws_them_all(tmp_path: Path) -> None:
    """In a process of its own: Playwright runs once in a process."""
    pytest.importorskip("playwright", reason="no playwright: pip install playwright")
    if shutil.which("chromium") is None:
        pytest.skip("no chromium: apt-get install chromium")
    for stage in ("shards", "embed"):
        shards(tmp_path / "build" / stage)
    (tmp_path / "docs").mkdir()
    command = [sys.executable, "-m", "opendet.pages.screenshots"]
    subprocess.run([*command, str(tmp_path / "build"), str(tmp_path / "docs")], check=True)
    drawn = {path.name for path in (tmp_path / "docs").iterdir()}
    assert drawn == {shot.name for shot in SHOTS}
