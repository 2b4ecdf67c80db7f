"""The command `opendet data answers`. Light to import: what is heavy is imported when it is run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opendet.answers.store import KindStats


def show_answers(
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    pack: Annotated[
        bool,
        typer.Option("--pack", help="Put each kind's answers in order, for quick finding."),
    ] = False,
    remove_idle: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS", min=0, help="Remove kinds that nobody has used for so many days."
        ),
    ] = None,
    remove: Annotated[
        str, typer.Option(metavar="KIND", help="Remove one kind, by the name in the table.")
    ] = "",
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all answers as lines of JSON.")
    ] = None,
) -> None:
    """Show what models said and the store of a build keeps; pack, remove or export it.

    [cyan]opendet data answers --remove-idle 90[/cyan]

    Answers that are removed are asked for again by the next build that needs them. Stop builds
    that use the store first.
    """
    from opendet.answers.store import kinds_of
    from opendet.build import Build
    from opendet.console import printable
    from opendet.inspect.tables import answers_table, show

    if sum((pack, remove_idle is not None or bool(remove), export is not None)) > 1:
        raise ValueError("give one of --pack, --export, and --remove or --remove-idle")
    opened = Build.open(build)
    store = opened.answer_store
    if store is None:
        raise ValueError(f"{opened.name} keeps no answers: its run.answers is empty")
    if export is not None:
        typer.echo(printable(f"{export}: {_export(store, export)} answers"))
        return
    if remove or remove_idle is not None:
        typer.echo(printable(_removed(store, remove, remove_idle)))
        return
    if pack:
        typer.echo(printable(_packed(store)))
    kinds = list(kinds_of(store))
    show(answers_table(kinds), f"{store}: the answers of all builds that name this store")


def _packed(store: Path) -> str:
    from opendet.answers.store import kinds_of, pack_kind

    numbers = [pack_kind(store, kind.name) for kind in kinds_of(store)]
    return f"packed {sum(numbers)} answers of {len(numbers)} kinds"


def _removed(store: Path, name: str, idle_days: float | None) -> str:
    from opendet.answers.store import kinds_of, remove_kind

    kinds = list(kinds_of(store))
    if name and name not in {kind.name for kind in kinds}:
        there = ", ".join(kind.name for kind in kinds) or "none"
        raise ValueError(f"no kind is called {name}; there are {there}")

    def goes(kind: "KindStats") -> bool:
        return kind.name == name or (idle_days is not None and kind.idle_days >= idle_days)

    gone = [kind for kind in kinds if goes(kind)]
    for kind in gone:
        remove_kind(store, kind.name)
    answers = sum(kind.answers for kind in gone)
    return f"removed {answers} answers of {len(gone)} kinds; {len(kinds) - len(gone)} kinds stay"


def _export(store: Path, file: Path) -> int:
    """Every answer as a line: its kind, its key and what was said."""
    import json

    from opendet.answers.segments import Segments
    from opendet.answers.store import kinds_of
    from opendet.exports.whole_files import whole_files

    if file.is_dir():
        raise ValueError(f"{file} is a folder: name a file to write")
    number = 0
    with whole_files(file.parent) as file_of:
        lines = file_of(file.name)
        for kind in kinds_of(store):
            for key, text in Segments(store / kind.name).texts():
                line = {"kind": kind.kind, "key": key.hex(), "answer": json.loads(text)}
                lines.write(json.dumps(line).encode() + b"\n")
                number += 1
    return number
