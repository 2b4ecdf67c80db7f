"""One small finished build, made once by the real stages; tests copy it before they harm it."""

import shutil
from pathlib import Path

import pytest

from tests.cards.card_world import build_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose build has all data stages; not to be changed."""
    return build_project(tmp_path_factory.mktemp("cards") / "project")


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished build."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
