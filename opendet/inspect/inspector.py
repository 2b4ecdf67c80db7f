"""What `opendet inspect` shows of a collection in a terminal: a sample, a summary, a comparison.

Each shows all that is whole, and gives back a line for each thing that is not.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from opendet.inspect.collection import Collection
from opendet.inspect.elapsed import Tell
from opendet.inspect.sample_story import Look, key_at, look_at
from opendet.inspect.story import story_lines
from opendet.inspect.tables import show

if TYPE_CHECKING:
    from opendet.inspect.summary import Summary


# --- one sample


def show_sample(
    collection: Collection, wanted: str | int, *, picture: bool, as_json: bool, tell: Tell
) -> Sequence[str]:
    """One sample by its key, or by its place from 0. Raises ValueError for an unknown one."""
    look = look_at(collection, wanted if isinstance(wanted, str) else key_at(collection, wanted))
    tell("the sample was read")
    if as_json:
        _print_json(_look_json(look))
        return look.troubles
    undrawn = _show_picture(look) if picture and look.content else []
    show(*story_lines(look.story))
    return [*look.troubles, *undrawn]


def _show_picture(look: Look) -> list[str]:
    from rich.console import Console

    from opendet.inspect.terminal_picture import Way, show_picture, way_of

    console = Console(highlight=False, markup=False, emoji=False)
    way = way_of(console, os.environ)
    if way is Way.NONE or look.story.record is None:
        return []
    from opendet.sources.images import decode_upright

    try:
        image = decode_upright(look.content)
    except ValueError as error:
        return [f"{look.story.key}: its picture cannot be shown: {error}"]
    show_picture(console, way, image, look.story.record)
    return []


def _look_json(look: Look) -> dict[str, Any]:
    from opendet.schema import record_to_json

    record = look.story.record
    return {
        "key": look.story.key,
        "stages": [asdict(chapter) for chapter in look.story.chapters],
        "record": json.loads(record_to_json(record)) if record else None,
        "troubles": list(look.troubles),
    }


# --- all of them


def show_summary(
    collection: Collection,
    against: Collection | None,
    *,
    as_json: bool,
    processes: int | None,
    verify: bool,
) -> Sequence[str]:
    """What there is, in numbers; of two collections what differs."""
    from opendet.inspect.summary import summary_json

    here = _summarised(collection, processes, verify)
    if against is not None:
        there = _summarised(against, processes, verify)
        _show_comparison(here, there, as_json=as_json)
        return [*here.troubles, *there.troubles]
    if as_json:
        _print_json(summary_json(here))
    else:
        from opendet.inspect.summary_tables import summary_lines

        show(*summary_lines(here))
    return here.troubles


def _show_comparison(here: "Summary", there: "Summary", *, as_json: bool) -> None:
    from opendet.inspect.summary_compare import comparison_json, comparison_lines

    if as_json:
        _print_json(comparison_json(here, there))
    else:
        show(*comparison_lines(here, there))


def _summarised(collection: Collection, processes: int | None, verify: bool) -> "Summary":
    from opendet.inspect.summary import summary_of

    with _advancing(collection) as advance:
        return summary_of(collection, processes=processes, verify=verify, advance=advance)


@contextmanager
def _advancing(collection: Collection) -> Iterator[Callable[[int], None] | None]:
    """A bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from opendet.progress import progress

    with progress(f"reading {collection.name}", collection.samples_count) as advance:
        yield advance


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))
