"""The verifier against the source's truth."""

from dataclasses import replace
from math import isnan

import pytest

from opendet.evaluation.verdict_quality import Verdicts, verdict_quality
from opendet.record import BoxXYXY, Provenance, Region
from tests.annotated_world import CAT, DOG, FLOCK, found, known, record

LOOSE: BoxXYXY = (10, 20, 50, 60)
"""IoU with CAT: 0.6."""
FAR: BoxXYXY = (100, 0, 110, 9)


def name_said(region: Region, belief: float | None) -> Region:
    return replace(region, name_checked=Provenance("verifier", score=belief))


def box_said(region: Region, belief: float) -> Region:
    return replace(region, box_checked=Provenance("verifier", score=belief))


TRUTH = (known(CAT, "cat", "kitty"), known(DOG, "dog"), known(FLOCK, "sheep", crowd=True))


def test_names_worked_by_hand() -> None:
    """Right and accepted, right and refused, wrong and accepted, wrong and refused twice."""
    said = [
        name_said(found(LOOSE, "Kitty"), 0.9),
        name_said(found((0, 70, 20, 90), "sheep"), 0.2),
        name_said(found(DOG, "cat"), 0.5),
        name_said(found(FAR, "cat"), 0.4),
        name_said(found(CAT, "dog"), 0.1),
    ]
    quality = verdict_quality([record(*TRUTH, *said)], 0.5).names
    assert quality is not None
    assert (quality.judged, quality.right, quality.accepted) == (5, 2, 2)
    assert (quality.precision, quality.recall) == (0.5, 0.5)
    assert quality.caught == pytest.approx(2 / 3)
    stricter = verdict_quality([record(*TRUTH, *said)], 0.6).names
    assert stricter is not None
    assert (stricter.precision, stricter.recall, stricter.caught) == (1, 0.5, 1)


def test_names_of_the_sources_own_boxes() -> None:
    """As where errors were planted in them."""
    right, wrong = known(CAT, "cat", names="cat"), known(DOG, "dog", names="cat")
    unlabelled = known(FAR, None, names="cow")
    regions = [name_said(one, 0.9) for one in (right, wrong, unlabelled)]
    quality = verdict_quality([record(*regions)], 0.5).names
    assert quality is not None
    assert (quality.judged, quality.right, quality.accepted) == (2, 1, 2)


def test_boxes_worked_by_hand() -> None:
    said = [
        box_said(found((10, 10, 50, 49), "cat"), 0.8),
        box_said(found(LOOSE, "cat"), 0.7),
        box_said(found(FAR, "cat"), 0.1),
        box_said(found((0, 70, 20, 90), "sheep"), 0.9),
        box_said(known(DOG, "dog"), 0.9),
    ]
    verdicts = verdict_quality([record(*TRUTH, *said)], 0.5)
    assert verdicts.names is None
    quality = verdicts.boxes
    assert quality is not None
    assert (quality.judged, quality.right, quality.accepted) == (3, 1, 2), "no crowd, no truth"
    assert (quality.precision, quality.recall, quality.caught) == (0.5, 1, 0.5)


def test_what_nobody_can_say_is_left_out() -> None:
    unnamed = name_said(found(CAT), 0.9)
    unsaid = name_said(found(CAT, "cat"), None)
    on_unlabelled = name_said(found(FAR, "cow"), 0.9)
    truth = (*TRUTH, known(FAR, None))
    assert verdict_quality([record(*truth, unnamed, unsaid, on_unlabelled)], 0.5).names is None
    assert verdict_quality([record(name_said(found(CAT, "cat"), 1))], 0.5) == Verdicts(None, None)
    assert not verdict_quality([], 0.5)


def test_nothing_wrong_and_nothing_accepted() -> None:
    quality = verdict_quality([record(*TRUTH, name_said(found(CAT, "cat"), 0.1))], 0.5).names
    assert quality is not None
    assert isnan(quality.precision)
    assert isnan(quality.caught)
    assert quality.recall == 0
