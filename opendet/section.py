"""The base of every section of a configuration: frozen, and a misspelt key is an error."""

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError


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
    if isinstance(one["input"], dict | list):
        return f"{where}: {one['msg']}"
    return f"{where}: {one['msg']}, not {one['input']!r}"


def _keys_at(root: Any, place: tuple[str, ...]) -> list[str]:
    section = root
    for step in place:
        if step.isdigit():  # the number of an element: what follows is of the element's type
            continue
        field = section.model_fields.get(step)
        section = field and _section_in(field.annotation)
        if section is None:
            return []
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, alone or several of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_section_in(inner) for inner in get_args(annotation))
    return next((section for section in found if section is not None), None)
