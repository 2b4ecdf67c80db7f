"""The base of every section of a configuration: frozen, and a misspelt key is an error."""

import difflib
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

QUOTE = "'"
"""What pydantic puts around words in its messages."""


class Section(BaseModel):
    """One section of a YAML file.

    Every knob is a typed field beside its default, with one line of documentation under it.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


def explain(error: ValidationError, root: type[Section]) -> str:
    """Every mistake of a YAML file in one line: its dotted path, and the nearest key there is."""
    return "; ".join(_explain_one(one, root) for one in error.errors())


def _explain_one(one: Any, root: type[Section]) -> str:
    place = tuple(str(step) for step in one["loc"])
    where, said = ".".join(place) or "the file", one["msg"].removeprefix("Value error, ")
    told = one.get("ctx", {})
    match one["type"], one["input"]:
        case "extra_forbidden", _:
            return f"{where}: no such key{_nearest(place[-1], _keys_at(root, place[:-1]))}"
        case "union_tag_not_found", _:
            return f"{where}: its key {told['discriminator'].strip(QUOTE)} is missing"
        case "union_tag_invalid", _:
            kind, words = told["discriminator"].strip(QUOTE), told["expected_tags"]
            hint = _nearest(told["tag"], words.split(QUOTE)) or f"; there are {words}"
            return f"{where}: no {kind} is called {told['tag']!r}{hint}"
        case "tuple_type", _:
            return f"{where}: a list is wanted, each of its elements with a leading dash"
        case "model_type" | "model_attributes_type", _:
            return f"{where}: a section of keys is wanted; leave it out for its defaults"
        case "literal_error", str() as word:
            hint = _nearest(word, told["expected"].split(QUOTE))
            return f"{where}: {said}, not {word!r}{hint}"
        case _, dict() | list():
            return f"{where}: {said}"
    return f"{where}: {said}, not {one['input']!r}"


def _nearest(word: str, there: list[str]) -> str:
    near = difflib.get_close_matches(word, there, n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _keys_at(root: type[BaseModel], place: tuple[str, ...]) -> list[str]:
    sections = [root]
    for step in place:
        fields = [one.model_fields[step] for one in sections if step in one.model_fields]
        if fields:
            sections = [inner for field in fields for inner in _sections_in(field.annotation)]
        elif not step.isdigit():  # a number is an element's; another word says which of several
            sections = [one for one in sections if step in _tags_of(one)]
    return list(dict.fromkeys(key for one in sections for key in one.model_fields))


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field may hold, alone or several of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections_in(inner)]


def _tags_of(section: type[BaseModel]) -> set[Any]:
    """The words that tell a section from the others that may stand in its place."""
    return {field.default for field in section.model_fields.values() if _is_tag(field.annotation)}


def _is_tag(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1
