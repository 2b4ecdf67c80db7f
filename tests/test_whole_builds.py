"""The configurations that ship keep what the documents say of them: from images to a report."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project_world import ROOT, make_project

pytestmark = pytest.mark.slow

STAGES = (
    "source caption regions describe clip embed verify filter prototypes shards "
    "train evaluate report"
)
RUN = """
import sys
from opendet.programs import run_programs
sys.exit(run_programs(sys.argv[2].split(), sys.argv[1], None))
"""


def whole_build(folder: Path, build: str) -> dict[str, dict[str, Any]]:
    """Run every stage of a shipped configuration in a project of its own; the metrics."""
    project = make_project(folder)
    (project / "datasets" / build).mkdir()
    shutil.copy(ROOT / "configs" / f"{build}.yaml", project / "configs")
    shutil.copy(ROOT / "datasets" / build / "source.yaml", project / "datasets" / build)
    subprocess.run(
        [sys.executable, "-c", RUN, build, STAGES],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "2"},
        check=True,
    )
    assert (project / "datasets" / build / "report" / "report.html").stat().st_size > 100_000
    metrics: dict[str, dict[str, Any]] = {}
    for path in (project / "datasets" / build / "metrics").glob("*.json"):
        metrics |= json.loads(path.read_text())
    return metrics


def test_demo(tmp_path: Path) -> None:
    metrics = whole_build(tmp_path, "demo")
    assert metrics["filter"]["precision"] >= 0.90
    assert metrics["filter"]["recall"] >= 0.85
    assert metrics["evaluate"]["agnostic_ap50"] >= 0.85
    assert metrics["evaluate"]["named_ap50"]["trained"] >= 0.30


def test_scenes_deco(tmp_path: Path) -> None:
    """Names by prototypes: no language model at all, and the report shows the pool."""
    metrics = whole_build(tmp_path, "scenes_deco")
    assert metrics["train"]["last"].keys() >= {"deco_kl", "deco_align"}
    assert metrics["train"]["last"].keys().isdisjoint({"naming", "caption"})
    assert metrics["evaluate"]["agnostic_ap50"] >= 0.60
    assert metrics["evaluate"]["named_ap50"]["trained"] >= 0.25
    page = (tmp_path / "datasets" / "scenes_deco" / "report" / "report.html").read_text()
    assert "fine prototypes, laid out so that those alike lie side by side" in page


def test_scenes_llmdet(tmp_path: Path) -> None:
    """Captions of images and regions as lessons, and no language model beside the exported one."""
    metrics = whole_build(tmp_path, "scenes_llmdet")
    assert metrics["train"]["last"].keys() >= {"image_caption", "region_phrase"}
    assert metrics["evaluate"]["agnostic_ap50"] >= 0.75
    assert metrics["evaluate"]["named_ap50"]["trained"] >= 0.55


def test_coco_tiny(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENDET_SHARED_DATA", str(shared_data.resolve()))
    metrics = whole_build(tmp_path, "coco_tiny")
    assert metrics["source"]["images_in"] == 100
    assert metrics["shards"]["images_out"] == 100
    assert metrics["shards"]["regions"] == 852
    assert metrics["evaluate"]["images"] == 50
    assert metrics["evaluate"]["agnostic_ap50"] >= 0.80


def test_bccd(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENDET_SHARED_DATA", str(shared_data.resolve()))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    metrics = whole_build(tmp_path, "bccd")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_minutes = (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) / 60
    assert metrics["source"]["box.degenerate"] == 2
    assert metrics["source"]["images_out"] == 364
    assert metrics["evaluate"]["agnostic_ap50"] >= 0.75
    assert metrics["evaluate"]["names"]["exact"] >= 0.90
    assert cpu_minutes <= 30
