"""The second namer is asked about what the first one is unsure of, and about nothing else."""

import math

import torch

from opendet.model.cascade_namer import CascadeNamer
from opendet.model.naming import Objects, ScoredName
from tests.model.naming_worlds import ask

SURE = torch.tensor([[0.875], [0.5], [0.625], [0.25]])


class First:
    """Is as sure of an object as its query says."""

    def name_objects(self, objects: Objects, *, count: int | None = None) -> list[list[ScoredName]]:
        return [[ScoredName("near", math.log(sure))] for sure in objects.vectors[:, 0].tolist()]


class Then:
    """Writes a name for each, and keeps which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.counts: list[int | None] = []

    def name_objects(self, objects: Objects, *, count: int | None = None) -> list[list[ScoredName]]:
        self.asked.append(objects.queries.tolist())
        self.counts.append(count)
        return [[ScoredName(f"written {query}", -0.5)] for query in objects.queries.tolist()]


def said(unsure_below: float, then: Then) -> list[str]:
    namer = CascadeNamer(First(), then, unsure_below=unsure_below)
    return [names[0].text for names in namer.name_objects(ask(SURE), count=2)]


def test_what_is_at_most_so_likely_is_written() -> None:
    then = Then()
    assert said(0.5, then) == ["near", "written 1", "near", "written 3"]
    assert then.asked == [[1, 3]]
    assert then.counts == [2]


def test_at_the_ends_one_namer_names_all() -> None:
    never, always = Then(), Then()
    assert said(0.0, never) == ["near"] * 4
    assert never.asked == [], "no time is spent where nothing is unsure"
    assert said(1.0, always) == [f"written {place}" for place in range(4)]


def test_prompts_are_read_for_what_is_left_over_alone() -> None:
    """Those of others cost time, and nobody looks at them."""
    read: list[list[int]] = []

    class Detector:
        def prompt(self, output: object, images: object, queries: torch.Tensor) -> torch.Tensor:
            read.append(queries.tolist())
            return torch.zeros(len(queries), 4)

    class Reads(Then):
        def name_objects(
            self, objects: Objects, *, count: int | None = None
        ) -> list[list[ScoredName]]:
            assert len(objects.prompts) == len(objects)
            return super().name_objects(objects, count=count)

    namer = CascadeNamer(First(), Reads(), unsure_below=0.5)
    namer.name_objects(ask(SURE, detector=Detector()))
    assert read == [[1, 3]]
