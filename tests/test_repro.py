"""`dvc repro` redoes what changed, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project_world import DATA_STAGES, make_project

from opendet.manifest import read_manifest

BIN = Path(sys.executable).parent
AFTER_FILTER = {"filter", "prototypes", "shards"}


class Project:
    """A project under DVC, and what its last repro ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_project(folder)
        self.data = self.folder / "datasets" / "tiny"
        self._dvc("init", "--no-scm", "-q")

    def repro(self) -> set[str]:
        """Build up to the shards and the pool; the stages whose command ran."""
        text = self._dvc("repro", "shards", "prototypes")
        return {stage for stage in DATA_STAGES if f"Running stage '{stage}'" in text}

    def metrics(self, stage: str) -> dict[str, Any]:
        metrics: dict[str, Any] = json.loads((self.data / "metrics" / f"{stage}.json").read_text())
        return metrics[stage]

    def stamps(self) -> dict[str, int]:
        """When each published data file was written."""
        return {
            path.relative_to(self.data).as_posix(): path.stat().st_mtime_ns
            for path in self.data.rglob("*.parquet")
        }

    def _dvc(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
        }
        ran = subprocess.run(
            [BIN / "dvc", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    assert project.repro() == set(DATA_STAGES)
    return project


def test_repro_again_does_nothing(project: Project) -> None:
    assert project.repro() == set()


def test_a_changed_threshold_redoes_the_filter_and_what_follows(project: Project) -> None:
    before = project.metrics("filter")
    config = project.folder / "configs" / "tiny.yaml"
    text = config.read_text()
    config.write_text(text.replace("min_margin: -0.5", "min_margin: 0.0"))
    assert project.repro() == AFTER_FILTER
    now = project.metrics("filter")
    assert now["refused.disagrees"] > before.get("refused.disagrees", 0)
    assert project.metrics("prototypes")["vectors"] == now["kept"], "an old pool was taken"
    # And back: DVC's run cache knows the answer.
    config.write_text(text)
    assert project.repro() <= AFTER_FILTER
    assert project.metrics("filter")["kept"] == before["kept"]
    assert project.metrics("prototypes")["vectors"] == before["kept"]
    assert project.repro() == set()


def test_a_new_batch_redoes_its_own_shards_only(project: Project) -> None:
    old = {stage: read_manifest(project.data / stage) for stage in DATA_STAGES}
    card = project.data / "source.yaml"
    card.write_text(card.read_text() + "  - {name: more, split: train, count: 9}\n")
    assert "source" in project.repro()
    for stage in DATA_STAGES:
        now = read_manifest(project.data / stage)
        if stage == "clip":
            assert now == old["clip"], "the founding batch's model must stay"
        elif stage != "prototypes":
            assert project.metrics(stage)["shards_made"] == 1, stage
            assert [part for part in now.parts if part.shard.batch != "more"] == list(
                old[stage].parts
            )
            assert [part.shard.name for part in now.parts if part.shard.batch == "more"] == [
                "more-000000"
            ]
