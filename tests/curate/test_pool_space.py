"""Mean cosines of things with themselves and with the others, by hand."""

import numpy as np
import pytest

from opendet.curate.pool_space import Nearness, nearness


def test_cosines_with_itself_and_with_the_others() -> None:
    """(1, 0) and (0, 1) against (0.6, 0.8) and (0, 1): own 0.6 and 1, others 0 and 0.8."""
    near = nearness(np.eye(2), np.array([(0.6, 0.8), (0, 1)]))
    assert near.own == pytest.approx(0.8)
    assert near.others == pytest.approx(0.4)


def test_what_is_near_itself_alone_agrees() -> None:
    """From 0.4 to 1 there are 0.6 to go, of which 0.4 are gone: two thirds."""
    near = Nearness(own=0.8, others=0.4)
    assert near.agrees(0.66)
    assert not near.agrees(0.67)
    assert not Nearness(own=-0.1, others=0.0).agrees(0.1)
    assert Nearness(own=1.0, others=1.0).agrees(0.25)
