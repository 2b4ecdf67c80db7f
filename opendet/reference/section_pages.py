"""Pages about sections of YAML: each key with what it holds, its default and its docstring."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from opendet.config import Config
from opendet.reference.field_words import Sections, bounds, default_words, type_words
from opendet.reference.markdown_text import code, escaped, link, page, table
from opendet.sources.card import USED, SourceCard
from opendet.vl_sam.config import VlSamConfig

COLUMNS = ("key", "holds", "default", "")
INTRODUCTION = """
`configs/<build>.yaml`, a file for each build. Every key may be left out, and a section too: then its
defaults count. A misspelt key, or a value out of its bounds, is an error that names its dotted path and
the nearest right key, before anything is run. Any key can be set for one run, with ++ also where the
file leaves it out:

    dvc exp run -S 'configs/demo.yaml:++filter.min_regions=2'
""".strip()  # noqa: E501 - prose that is shown as it stands

Headings = Mapping[type[BaseModel], str]
"""Section -> the heading that it is explained under."""


def config_page() -> str:
    """docs/reference/config.md: every key of a configuration."""
    headings = headings_of(Config)
    tops = [
        (link(heading), escaped((section.__doc__ or "").split("\n\n")[0]))
        for section, heading in headings.items()
        if "." not in heading
    ]
    return page(
        "The configuration",
        INTRODUCTION,
        escaped((Config.__doc__ or "").partition(". ")[2]),
        table(("section", ""), tops),
        *(section_text(section, headings) for section in headings),
        "## The file of `opendet detect --method vl-sam`",
        f"Its keys are those of {link(headings[VlSamConfig])}.",
    )


def source_page() -> str:
    """docs/reference/source.md: every key of a source card."""
    card: Headings = {SourceCard: "The card"}
    headings = {**card, **headings_of(SourceCard)}
    uses = [(code(name), ", ".join(map(code, used))) for name, used in USED.items()]
    return page(
        "The source card",
        "`datasets/<build>/source.yaml`: what a build is made of, and where it lies.",
        *(section_text(section, headings) for section in headings),
        "## What a batch of each format uses",
        "Any other key that is set is a mistake. All use `name`, `split`, `format`, `root`, "
        "`licence` and `checksums`.",
        table(("format", "keys"), uses),
    )


def headings_of(root: type[BaseModel]) -> Headings:
    """Every section below `root`, once, under the dotted path of its first place in the file."""
    headings: dict[type[BaseModel], str] = {}
    for heading, section in _places(root, ""):
        headings.setdefault(section, heading)
    return headings


def section_text(section: type[BaseModel], headings: Headings) -> str:
    """A heading, what the section is, and a table of its keys."""
    heading = headings[section]
    level = "#" * min(4, 2 + heading.count("."))
    rows = table(COLUMNS, _rows(section, headings))
    return f"{level} {heading}\n\n{escaped(section.__doc__ or '')}\n\n{rows}"


def _places(root: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in root.model_fields.items():
        inner = _sections_in(field.annotation)
        for section in inner:
            below = f"{path}{name}{_told_apart(section) if len(inner) > 1 else ''}"
            yield below, section
            yield from _places(section, f"{below}.")


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections_in(inner)]


def _rows(section: type[BaseModel], headings: Headings) -> Iterator[tuple[str, ...]]:
    links: Sections = {one: link(heading) for one, heading in headings.items()}
    for name, field in section.model_fields.items():
        held = ", ".join([type_words(field.annotation, links), *bounds(field.metadata)])
        yield code(name), held, default_words(field), escaped(field.description or "")


def _told_apart(section: type[BaseModel]) -> str:
    """The word that tells a section from the others that may stand in its place."""
    return f", annotator: {section.model_fields['annotator'].default}"
