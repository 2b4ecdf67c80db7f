"""The names in an answer, and where in it they stand."""

import re

from opendet.annotators.english import DETERMINERS, NUMBERS
from opendet.annotators.markdown import BULLET
from opendet.annotators.noun_phrases import NounPhrases, Span
from opendet.annotators.object_list import object_list
from opendet.curate.text import short_name
from opendet.vl_sam.tokens import name_spans

MOST = 50
"""Names of one answer."""
LONGEST = 5
"""Words of a name."""
LEAST_WORDS = 3
"""Of a question."""
_NO_OBJECTS = frozenset(
    ("image", "picture", "photo", "photograph", "scene", "view", "background", "foreground",
     "left", "right", "top", "bottom", "center", "centre", "middle", "side")
)  # fmt: skip
_EDGES = re.compile(r"^[\s\"'`]+|[\s\"'`]+$")


def listed_names(text: str, *, unfinished: bool) -> tuple[dict[str, Span], int]:
    """The names of an answer that lists them, each with its place, and how many have none: the
    answer says them in another form."""
    read = object_list(text, most=MOST, max_words=LONGEST, unfinished=unfinished)
    names = [name for name in read if any(map(str.isalpha, name))]
    found = name_spans(text, names)
    return found, len(names) - len(found)


def described_names(text: str, phrases: NounPhrases) -> dict[str, Span]:
    """The noun phrases of a description, each with its first place, without article and number."""
    found: dict[str, Span] = {}
    for span in phrases(text):
        words = short_name(text[span.start : span.end], max_words=LONGEST + 1).split()
        while words and (words[0] in DETERMINERS or words[0] in NUMBERS):
            words = words[1:]
        if words and words[-1] not in _NO_OBJECTS and len(found) < MOST:
            found.setdefault(" ".join(words[:LONGEST]), span)
    return found


def own_questions(answer: str, count: int) -> tuple[str, ...]:
    """The questions that a model wrote, one a line, each once; fewer where it wrote fewer."""
    lines = (_EDGES.sub("", BULLET.sub("", line, count=1)) for line in answer.splitlines())
    asks = (line for line in lines if len(line.split()) >= LEAST_WORDS and line[-1] in "?.!")
    return tuple(dict.fromkeys(asks))[:count]
