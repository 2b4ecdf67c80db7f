"""A share of a GPU: what Ray only books, torch is told to keep to."""

from dataclasses import replace
from pathlib import Path

import flow_world as world
import pytest
import torch

from opendet.actors import ShardActor
from opendet.work import WorkFolder


@pytest.mark.parametrize(
    ("gpus", "capped"), [(0.0, None), (0.25, 0.25), (0.5, 0.5), (1.0, None), (2.0, None)]
)
def test_an_actor_is_held_to_its_share_before_it_loads(
    gpus: float, capped: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole GPUs are its own: there is nothing to hold it to."""
    steps: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: steps.append(share)
    )

    def load() -> world.Captioner:
        steps.append("loads")
        return world.Captioner()

    stage = replace(world.stage(), gpus=gpus, load=load)
    actor = ShardActor(stage, WorkFolder(tmp_path))
    for task in world.tasks(2):
        actor.make(task, {})
    assert steps == [*([] if capped is None else [capped]), "loads"]
