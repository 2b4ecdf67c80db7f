"""The files of a build, as a person would begin them: card, page and configuration."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from opendet.config import Config
from opendet.imports.account import NOT_KEPT, refusals_of
from opendet.imports.survey import Seen
from opendet.sources.card import Batch, SourceCard

_HEADER = "| batch | split | format | images | boxes | names | captions | phrases | refused |"
_REFUSED = "Refused, with the first of each:"
_BEGUN = """\
# Begun by `opendet data import`: from the annotations to the shards offline, on a CPU. Every knob
# has a line of documentation beside its default; opendet/config.py says in which file.
"""
_NO_NAMES = "  # writes from names, and this source has none: see vision_language and served"
_SECTIONS = {
    "run": "run:\n  actors: 2\n",
    "caption": "caption:\n  annotator: source  # the source's own, else sentences from its names\n",
    "regions": "regions:\n  tagger: grammar\n",
    "describe": "describe:\n  annotator: grammar\n",
    "clip": """\
clip:
  model: trained  # a small one, from this build's own regions; or a folder in open_clip's form
  steps: 200
  threads: 1
""",
    "filter": "filter:\n  min_margin: null  # such a CLIP judges nobody; a real one may\n",
    "detector": """\
# What trains and judges is the paper's; configs/bccd.yaml has one that a CPU trains.
detector: {}
""",
}
"""Sections that are not empty; DVC asks for all of them."""


def config_text(*, named: bool) -> str:
    """The configuration; `named` is whether any box has a name."""
    sections = {name: _SECTIONS.get(name, f"{name}: {{}}\n") for name in Config.model_fields}
    if not named:
        sections["describe"] = f"{sections['describe'].rstrip()}{_NO_NAMES}\n"
    return _BEGUN + "\n".join(sections.values())


def card_text(head: Mapping[str, Any], batches: Sequence[Mapping[str, Any]]) -> str:
    """`source.yaml`."""
    items = "".join(item_text(batch, indent=2) for batch in batches)
    return f"{_yaml(head)}batches:\n{items}"


def item_text(batch: Mapping[str, Any], *, indent: int) -> str:
    """A batch as an item of the card's list."""
    first, *others = _yaml(batch).splitlines()
    margin = " " * indent
    return "".join(f"{margin}{line}\n" for line in (f"- {first}", *(f"  {one}" for one in others)))


def with_batches(text: str, batches: Sequence[Mapping[str, Any]]) -> str:
    """A card's text with further batches at the end of its list; all else stays as it is.

    Raises ValueError where the list is in brackets, which only a person can make longer.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode), "a card was read from this text"
    listed = next(value for key, value in root.value if key.value == "batches")
    if listed.flow_style:
        added = "".join(item_text(batch, indent=2) for batch in batches)
        raise ValueError(f"its batches are in brackets: write them below each other, with {added}")
    lines = text.splitlines(keepends=True)  # by what YAML too takes for a line's end
    end = listed.end_mark.line if listed.end_mark.column == 0 else len(lines)
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1  # what stands there is of the key that follows
    items = "".join(item_text(batch, indent=listed.start_mark.column) for batch in batches)
    before = "".join(lines[:end])
    return before + "\n" * (not before.endswith("\n")) + items + "".join(lines[end:])


def page_text(card: SourceCard, seen: Sequence[tuple[Batch, Seen]]) -> str:
    """The card's README.md."""
    title = f": {card.title}" if card.title else ""
    formats = dict.fromkeys(batch.format for batch, _ in seen)
    kept = "\n".join(f"- {form}: {NOT_KEPT[form]}." for form in formats)
    return f"""\
# {card.name}{title}

Where the data lie and what belongs to which batch is in `source.yaml`. `opendet data import`
counted, before any image was opened:

{_table(seen)}
{_REFUSED}

{_refusals(seen)}
What the annotations say and a record cannot keep:

{kept}

**Licence:** {card.licence}.

**Caveats:** say here who drew the boxes, what they left out, and what the data are not fit for.
"""


def with_rows(page: str, seen: Sequence[tuple[Batch, Seen]]) -> str:
    """A page with the rows of further batches in its table, and what they refused in its list; or
    with both at its end, where a person wrote a page of another form."""
    lines = page.splitlines()
    if _HEADER not in lines or _REFUSED not in lines:
        return f"{page.rstrip()}\n\n{_table(seen)}\n{_REFUSED}\n\n{_refusals(seen)}"
    lines = _longer(lines, lines.index(_HEADER), "|", (_row(*one) for one in seen))
    lines = _longer(lines, lines.index(_REFUSED) + 2, "- ", _refusals(seen).splitlines())
    return "\n".join([*lines, ""])


def _longer(lines: list[str], begin: int, mark: str, more: Iterable[str]) -> list[str]:
    """With more lines behind those from `begin` on that have the mark."""
    end = begin
    while end < len(lines) and lines[end].startswith(mark):
        end += 1
    return [*lines[:end], *more, *lines[end:]]


def _table(seen: Sequence[tuple[Batch, Seen]]) -> str:
    rows = "\n".join(_row(*one) for one in seen)
    return f"{_HEADER}\n{'|---' * (_HEADER.count('|') - 1)}|\n{rows}\n"


def _row(batch: Batch, seen: Seen) -> str:
    numbers = (
        seen.images, seen.boxes, len(seen.names), seen.captions, seen.phrases, seen.refused.total(),
    )  # fmt: skip
    return f"| {' | '.join(map(str, (batch.name, batch.split, batch.format, *numbers)))} |"


def _refusals(seen: Sequence[tuple[Batch, Seen]]) -> str:
    return "".join(f"- {batch.name}: {refusals_of(one)}.\n" for batch, one in seen)


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=1000)
