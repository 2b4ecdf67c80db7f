"""What training said, as reasons: thresholds by hand, the last word of rounds, rare names."""

from typing import Any

import pyarrow as pa
import pytest

from opendet.curate.label_value import (
    COLUMNS,
    CONTRADICTED,
    NOT_LEARNED,
    UNHEARD,
    LabelValue,
    LabelValueConfig,
    judge_rounds,
)
from opendet.record import Provenance, Region

Row = tuple[str, int, str, int, float | None, float | None]
"""Key, region, name, seen, loss, agreement."""

RULES = LabelValueConfig(min_agreement=0.0, max_share=1.0)


def table(*rows: Row) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
    return pa.table(dict(zip(COLUMNS, map(list, columns), strict=True)))


def region(*names: str) -> Region:
    return Region((0, 0, 9, 9), Provenance("source"), names=names)


def reason(row: Row, **rules: Any) -> str:
    value = judge_rounds([table(row)], LabelValueConfig(max_share=1.0, **rules))
    return value.refusal(row[0], row[1], region(row[2]))


@pytest.mark.parametrize(
    ("seen", "loss", "agreement", "rules", "refusal"),
    [
        (9, None, -0.01, {"min_agreement": 0.0}, CONTRADICTED),
        (9, None, 0.0, {"min_agreement": 0.0}, ""),  # as much as asked for is enough
        (9, None, None, {"min_agreement": 0.0}, ""),  # nobody measured it
        (1, None, -1.0, {"min_agreement": 0.0}, ""),  # seen once
        (2, None, -1.0, {"min_agreement": 0.0}, CONTRADICTED),
        (2, None, -1.0, {"min_agreement": 0.0, "min_seen": 3}, ""),
        (9, 2.5, 1.0, {"max_loss": 2.0}, NOT_LEARNED),
        (9, 2.0, 1.0, {"max_loss": 2.0}, ""),
        (9, None, -1.0, {"max_loss": 2.0}, ""),
        (9, 2.5, -1.0, {"max_loss": 2.0, "min_agreement": 0.5}, CONTRADICTED),
        (9, 9.0, -1.0, {}, ""),
    ],
)
def test_thresholds(
    seen: int, loss: float | None, agreement: float | None, rules: dict[str, Any], refusal: str
) -> None:
    assert reason(("a", 0, "cat", seen, loss, agreement), **rules) == refusal


def test_a_signal_is_of_one_region_under_one_name() -> None:
    value = judge_rounds([table(("a", 1, "cat", 9, None, -1.0))], RULES)
    assert value.refusal("a", 1, region("cat", "kitten")) == CONTRADICTED
    assert value.refusal("a", 1, region("dog")) == ""  # the annotator has changed its mind
    assert value.refusal("a", 1, region()) == ""
    assert value.refusal("a", 0, region("cat")) == ""
    assert value.refusal("b", 1, region("cat")) == ""
    assert value.knows("a", 1, region("cat"))
    assert not value.knows("a", 1, region("dog"))


def test_the_last_round_that_saw_a_region_has_the_word() -> None:
    """What the first round refuses the second does not see, and it stays refused."""
    first = table(("a", 0, "cat", 9, None, -0.5), ("a", 1, "cat", 9, None, 0.5))
    second = table(("a", 1, "cat", 9, None, -0.1), ("b", 0, "dog", 9, None, 0.2))
    value = judge_rounds([first, second], RULES)
    assert value.refusal("a", 0, region("cat")) == CONTRADICTED
    assert value.refusal("a", 1, region("cat")) == CONTRADICTED
    assert value.refusal("b", 0, region("dog")) == ""
    assert judge_rounds([first], RULES).refusal("a", 1, region("cat")) == ""


def test_of_a_name_no_more_than_a_share_is_refused_and_the_worst_of_it() -> None:
    cats = [("a", place, "cat", 9, None, -0.1 * place) for place in range(5)]
    rare = ("b", 0, "okapi", 9, None, -1.0)
    rules = LabelValueConfig(min_agreement=0.5, max_share=0.5)
    value = judge_rounds([table(*cats, rare)], rules)
    assert [bool(value.refusal("a", place, region("cat"))) for place in range(5)] == [
        False, False, False, True, True,
    ]  # fmt: skip
    assert value.refusal("b", 0, region("okapi")) == ""  # half of one region is none


def test_each_round_may_refuse_its_share() -> None:
    """Of four the worst; of the two of one name and the one of another, then, no whole quarter."""
    first = [("a", place, "cat", 9, None, -0.1 - 0.1 * place) for place in range(4)]
    second = [("a", place, "cat" if place else "dog", 9, None, -0.1) for place in range(3)]
    rules = LabelValueConfig(min_agreement=0.0, max_share=0.25)
    assert refused(judge_rounds([table(*first)], rules), 4) == [False, False, False, True]
    assert refused(judge_rounds([table(*first), table(*second)], rules), 4) == [
        False, False, False, True,
    ]  # fmt: skip
    third = [("a", place, "cat", 9, None, -0.3 + 0.1 * place) for place in range(4)]
    assert refused(judge_rounds([table(*first), table(*third)], rules), 4) == [
        True, False, False, False,
    ]  # fmt: skip


def refused(value: LabelValue, count: int) -> list[bool]:
    return [bool(value.refusal("a", place, region("cat"))) for place in range(count)]


def test_by_loss_too_the_worst_come_first() -> None:
    rows = [("a", place, "cat", 9, 1.0 + place, None) for place in range(4)]
    value = judge_rounds([table(*rows)], LabelValueConfig(max_loss=0.5, max_share=0.25))
    refused = [value.refusal("a", place, region("cat")) for place in range(4)]
    assert refused == ["", "", "", NOT_LEARNED]


def test_nothing_is_said_without_a_rule_or_a_round() -> None:
    assert judge_rounds([table(("a", 0, "cat", 9, 9.0, -1.0))], LabelValueConfig()) is UNHEARD
    assert judge_rounds([], RULES) is UNHEARD
    assert judge_rounds([table()], RULES) == LabelValue({})
