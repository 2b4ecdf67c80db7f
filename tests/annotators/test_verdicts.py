"""A verifier's answers: what is a verdict, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.annotators.verdicts import read_belief


@pytest.mark.parametrize(
    ("answer", "belief"),
    [
        ("yes", 1.0),
        ("Yes.", 1.0),
        (" NO!\n", 0.0),
        ("**No**", 0.0),
        ('"yes"', 1.0),
        ("0", 0.0),
        ("1", 1.0),
        ("1.0", 1.0),
        ("0.85", 0.85),
        (".5", 0.5),
        ("0.85.", 0.85),
        ("85%", 0.85),
        ("100 %", 1.0),
        ("true", 1.0),
        ("false", 0.0),
        ('{"answer": "yes"}', 1.0),
        ('{"answer": false, "reason": "it is a dog"}', 0.0),
        ('{"answer": 0.3}', 0.3),
        ('{"answer": "Yes", "confidence": 0.75}', 0.75),
        ('{"answer": "no", "confidence": 0.75}', 0.25),
        ('```json\n{"answer": "no"}\n```', 0.0),
        ("```\nyes\n```", 1.0),
    ],
)
def test_verdicts(answer: str, belief: float) -> None:
    assert read_belief(answer) == belief


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   ",
        "...",
        "Yes, it is a cat.",
        "yes and no",
        "No, but nearly",
        "I'm sorry, but I cannot say.",
        "maybe",
        "y",
        "ja",
        "85",
        "2",
        "-0.5",
        "101%",
        "1e-3%",
        "nan",
        "NaN",
        "Infinity",
        "0.5 0.6",
        "null",
        "[1]",
        "{}",
        '{"answer": null}',
        '{"answer": "perhaps"}',
        '{"answer": 7}',
        '{"answer": {"answer": "yes"}}',
        '{"answer": "yes", "confidence": 2}',
        '{"answer": "yes", "confidence": true}',
        '{"answer": "yes", "confidence": "high"}',
        '{"answer": 0.4, "confidence": 0.9}',
        '{"answer": NaN}',
        '{"answer": "yes"',
        '{"yes": 1}',
        "[" * 100_000,
        "1" * 10_000,
    ],
)
def test_no_verdicts(answer: str) -> None:
    assert read_belief(answer) is None


@given(st.text() | st.from_regex(r"[0-9.%{}\[\]\":yesno, ]{0,20}"))
def test_whatever_is_said_is_a_belief_or_none(answer: str) -> None:
    belief = read_belief(answer)
    assert belief is None or 0 <= belief <= 1
