"""Names of objects in a model's answer, in whichever form it lists them."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from opendet.annotators.answers import LONGEST_READ, REFUSAL, without_chat, without_tokens
from opendet.annotators.english import ADJECTIVES, DETERMINERS, NUMBERS
from opendet.annotators.markdown import BULLET, EMPHASIS, is_markup, plain
from opendet.curate.text import clean_text, short_name

_OPENING = re.compile(
    r"(?:(?:the|this|these) )?(?:main |visible |following )*"
    r"(?:objects?|items?|things?|image|picture|photo|scene|list|categories)\b[^:.,\n]{0,80}:\s*",
    re.IGNORECASE,
)
_ITEM_END = re.compile(r"\s*(?::|\s[-–—]\s|\()")
_NOTHING = frozenset(("none", "nothing", "n/a", "no objects", "no object", "null", "unknown"))
_LIST_KEYS = ("name", "label", "object", "category", "objects", "items", "labels", "names", "list")


def object_list(
    text: str, *, most: int = 50, max_words: int = 5, unfinished: bool = False
) -> tuple[str, ...]:
    """The names in a list of objects, in lower case and in order, each once.

    Reads numbered and bulleted lines, JSON, and "dog, a cat and two birds". Articles, numbers and
    what is said of an object after its name go. At most `most` names of at most `max_words` words;
    empty for a refusal. `unfinished` says that the answer ran into its limit: the last name may
    lack its end, and goes.
    """
    read = without_tokens(text[:LONGEST_READ], set())
    if REFUSAL.match(without_chat(clean_text(read))):
        return ()
    found: dict[str, None] = {}
    items = list(_items(read, unfinished=unfinished))
    for item in items[: len(items) - unfinished]:
        name = _name(item, max_words)
        if name and name not in _NOTHING:
            found.setdefault(name)
        if len(found) == most:
            break
    return tuple(found)


def _items(text: str, *, unfinished: bool) -> Iterator[str]:
    told = _json_in(text, unfinished=unfinished)
    if told is not None:
        yield from _strings_in(told)
        return
    lines = [line for line in text.splitlines() if line.strip() and not is_markup(line)]
    bulleted = [line for line in lines if BULLET.match(line)]
    if bulleted:
        for line in bulleted:
            yield _ITEM_END.split(plain(line).removeprefix("- "), maxsplit=1)[0]
        return
    for line in lines:
        yield from _in_a_row(EMPHASIS.sub("", without_chat(clean_text(line))))


def _in_a_row(line: str) -> Iterator[str]:
    """The items of "a dog, a cat and two birds"; "black and white cat" stays one."""
    if opening := _OPENING.match(line):
        line = line[opening.end() :]
    parts = [part for part in re.split(r"[,;/|]|\.\s", line.strip().rstrip(".")) if part.strip()]
    for part in parts:
        item = ""
        for piece in part.strip().removeprefix("and ").split(" and "):
            if item and not _ends_in_adjective(item):
                yield item
                item = ""
            item = f"{item} and {piece}" if item else piece
        yield item


def _json_in(text: str, *, unfinished: bool) -> Any:
    """The JSON that an answer holds, whatever stands around it; None where there is none."""
    starts = [place for place in (text.find("["), text.find("{")) if place >= 0]
    if not starts:
        return None
    start, end = min(starts), max(text.rfind("]"), text.rfind("}"))
    try:
        if unfinished:
            return from_json(text[start:], allow_partial="trailing-strings")
        return from_json(text[start : end + 1]) if end > start else None
    except ValueError:
        return None


def _strings_in(told: Any) -> Iterator[str]:
    """The names in lists, however they are wrapped."""
    waiting = [told]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            waiting[:0] = one
        elif isinstance(one, dict):
            waiting[:0] = [one[key] for key in _LIST_KEYS if key in one][:1]


def _name(item: str, max_words: int) -> str:
    first, joint, second = clean_text(item).replace("_", " ").partition(" and ")
    name = short_name(first, max_words=max_words + 1)
    if joint and _ends_in_adjective(first):
        name = f"{name} and {short_name(second, max_words=max_words)}"
    words = name.split()
    while words and (words[0] in NUMBERS or words[0] in DETERMINERS or words[0].isdigit()):
        words = words[1:]
    return " ".join(words[:max_words])


def _ends_in_adjective(words: str) -> bool:
    return bool(words.split()) and words.split()[-1].lower() in ADJECTIVES
