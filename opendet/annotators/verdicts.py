"""A verifier's answer as a belief, read strictly: what has to be guessed at is no verdict."""

import re
from typing import Any

from pydantic_core import from_json

from opendet.annotators.chat import unfenced

_AROUND = " \t\r\n.!\"'*`"
_NUMBER = re.compile(r"(?P<number>\d{1,4}(?:\.\d{1,9})?|\.\d{1,9}) ?(?P<percent>%?)")
_WORDS = {"yes": 1.0, "no": 0.0}


def read_belief(answer: str) -> float | None:
    """How sure the answer is that it is so, in [0, 1]; None for an answer of any other form.

    `yes` is 1 and `no` is 0; a number in [0, 1] or a percentage is itself. JSON may be one of
    these, true or false, or an object with one of them as its `answer`, and beside a yes or no with
    the `confidence` that the answer is right: `{"answer": "no", "confidence": 0.9}` is 0.1.
    """
    text = unfenced(answer)
    try:
        told: Any = from_json(text, allow_inf_nan=False)
    except ValueError:
        return _of_word(text)
    return _of_object(told) if isinstance(told, dict) else _of_value(told)


def _of_object(told: dict[str, Any]) -> float | None:
    belief, confidence = _of_value(told.get("answer")), told.get("confidence")
    if belief is None or confidence is None:
        return belief
    sure = None if isinstance(confidence, bool | str) else _of_value(confidence)
    if sure is None or belief not in (0.0, 1.0):
        return None
    return sure if belief else 1 - sure


def _of_value(told: Any) -> float | None:
    if isinstance(told, str):
        return _of_word(told)
    if not isinstance(told, int | float):
        return None
    return float(told) if 0 <= told <= 1 else None


def _of_word(text: str) -> float | None:
    word = text.strip(_AROUND).casefold()
    if word in _WORDS:
        return _WORDS[word]
    found = _NUMBER.fullmatch(text.strip().removesuffix("."))
    if found is None:
        return None
    number = float(found["number"]) / (100 if found["percent"] else 1)
    return number if number <= 1 else None
