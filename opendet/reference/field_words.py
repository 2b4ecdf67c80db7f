"""What a field holds, its bounds and its default, in the words of a YAML file's reader."""

import json
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from opendet.reference.markdown_text import code

Sections = Mapping[type[BaseModel], str]
"""Section -> a link to where it is explained."""

_SIMPLE: dict[Any, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "`true` or `false`",
    Path: "path",
    type(None): "`null`",
}
_MANY = re.compile(r"^(whole number|number|text|path)\b")
_BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}
_LONGEST = 70
"""Characters of a default that are shown."""


def type_words(annotation: Any, sections: Sections) -> str:
    """Such as `list of whole numbers > 0`; a section is its link."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if annotation in sections:
        return sections[annotation]
    if origin is Annotated:
        return " ".join([type_words(inner[0], sections), *bounds(inner[1:])])
    if origin is Literal:
        return ", ".join(code(str(word)) for word in inner)
    if origin in (Union, types.UnionType):
        return ", or ".join(type_words(one, sections) for one in inner)
    if origin in (tuple, list):
        return _list_words(inner, sections)
    assert origin is dict, f"no words for the type {annotation}"
    return f"keys: {type_words(inner[0], sections)}; values: {type_words(inner[1], sections)}"


def bounds(metadata: Iterable[Any]) -> list[str]:
    """Of annotated-types' and pydantic's constraints."""
    told = []
    for one in metadata:
        if isinstance(one, FieldInfo):  # as `Annotated[int, Field(gt=0)]` has it
            told += bounds(one.metadata)
        told += [
            words.format(_number(getattr(one, name)))
            for name, words in _BOUNDS.items()
            if getattr(one, name, None) is not None
        ]
        told += _lengths(getattr(one, "min_length", None), getattr(one, "max_length", None))
        if pattern := getattr(one, "pattern", None):
            told.append(f"matching {code(pattern)}")
    return told


def default_words(field: FieldInfo) -> str:
    """As YAML would have it; of a section only what differs from its own defaults."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "**required**"
    if isinstance(value, BaseModel):
        return _section_words(value)
    return code(_cut(json.dumps(_plain(value), ensure_ascii=False)))


def _section_words(value: BaseModel) -> str:
    own = {name: field.get_default() for name, field in type(value).model_fields.items()}
    set_here = {name: one for name, one in value if one != own[name]}
    return "; ".join(
        f"{name}: {code(_cut(json.dumps(_plain(one), ensure_ascii=False)))}"
        for name, one in set_here.items()
    )


def _list_words(inner: tuple[Any, ...], sections: Sections) -> str:
    many = len(inner) == 1 or inner[1] is Ellipsis
    count = "" if many else f"{len(inner)} "
    several = _MANY.sub(r"\1s", type_words(inner[0], sections))
    return f"list of {count}{several}"


def _lengths(least: int | None, most: int | None) -> list[str]:
    told = [f"at least {least} long"] if least else []
    return [*told, f"at most {most} long"] if most else told


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else _simple(value)


def _simple(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
