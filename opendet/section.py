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

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def explain(error: ValidationError, root: type[Section]) -> str:
    """Every mistake of a YAML file in one line: its dotted path, and the nearest key there is."""
    return "; ".join(_explain_one(one, root) for one in error.errors())


def _explain_one(one: Any, root: type[Section]) -> str:
    place = tuple(str(step) for step in one["loc"])
    where = ".".join(place) or "its root"
    if one["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _keys_at(root, place[:-1]), n=1, cutoff=0.5)
        return f"{where}: no such key" + (f" (did you mean {near[0]}?)" if near else "")
    if one["type"] == "union_tag_not_found":
        return f"{where}: its key {one['ctx']['discriminator'].strip(QUOTE)} is missing"
    if one["type"] == "union_tag_invalid":
        told = one["ctx"]
        near = difflib.get_close_matches(told["tag"], told["expected_tags"].split(QUOTE), n=1)
        hint = f" (did you mean {near[0]}?)" if near else f"; there are {told['expected_tags']}"
        return f"{where}: no {told['discriminator'].strip(QUOTE)} is called {told['tag']!r}{hint}"
    if isinstance(one["input"], dict | list):
        return f"{where}: {one['msg']}"
    return f"{where}: {one['msg']}, not {one['input']!r}"


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
