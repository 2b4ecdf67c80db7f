"""Licences: what a model's own folder says of it, what `licences.yaml` knows, and nothing else.

An unknown licence stays unknown: none is guessed from a name or from another model of the family.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from opendet.section import Section
from opendet.yaml_file import read_yaml

_FACTS = Path(__file__).with_name("licences.yaml")
_HEADER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_LONGEST_HEADER = 100_000
_FORBIDDEN = {
    "commercial use": re.compile(r"\bnc\b|non-?\s?commercial", re.IGNORECASE),
    "changed copies": re.compile(r"\bnd\b|no-?\s?deriv", re.IGNORECASE),
}
"""What the Creative Commons' letters and words forbid, wherever a licence is called by them."""


class _Licence(Section):
    name: str
    hub: str
    page: str


class _Model(Section):
    names: tuple[str, ...]
    licence: str
    page: str


class _Facts(Section):
    licences: tuple[_Licence, ...]
    models: tuple[_Model, ...]


@dataclass(frozen=True, slots=True)
class KnownLicence:
    """A licence and who says so; both empty where nobody does."""

    licence: str = ""
    said_by: str = ""


UNKNOWN = KnownLicence()


def licence_of_model(name: str, folder: Path | None = None) -> KnownLicence:
    """What is known of a model that provenance calls `name` and that lies in `folder`, if any."""
    if folder is not None and (told := licence_in(folder)):
        return KnownLicence(told, "the model's own folder")
    known = (one for one in _facts().models if name in one.names)
    return next((KnownLicence(one.licence, one.page) for one in known), UNKNOWN)


def licence_in(folder: Path) -> str:
    """What README.md's header, or config.json, of a model's folder says; empty for nothing."""
    for told in (_header_of(folder / "README.md"), _json_of(folder / "config.json")):
        licence = told.get("license")
        if licence == "other":
            licence = told.get("license_name")
        if licence and isinstance(licence, str | list):
            words = [licence] if isinstance(licence, str) else licence
            return ", ".join(" ".join(str(word).split()) for word in words)
    return ""


def hub_word(licence: str) -> str:
    """The Hugging Face hub's word for a licence; empty for one that it has none for."""
    return next((one.hub for one in _facts().licences if _is_called(one, licence)), "")


def page_of(licence: str) -> str:
    """Where a licence can be read; empty for one that is not known here."""
    return next((one.page for one in _facts().licences if _is_called(one, licence)), "")


def forbidden_by(licence: str) -> tuple[str, ...]:
    """What a licence's name says that it forbids."""
    return tuple(what for what, words in _FORBIDDEN.items() if words.search(licence))


def _is_called(one: _Licence, licence: str) -> bool:
    return licence.casefold() in (one.name.casefold(), one.hub)


@cache
def _facts() -> _Facts:
    facts: _Facts = _Facts.model_validate(read_yaml(_FACTS))
    return facts


def _header_of(path: Path) -> dict[str, Any]:
    """The YAML between the first two lines of dashes; somebody else's, so anything may be wrong."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="replace") as file:
        found = _HEADER.match(file.read(_LONGEST_HEADER))
    try:
        told = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:  # a header that nobody can read says nothing
        return {}
    return told if isinstance(told, dict) else {}


def _json_of(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_bytes())
    except ValueError:  # a file that nobody can read says nothing: the licence is unknown
        return {}
    return told if isinstance(told, dict) else {}
