"""Actors that wait between the stages of one Ray: which serve the next stage, and which go."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import flow_world as world
import pytest
import ray

from opendet.flow import run
from opendet.ray_session import one_ray, ray_session
from opendet.record import Record
from opendet.sample import Sample
from opendet.stage import Stage
from opendet.work import WorkFolder


@dataclass(frozen=True)
class Teller:
    """Says in which process it is, and of which stage."""

    stage: str

    def __call__(self, samples: Sequence[Sample]) -> list[Record]:
        return [replace(one.record, caption=f"{self.stage} {os.getpid()}") for one in samples]


@pytest.fixture(scope="module")
def one_ray_of_two() -> Iterator[None]:
    with one_ray(), ray_session(2, keep_actors=True):
        yield


def test_the_next_stage_is_done_by_the_same_processes(tmp_path: Path, one_ray_of_two: None) -> None:
    first = _ran("first", tmp_path)
    assert _ran("second", tmp_path) <= first


def test_one_that_died_while_it_waited_is_replaced(tmp_path: Path, one_ray_of_two: None) -> None:
    gone = _ran("first", tmp_path).pop()
    os.kill(gone, signal.SIGKILL)
    assert gone not in _ran("second", tmp_path)


def test_they_make_room_for_another_use(tmp_path: Path, one_ray_of_two: None) -> None:
    """They have booked every CPU of the Ray: what asks for both would wait for ever."""
    _ran("first", tmp_path)
    with ray_session(2):
        ready, _ = ray.wait([ray.remote(num_cpus=2)(_nothing).remote()], timeout=60)
    assert ready


def _ran(name: str, folder: Path) -> set[int]:
    """Run a stage; the processes that did."""
    stage: Stage[Sample, Record] = replace(
        world.stage(), name=name, load=partial(Teller, name), tally=None
    )
    work = WorkFolder(folder / name)
    ran = run(stage, world.tasks(4), work, actors=2)
    said = [
        one.caption.split()
        for part in ran.manifest.parts
        for one in world.reread(work.part_folder(part.shard.name, part.files), part.shard.name)
    ]
    assert {stage for stage, _ in said} == {name}
    return {int(pid) for _, pid in said}


def _nothing() -> None:
    """What asks for a place."""
