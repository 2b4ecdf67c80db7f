"""Names of the nearest prototypes: numbers by hand, one name's prototypes together."""

import math

import pytest
import torch
from torch import Tensor

from opendet.model.config import PrototypeHeadConfig
from opendet.model.prototype_head import PrototypeHead
from opendet.model.prototype_namer import PrototypeNamer
from tests.model.naming_worlds import AXES, ask, known_axes

WIDTH = 4


def head_of(names: tuple[str, ...], temperature: float = 0.5) -> PrototypeHead:
    """A head that reads a query as it is: cosines with prototypes along the axes."""
    config = PrototypeHeadConfig(temperature=temperature, residual=False, predictor_heads=1)
    head = PrototypeHead(config, WIDTH, known_axes(names))
    head.project = torch.nn.Identity()  # type: ignore[assignment]
    return head


def named(namer: PrototypeNamer, queries: Tensor, count: int | None = None) -> list[list[str]]:
    return [
        [name.text for name in names] for names in namer.name_objects(ask(queries), count=count)
    ]


def test_a_name_is_as_likely_as_its_prototypes_together() -> None:
    """cos (1, 0, 0, 0) / .5 -> logits 2, 0, 0, 0: e^2 = 7.389, of 10.389 in all."""
    namer = PrototypeNamer(head_of(("cat", "dog", "cat", "cow")))
    (said,) = namer.name_objects(ask(AXES[:1]))
    assert [name.text for name in said] == ["cat", "dog", "cow"]
    whole = math.exp(2) + 3
    wanted = [(math.exp(2) + 1) / whole, 1 / whole, 1 / whole]
    assert [name.probability for name in said] == pytest.approx(wanted)
    assert sum(name.probability for name in said) == pytest.approx(1)


def test_many_weak_prototypes_outdo_a_single_strong_one() -> None:
    """Axis 3 alone has 7.389 / 10.389; at temperature 2 it has 1.649 and the three dogs 3."""
    query = AXES[3:]
    sharp = PrototypeNamer(head_of(("dog", "dog", "dog", "cat")))
    blunt = PrototypeNamer(head_of(("dog", "dog", "dog", "cat"), temperature=2.0))
    assert named(sharp, query, 1) == [["cat"]]
    assert named(blunt, query, 1) == [["dog"]]


def test_another_temperature_than_the_head_s() -> None:
    """cos (1, 0, 0, 0): logits 2, 0, 0, 0 at the head's .5, and 10, 0, 0, 0 at .1."""
    head = head_of(("a", "b", "c", "d"))
    ((own, *_),) = PrototypeNamer(head).name_objects(ask(AXES[:1]))
    ((sharp, *_),) = PrototypeNamer(head, temperature=0.1).name_objects(ask(AXES[:1]))
    assert own.probability == pytest.approx(math.exp(2) / (math.exp(2) + 3))
    assert sharp.probability == pytest.approx(math.exp(10) / (math.exp(10) + 3))


def test_each_object_has_its_own_names_and_as_many_as_asked() -> None:
    namer = PrototypeNamer(head_of(("a", "b", "c", "d")))
    assert [names[0] for names in named(namer, AXES)] == ["a", "b", "c", "d"]
    assert [len(names) for names in named(namer, AXES)] == [3] * 4
    assert [len(names) for names in named(namer, AXES, 9)] == [4] * 4
    assert namer.name_objects(ask(AXES[:0])) == []


def test_only_the_names_that_are_meant() -> None:
    """They share what is likely: of dog and cow, at 0 both, half each; the cat may not be said."""
    namer = PrototypeNamer(head_of(("cat", "dog", "cat", "cow")), only=("cow", "dog"))
    (said,) = namer.name_objects(ask(AXES[:1]))
    assert [name.text for name in said] == ["cow", "dog"]
    assert [name.probability for name in said] == pytest.approx([0.5, 0.5])


def test_a_name_that_the_pool_lacks() -> None:
    with pytest.raises(ValueError, match=r"'zebra', 'emu' \(2 of 3 are missing\)") as error:
        PrototypeNamer(head_of(("cat", "dog", "cat", "cow")), only=("zebra", "cat", "emu"))
    assert "\n" not in str(error.value)
