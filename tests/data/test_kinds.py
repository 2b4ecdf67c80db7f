"""What a record's annotations are good for, by what it says itself."""

from dataclasses import replace

import pytest
import shard_world as world

from opendet.data.kinds import AnnotationKind, KindChoice, kind_of, teaches
from opendet.record import Provenance, Record

DRAWN = world.region((1, 2, 20, 30), "dog")
FOUND = replace(DRAWN, box_from=Provenance("grounding-dino", "1", score=0.4))
CROWD = replace(FOUND, crowd=True)
REFUSED = replace(FOUND, refusal="too small")


def record(*regions: object, caption: str = "a dog") -> Record:
    return replace(world.painted("k").record, regions=regions, phrases=(), caption=caption)


@pytest.mark.parametrize(
    ("record", "kind", "taught"),
    [
        (record(DRAWN), "box", True),
        (record(DRAWN, CROWD, REFUSED), "box", True),  # what is not learned from says nothing
        (record(DRAWN, FOUND), "pseudo_box", True),
        (record(FOUND, caption=""), "pseudo_box", True),
        (record(), "image", True),
        (record(REFUSED), "image", True),
        (record(caption=""), "box", False),
        (record(CROWD, caption=""), "box", False),
    ],
)
def test_a_record_tells_its_kind(record: Record, kind: AnnotationKind, taught: bool) -> None:
    assert kind_of(record, "auto") == kind
    assert teaches(record, kind) is taught


@pytest.mark.parametrize("choice", ["box", "pseudo_box", "image"])
def test_a_choice_wins(choice: KindChoice) -> None:
    assert kind_of(record(DRAWN), choice) == choice


def test_an_image_teaches_by_its_caption_alone() -> None:
    assert not teaches(record(DRAWN, caption=""), "image")
    assert not teaches(record(), "box")
