"""The stage `train` under torchrun: rank 0 goes through the build, the others help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import project_world
import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

CONFIG = """
namer: {t5: tiny, head: full, prompt_width: 64, beams: 1, tiny_width: 32, tiny_layers: 1}
detector:
  backbone: {name: tiny, tiny_channels: [8, 16, 16, 16]}
  width: 32
  encoder_layers: 1
  cross_layers: 1
  self_layers: 1
  heads: 4
  points: 2
  feedforward: 32
  queries: 12
  queries_min: 3
  denoising_pairs: 4
  distiller_hidden: 32
loader: {batch_size: 4, shortest_edges: [32], longest_edge: 64, evaluation_edge: 32, crop: 0.0}
train: {steps: 4, checkpoint_every: 2, log_every: 1, threads: 1, warmup: {steps: 2}}
"""


def _torchrun(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "pipelines.train", "--build", "tiny"),
        ],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
    )


def test_a_build_trained_by_torchrun(tmp_path: Path) -> None:
    project = project_world.make_project(tmp_path)
    project_world.build(project)
    config = project / "configs" / "tiny.yaml"
    config.write_text(config.read_text() + CONFIG)
    ran = _torchrun(project)
    assert ran.returncode == 0, ran.stderr
    trained = project / "datasets" / "tiny" / "train"
    metrics = json.loads((project / "datasets/tiny/metrics/train.json").read_text())["train"]
    assert metrics["images"] == 4 * 4 * 2
    weights = load_file(trained / "model" / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    before = (trained / "model" / "model.safetensors").stat().st_mtime_ns
    again = _torchrun(project)  # rank 0 finds that there is nothing to do and tells the other
    assert again.returncode == 0, again.stderr
    assert (trained / "model" / "model.safetensors").stat().st_mtime_ns == before
    config.write_text(config.read_text().replace("train: {", "train: {workers: 3, "))
    other = _torchrun(project)
    assert other.returncode != 0
    assert "train.workers asks for 3 processes and torchrun has started 2: start" in other.stderr
