"""The filter's rules: cases worked by hand, and what holds for any threshold."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.curate.filter import (
    Filter,
    FilterConfig,
    filter_record,
    judge_regions,
    precision_recall,
    tally,
    training_precision_recall,
)
from opendet.curate.label_value import CONTRADICTED, LabelValue, LabelValueConfig
from opendet.evaluation.report_sections import is_wrong
from opendet.record import Provenance, Record, Region
from opendet.sample import Dropped, Sample

SOURCE = Provenance("source")
GOOD = Region(
    (10, 10, 30, 30), SOURCE, label="red star", names=("red star",),
    agreement=0.9, rival="red ring", rival_agreement=0.5,
)  # fmt: skip


def record(*regions: Region, **changes: Any) -> Record:
    made = Record(
        "toy-0", "toy", "toy", "train", "CC0-1.0", "0.png", "png", 1, "00", 100, 100,
        caption="a star", regions=regions,
    )  # fmt: skip
    return replace(made, **changes)


def reasons(config: FilterConfig, *regions: Region) -> list[str]:
    return [region.refusal for region in judge_regions(record(*regions), config)]


def reason(region: Region, **thresholds: Any) -> str:
    return reasons(FilterConfig(**thresholds), region)[0]


def image_reason(one: Record, **thresholds: Any) -> str:
    out = filter_record(one, FilterConfig(**thresholds))
    return out.reason if isinstance(out, Dropped) else ""


def test_a_good_region_passes_the_defaults() -> None:
    assert reason(GOOD) == ""


def boxed(*box_xyxy: float) -> Region:
    return replace(GOOD, box_xyxy=(box_xyxy[0], box_xyxy[1], box_xyxy[2], box_xyxy[3]))


@pytest.mark.parametrize(
    ("region", "thresholds", "refusal"),
    [
        (replace(GOOD, crowd=True), {}, "crowd"),
        (replace(GOOD, crowd=True), {"refuse_crowds": False}, ""),
        (boxed(0, 0, 3.9, 50), {}, "too small"),
        (boxed(0, 0, 4, 50), {}, ""),
        (boxed(0, 0, 4, 4), {"min_area": 0.0017}, "too small"),  # 16 of 10,000 pixels
        (boxed(0, 0, 4, 4), {"min_area": 0.0016}, ""),
        (boxed(0, 0, 1, 1), {"min_area": None, "min_side": None}, ""),
        (boxed(0, 0, 100, 99.5), {}, "too large"),
        (boxed(0, 0, 100, 99), {}, ""),
        (boxed(0, 0, 100, 100), {"max_area": None}, ""),
        (boxed(0, 10, 20, 30), {"min_border": 0.5}, "touches the border"),
        (boxed(10, 10, 99.6, 30), {"min_border": 0.5}, "touches the border"),
        (boxed(0.5, 0.5, 99.5, 30), {"min_border": 0.5}, ""),
        (boxed(0, 0, 20, 30), {}, ""),
        (replace(GOOD, names=()), {}, "no name"),
        (replace(GOOD, names=(" ",)), {}, "no name"),
    ],
)
def test_geometry_and_names(region: Region, thresholds: dict[str, Any], refusal: str) -> None:
    assert reason(region, **thresholds) == refusal


@pytest.mark.parametrize(
    ("agreement", "rival", "thresholds", "refusal"),
    [
        (0.9, 0.5, {}, ""),
        (0.5, 0.5, {}, ""),  # a margin of exactly 0 is enough
        (0.5, 0.6, {}, "disagrees"),
        (0.5, 0.45, {"min_margin": 0.1}, "disagrees"),
        (0.2, 0.1, {"min_agreement": 0.25}, "disagrees"),
        (0.25, 0.1, {"min_agreement": 0.25}, ""),
        (0.5, 0.9, {"min_margin": None, "min_agreement": 0.25}, ""),
        (None, None, {}, "not judged"),
        (None, 0.3, {"min_margin": None, "min_agreement": 0.1}, "not judged"),
        (float("nan"), 0.3, {}, "not judged"),
        (0.5, float("nan"), {}, "not judged"),
        (0.5, None, {}, "not judged"),
        (0.5, None, {"min_margin": None, "min_agreement": 0.1}, ""),
        (None, None, {"min_margin": None}, ""),
    ],
)
def test_agreement(
    agreement: float | None, rival: float | None, thresholds: dict[str, Any], refusal: str
) -> None:
    region = replace(GOOD, agreement=agreement, rival_agreement=rival)
    assert reason(region, **thresholds) == refusal


def test_where_there_is_no_other_name_the_margin_cannot_be_lost() -> None:
    assert reason(replace(GOOD, rival="", rival_agreement=None)) == ""


def test_only_an_earlier_kept_region_of_the_same_name_is_repeated() -> None:
    again = boxed(10, 10, 30, 20)  # IoU 0.5 with GOOD
    other = replace(again, names=("star",))
    wrong = replace(GOOD, agreement=0.1)
    config = FilterConfig(max_overlap=0.5)
    assert reasons(config, GOOD, again, other) == ["", "overlaps another", ""]
    assert reasons(config, wrong, again) == ["disagrees", ""]
    assert reasons(FilterConfig(max_overlap=0.51), GOOD, again) == ["", ""]
    assert reasons(FilterConfig(), GOOD, GOOD) == ["", ""]


SURE, UNSURE = Provenance("judge", score=0.9), Provenance("judge", score=0.2)


@pytest.mark.parametrize(
    ("region", "thresholds", "refusal"),
    [
        (GOOD, {}, ""),
        (replace(GOOD, name_checked=UNSURE, box_checked=UNSURE), {}, ""),
        (replace(GOOD, name_checked=SURE), {"min_name_belief": 0.5}, ""),
        (replace(GOOD, name_checked=SURE), {"min_name_belief": 0.9}, ""),
        (replace(GOOD, name_checked=UNSURE), {"min_name_belief": 0.5}, "name judged wrong"),
        (GOOD, {"min_name_belief": 0.0}, "not judged"),
        (replace(GOOD, name_checked=Provenance("j")), {"min_name_belief": 0.5}, "not judged"),
        (
            replace(GOOD, name_checked=Provenance("j", score=float("nan"))),
            {"min_name_belief": 0.5},
            "not judged",
        ),
        (replace(GOOD, box_checked=SURE), {"min_box_belief": 0.5}, ""),
        (replace(GOOD, box_checked=UNSURE), {"min_box_belief": 0.5}, "box judged loose"),
        (GOOD, {"min_box_belief": 0.5}, "box not judged"),
        (replace(GOOD, names=()), {"min_box_belief": 0.5}, "no name"),
        (replace(GOOD, name_checked=UNSURE, agreement=0.1), {"min_name_belief": 0.5}, "disagrees"),
        (
            replace(GOOD, name_checked=UNSURE, box_checked=UNSURE),
            {"min_name_belief": 0.5, "min_box_belief": 0.5},
            "box judged loose",
        ),
    ],
)
def test_a_verifier_s_beliefs(region: Region, thresholds: dict[str, Any], refusal: str) -> None:
    assert reason(region, **thresholds) == refusal


@pytest.mark.parametrize(
    ("refusal", "has_object"),
    [("name judged wrong", True), ("called otherwise", True), ("box judged loose", False),
     ("box not judged", False),
     ("not seconded", False), ("second opinion", False)],
)  # fmt: skip
def test_only_a_reason_against_the_name_leaves_the_box_to_be_learned(
    refusal: str, has_object: bool
) -> None:
    assert replace(GOOD, refusal=refusal).has_object == has_object


def test_two_annotators_must_agree() -> None:
    first, second = Provenance("owl", "1"), Provenance("dino", "1")
    seconded = replace(GOOD, box_from=first, seconded=0.9)
    other_name = replace(seconded, seconded=0.5)
    alone = replace(seconded, seconded=None)
    witness = replace(seconded, box_from=second)
    small_witness = replace(witness, box_xyxy=(0.0, 0.0, 1.0, 1.0))
    later = replace(seconded, box_from=Provenance("owl", "2"))
    many = (seconded, other_name, alone, witness, small_witness, later)
    assert reasons(FilterConfig(min_seconded=0.8), *many) == [
        "", "called otherwise", "not seconded", *["second opinion"] * 3,
    ]  # fmt: skip
    assert reasons(FilterConfig(), *many) == ["", "", "", "", "too small", ""]
    # the witness is of the record's first annotator where it comes first
    assert reasons(FilterConfig(min_seconded=0.8), witness, seconded) == ["", "second opinion"]
    assert reasons(FilterConfig(min_seconded=0.8, max_overlap=0.5), *many[:1], witness) == [
        "", "second opinion",
    ]  # fmt: skip


def test_precision_and_recall_of_a_verifier_s_beliefs() -> None:
    right, wrong = replace(GOOD, name_checked=SURE), replace(GOOD, name_checked=UNSURE)
    lie = {"label": "blue ring"}
    config = FilterConfig(min_margin=None, min_name_belief=0.5)
    many = [
        right,
        right,
        wrong,
        replace(wrong, **lie),
        replace(wrong, **lie),
        replace(right, **lie),
    ]  # type: ignore[arg-type]
    counts = tally([record(*judge_regions(record(*many), config))], config)
    assert counts["refused.name_judged_wrong"] == counts["disagrees"] == 3
    assert precision_recall(counts) == (2 / 3, 2 / 3)


def test_geometry_speaks_before_agreement() -> None:
    assert reason(replace(boxed(0, 0, 1, 1), agreement=0.0, crowd=True)) == "crowd"
    assert reason(replace(boxed(0, 0, 1, 1), agreement=0.0)) == "too small"


@pytest.mark.parametrize(
    ("one", "thresholds", "refusal"),
    [
        (record(), {}, ""),
        (record(), {"min_regions": 1}, "too few regions"),
        (record(GOOD, replace(GOOD, crowd=True)), {"min_regions": 2}, "too few regions"),
        (record(GOOD, GOOD), {"max_regions": 1}, "too many regions"),
        (record(GOOD, replace(GOOD, crowd=True)), {"max_regions": 1}, ""),
        (record(GOOD, caption=" "), {}, "empty caption"),
        (record(GOOD, caption=""), {"require_caption": False}, ""),
        (record(near_duplicate_of="toy-9"), {}, ""),
        (record(near_duplicate_of="toy-9"), {"drop_near_duplicates": True}, "near duplicate"),
    ],
)
def test_images(one: Record, thresholds: dict[str, Any], refusal: str) -> None:
    assert image_reason(one, **thresholds) == refusal


def test_evaluation_data_pass_untouched() -> None:
    held_out = record(replace(GOOD, crowd=True, agreement=None), caption="", split="val")
    strict = FilterConfig(min_regions=5, min_agreement=1.0)
    assert filter_record(held_out, strict) is held_out
    assert tally([held_out], strict) == {"kept": 0}
    assert image_reason(held_out, splits=("train", "val")) == "empty caption"


def test_the_worker_is_aligned_and_judges_anew() -> None:
    keep, drop = record(GOOD, replace(GOOD, refusal="disagrees")), record(caption="")
    first, second = Filter(FilterConfig())([Sample(keep), Sample(drop)])
    assert isinstance(first, Record)
    assert [region.refusal for region in first.regions] == ["", ""]
    assert second == Dropped("toy-0", "empty caption")


scores = st.none() | st.floats(-1, 1) | st.just(float("nan"))
regions = st.builds(
    replace,
    st.just(GOOD),
    agreement=scores,
    rival_agreement=scores,
    crowd=st.booleans(),
    names=st.sampled_from([(), ("red star",), ("blue ring", "ring")]),
    seconded=scores,
    box_from=st.sampled_from([SOURCE, Provenance("owl")]),
    name_checked=st.none() | st.builds(Provenance, st.just("judge"), score=scores),
    box_checked=st.none() | st.builds(Provenance, st.just("judge"), score=scores),
    box_xyxy=st.sampled_from([(10.0, 10.0, 30.0, 30.0), (0.0, 0.0, 100.0, 100.0)]),
)


@given(st.lists(regions, max_size=5), st.floats(-1, 1), st.floats(-1, 1))
def test_stricter_thresholds_keep_fewer(many: list[Region], first: float, second: float) -> None:
    low, high = sorted((first, second))
    loose, strict = FilterConfig(min_agreement=low), FilterConfig(min_agreement=high)
    kept_loose = [not refusal for refusal in reasons(loose, *many)]
    kept_strict = [not refusal for refusal in reasons(strict, *many)]
    assert all(
        loosely >= strictly for loosely, strictly in zip(kept_loose, kept_strict, strict=True)
    )


@given(st.lists(regions, max_size=5))
def test_filtering_twice_is_filtering_once(many: list[Region]) -> None:
    config = FilterConfig(
        max_overlap=0.5, min_name_belief=0.3, min_box_belief=0.3, min_seconded=0.3
    )
    once = filter_record(record(*many), config)
    assert isinstance(once, Record)
    assert filter_record(once, config) == once
    counts = tally([once], config)
    refused = sum(count for name, count in counts.items() if name.startswith("refused."))
    assert counts["kept"] + refused == len(many)


@given(st.lists(regions, max_size=5))
def test_no_rule_sees_the_truth(many: list[Region]) -> None:
    config = FilterConfig(max_overlap=0.5, min_agreement=0.1)
    blind = [replace(region, label=None) for region in many]
    assert reasons(config, *many) == reasons(config, *blind)


def test_tally_and_precision_and_recall_by_hand() -> None:
    lie = replace(GOOD, label="blue ring")
    seen_through = replace(lie, agreement=0.1)
    unlucky = replace(GOOD, agreement=0.1)
    config = FilterConfig()
    many = [GOOD, GOOD, lie, seen_through, seen_through, seen_through, unlucky]
    many += [replace(seen_through, crowd=True), replace(seen_through, label=None)]
    many += [replace(lie, agreement=None)]
    counts = tally([record(*judge_regions(record(*many), config))], config)
    assert counts == {
        "kept": 3,
        "refused.disagrees": 5,
        "refused.crowd": 1,
        "refused.not_judged": 1,
        "judged": 7,
        "disagrees": 4,
        "planted.judged": 4,
        "planted.caught": 3,
    }
    assert precision_recall(counts) == (3 / 4, 3 / 4)
    assert precision_recall({}) == (None, None)
    assert precision_recall(tally([], config)) == (None, None)


def test_a_synonym_is_no_error_to_be_found() -> None:
    config = FilterConfig()
    synonym = replace(GOOD, label="blue ring", other_labels=GOOD.names)
    counts = tally([record(*judge_regions(record(synonym, GOOD), config))], config)
    assert counts == {"kept": 2, "judged": 2}
    assert not is_wrong(synonym)
    assert is_wrong(replace(synonym, other_labels=()))


def test_a_filter_that_judges_nothing_has_neither_precision_nor_recall() -> None:
    config = FilterConfig(min_margin=None)
    counts = tally([record(replace(GOOD, label="blue ring"))], config)
    assert precision_recall(counts) == (None, None)


def test_planted_errors_are_found_where_the_scores_tell() -> None:
    rng = random.Random(0)
    many = []
    for _ in range(500):
        planted = rng.random() < 0.15
        agreement, rival = (0.3, 0.8) if planted else (0.8, 0.3)
        noise = rng.gauss(0, 0.15)
        many.append(
            replace(
                GOOD,
                label="blue ring" if planted else "red star",
                agreement=agreement + noise,
                rival_agreement=rival - noise,
            )
        )
    config = FilterConfig()
    counts = tally([record(*judge_regions(record(*many), config))], config)
    precision, recall = precision_recall(counts)
    assert precision is not None
    assert recall is not None
    assert precision > 0.75
    assert recall > 0.85
    assert counts["judged"] == 500


HEARD = LabelValue(
    {
        ("toy-0", 0): ("red star", CONTRADICTED),
        ("toy-0", 1): ("red star", ""),
        ("toy-0", 2): ("red star", CONTRADICTED),
    }
)


def test_what_training_said_comes_last_of_all() -> None:
    wrong = replace(GOOD, agreement=0.1)
    judged = judge_regions(record(GOOD, GOOD, wrong, GOOD), FilterConfig(), HEARD)
    assert [region.refusal for region in judged] == [CONTRADICTED, "", "disagrees", ""]
    assert judged[0].has_object  # its box is still learned from


def test_a_name_that_training_refused_leaves_room_for_the_same_box() -> None:
    again = boxed(10, 10, 30, 20)
    config = FilterConfig(max_overlap=0.5)
    judged = judge_regions(record(GOOD, again), config, HEARD)
    assert [region.refusal for region in judged] == [CONTRADICTED, ""]


def test_the_tally_measures_what_training_said_among_what_other_rules_kept() -> None:
    """One of two refused names was planted, and of the three planted ones one is refused; a fourth
    region is refused before, the fifth was never seen."""
    rules = FilterConfig(label_value=LabelValueConfig(min_agreement=0.0), min_margin=None)
    planted = replace(GOOD, label="blue ring")
    regions = (planted, GOOD, planted, boxed(0, 0, 1, 1), replace(GOOD, label=None), GOOD, planted)
    said = {("toy-0", place): ("red star", "") for place in (1, 2, 3, 4, 6)}
    said |= {("toy-0", place): ("red star", CONTRADICTED) for place in (0, 1)}
    value = LabelValue(said)
    one = filter_record(record(*regions), rules, value)
    assert isinstance(one, Record)
    counted = tally([one], rules, value)
    assert {name: n for name, n in counted.items() if name.startswith("training.")} == {
        "training.judged": 4,
        "training.against": 2,
        "training.planted": 3,
        "training.caught": 1,
        "training.unheard": 1,
    }
    assert counted["refused.contradicted_by_training"] == 2
    assert training_precision_recall(counted) == (1 / 2, 1 / 3)
    assert training_precision_recall({}) == (None, None)
    off = tally([record(*regions)], FilterConfig(), value)
    assert not [name for name in off if name.startswith("training.")]
