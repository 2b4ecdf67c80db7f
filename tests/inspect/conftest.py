"""One small finished build, made once by the real stages; tests copy it before they harm it."""

import shutil
from pathlib import Path

import pytest

from tests.cli_world import COCO, make_project, run_cli, write_pictures


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose build has all data stages; not to be changed."""
    root = make_project(tmp_path_factory.mktemp("inspect") / "project", COCO)
    write_pictures(root)
    (root / "pictures" / "notes.txt").write_text("listed nowhere")
    ended = run_cli(root, "data", "build")
    assert ended.code == 0, ended.err
    return root


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished build."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
