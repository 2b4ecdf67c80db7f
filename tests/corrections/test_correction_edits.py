"""What an edited file says was done, and what of it becomes of a record."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.corrections.applying import CORRECTED_AWAY, corrected
from opendet.corrections.comparing import edits_between, state_of
from opendet.corrections.edits import Edit, Seen, overlap, seen_of
from opendet.record import Region
from tests.corrections.correction_world import region
from tests.exports.export_world import record

DOG = region((2, 2, 12, 8), "dog")
CAT = region((5, 1, 15, 9), "cat")
NAMES = st.sampled_from(["dog", "cat", "red car"])


def seen(*boxed: tuple[float, float, float, float] | str) -> Seen:
    box_xyxy, name = boxed
    assert not isinstance(box_xyxy, str)
    assert isinstance(name, str)
    return Seen(box_xyxy, name)


def kinds(regions: list[Region], objects: list[Seen], tolerance: float = 0.5) -> list[str]:
    edits, _ = edits_between(regions, objects, tolerance=tolerance)
    return ["+".join(edit.kinds) for edit in edits]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([seen(DOG.box_xyxy, "dog"), seen(CAT.box_xyxy, "cat")], []),
        ([seen(CAT.box_xyxy, "cat"), seen(DOG.box_xyxy, "dog")], []),  # in any order
        ([seen((2.4, 2, 12, 8.5), "dog"), seen(CAT.box_xyxy, "cat")], []),  # a tool's rounding
        ([seen((3, 2, 12, 8), "dog"), seen(CAT.box_xyxy, "cat")], ["moved"]),
        ([seen(DOG.box_xyxy, "wolf"), seen(CAT.box_xyxy, "cat")], ["renamed"]),
        ([seen((3, 2, 12, 8), "wolf"), seen(CAT.box_xyxy, "cat")], ["moved+renamed"]),
        ([seen(DOG.box_xyxy, "cat"), seen(CAT.box_xyxy, "dog")], ["renamed", "renamed"]),
        ([seen(DOG.box_xyxy, "dog")], ["deleted"]),
        ([], ["deleted", "deleted"]),
        ([seen((0, 0, 4, 4), "dog"), seen(CAT.box_xyxy, "cat")], ["deleted", "added"]),
    ],
)
def test_each_kind_of_edit(objects: list[Seen], expected: list[str]) -> None:
    assert kinds([DOG, CAT], objects) == expected


def test_a_file_need_not_show_what_was_refused_or_is_a_crowd() -> None:
    hidden = [replace(DOG, refusal="disagrees"), replace(CAT, crowd=True), replace(DOG, names=())]
    assert kinds(hidden, []) == []
    assert kinds(hidden, [seen(DOG.box_xyxy, "dog"), seen(CAT.box_xyxy, "cat")]) == []
    assert kinds(hidden, [seen(DOG.box_xyxy, "wolf")]) == ["renamed"]
    assert kinds(hidden, [seen((3, 2, 12, 8), "dog")]) == ["added"]


def test_a_kept_region_goes_before_a_refused_one_in_its_place() -> None:
    other = region(DOG.box_xyxy, "wolf", refusal="second opinion")
    assert kinds([other, DOG], [seen(DOG.box_xyxy, "wolf")]) == ["renamed"]


def test_overlap_by_hand() -> None:
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 2, 2), (2, 0, 3, 2)) == 0
    assert overlap((0, 0, 2, 2), (0, 0, 2, 2)) == 1


@st.composite
def scenes(draw: st.DrawFn) -> list[Region]:
    made = []
    for _ in range(draw(st.integers(0, 5))):
        x, y = draw(st.integers(0, 17)), draw(st.integers(0, 7))
        refusal = draw(st.sampled_from(["", "", "disagrees"]))
        made.append(region((x, y, x + 3, y + 3), draw(NAMES), refusal=refusal))
    return made


@given(scenes(), scenes())
def test_what_was_edited_is_what_is_kept(before: list[Region], after: list[Region]) -> None:
    """Whatever the two scenes are, the edits make one the other."""
    wanted = [seen_of(one) for one in after]
    edits, unchanged = edits_between(before, wanted, tolerance=0)
    made = corrected(record(regions=before), (("batch-1", tuple(edits)),))
    kept = [seen_of(one) for one in made.regions if one.kept]
    # What is in the very place of a refused region, by its name, is no correction: it stays so.
    refused = [seen_of(one) for one in before if not one.kept]
    missing = [one for one in wanted if one not in kept]
    assert all(one in refused for one in missing)
    assert all(one in wanted for one in kept)
    assert unchanged <= len(before)
    assert len(made.regions) >= len(before), "a region keeps its number"


@given(scenes())
def test_nothing_edited_is_nothing_changed(before: list[Region]) -> None:
    wanted = [seen_of(one) for one in before if one.kept]
    assert edits_between(before, wanted, tolerance=0.5) == ([], len(wanted))
    one = record(regions=before)
    assert corrected(one, ()) is one


def test_two_that_change_places() -> None:
    swap = (
        Edit(seen_of(DOG), replace(seen_of(DOG), box_xyxy=CAT.box_xyxy)),
        Edit(seen_of(CAT), replace(seen_of(CAT), box_xyxy=DOG.box_xyxy)),
    )
    made = corrected(record(regions=[DOG, CAT]), (("batch-1", swap),))
    assert [(one.names[0], one.box_xyxy) for one in made.regions] == [
        ("dog", CAT.box_xyxy),
        ("cat", DOG.box_xyxy),
    ]


def test_of_two_alike_both_can_be_deleted() -> None:
    gone = (Edit(seen_of(DOG), None), Edit(seen_of(DOG), None))
    made = corrected(record(regions=[DOG, DOG]), (("batch-1", gone),))
    assert [one.refusal for one in made.regions] == [CORRECTED_AWAY] * 2


def test_where_the_build_has_changed_the_object_is_found_by_its_name_and_place() -> None:
    nearby = replace(DOG, box_xyxy=(2, 2, 12, 9))
    edit = Edit(seen_of(DOG), Seen(DOG.box_xyxy, "wolf"))
    made = corrected(record(regions=[nearby]), (("batch-1", (edit,)),))
    assert [one.names for one in made.regions] == [("wolf",)]
    far = replace(DOG, box_xyxy=(12, 2, 19, 9))
    made = corrected(record(regions=[far]), (("batch-1", (edit,)),))
    assert [one.names for one in made.regions] == [("dog",), ("wolf",)]
    gone = Edit(seen_of(DOG), None)
    assert corrected(record(regions=[far]), (("batch-1", (gone,)),)).regions == (far,)


def test_the_same_box_added_twice_is_one() -> None:
    add = (Edit(None, seen_of(DOG)),)
    made = corrected(record(), (("batch-1", add), ("batch-2", add)))
    assert len(made.regions) == 1
    twice = corrected(record(), (("batch-1", (*add, *add)),))
    assert len(twice.regions) == 2


@pytest.mark.parametrize(
    ("regions", "label"),
    [([], "dog"), ([replace(CAT, label="cat")], "dog"), ([CAT], None)],
)
def test_an_added_name_is_truth_where_there_is_truth(
    regions: list[Region], label: str | None
) -> None:
    made = corrected(record(regions=regions), (("batch-1", (Edit(None, seen_of(DOG)),)),))
    assert made.regions[-1].label == label


def test_the_state_is_of_the_objects_and_not_of_the_rules() -> None:
    one = record(regions=[DOG, CAT])
    refused = replace(one, regions=(replace(DOG, refusal="disagrees"), CAT))
    assert state_of(one) == state_of(refused)
    assert state_of(one) != state_of(record(regions=[DOG]))
    away = corrected(one, (("batch-1", (Edit(seen_of(DOG), None),)),))
    assert state_of(away) != state_of(one)
