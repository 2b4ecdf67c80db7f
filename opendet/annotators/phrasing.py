"""Articles, plurals and lists: the English that the grammar writes."""

import re
from collections.abc import Sequence

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PLURALS = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "mouse": "mice",
    "goose": "geese",
    "knife": "knives",
    "leaf": "leaves",
    "shelf": "shelves",
    "wolf": "wolves",
    "potato": "potatoes",
    "tomato": "tomatoes",
}
_UNCHANGED = frozenset(("sheep", "deer", "fish", "broccoli", "aircraft", "series", "species"))
_AN_DESPITE_CONSONANT = re.compile(r"hour|honest|honou?r|heir|[FHLMNRSX](?![a-z])", re.ASCII)
_A_DESPITE_VOWEL = re.compile(r"uni(?!n|m)|us[ae]|ut[ei]|eu|one\b|once\b|U(?![a-z])", re.ASCII)


def is_plural(name: str) -> bool:
    """Whether a name is in the plural as it stands, as `scissors` is, or has none other."""
    head = name.split()[-1].lower() if name.split() else ""
    if head == "skis":
        return True
    return head.endswith("s") and not head.endswith(("ss", "us", "is")) and len(head) > 3


def plural(name: str) -> str:
    """`red striped star` -> `red striped stars`: the last word's plural."""
    head = name.split()[-1] if name.split() else ""
    stem, lower = name[: len(name) - len(head)], head.lower()
    if is_plural(name) or lower in _UNCHANGED or not head:
        return name
    if lower in _PLURALS:
        return stem + _PLURALS[lower]
    if lower.endswith(("s", "x", "z", "ch", "sh")):
        return name + "es"
    if lower.endswith("y") and lower[-2:-1] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def with_article(name: str) -> str:
    """`an orange`, `a unicorn`, `an RBC`, `some scissors`."""
    if is_plural(name):
        return f"some {name}"
    vowel = name[:1].lower() in tuple("aeiou")
    an = not _A_DESPITE_VOWEL.match(name) if vowel else _AN_DESPITE_CONSONANT.match(name)
    return f"{'an' if an else 'a'} {name}"


def counted(name: str, count: int) -> str:
    """`a ring`, `two rings`, `12 rings`."""
    if count == 1:
        return with_article(name)
    return f"{_NUMBERS[count] if count < len(_NUMBERS) else count} {plural(name)}"


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
