"""The command `opendet data lint`. Light to import: what is heavy is imported when it is run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opendet.console import FAILED, say_wrong

if TYPE_CHECKING:
    from rich.table import Table

    from opendet.inspect.lint import LintConfig, LintReport
    from opendet.inspect.lint_kinds import Place

UNREADABLE = 2
"""The code for data that cannot be looked at, so that FAILED says that something was found."""


def lint_data(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A file of ODVG or GroundingCap lines; without one, the shards of the build.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ] = None,
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    tokens: Annotated[
        int, typer.Option(min=3, help="The text encoder's budget, [CLS] and [SEP] among them.")
    ] = 256,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            help="A WordPiece vocab.txt: tokens are counted and not bounded.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="Places to show of each kind.")] = 3,
) -> None:
    """Find what would hurt training on grounding data without a word: boxes, spans, names, turns.

    A public file: [cyan]opendet data lint flickr_train_vg7.jsonl --vocabulary vocab.txt[/cyan]

    The shards of a build: [cyan]opendet data lint --build demo[/cyan]

    Ends with 1 if there is an error, with 0 if there are warnings alone, and with 2 for what
    cannot be looked at. Regions, boxes, phrases, tags and turns count from 0, lines from 1.
    """
    if path is not None and build:
        raise typer.BadParameter("name a file or a build, not both", param_hint="--build")
    from opendet.inspect.lint import LintConfig
    from opendet.inspect.lint_kinds import Severity

    try:
        report = _linted(path, build, LintConfig(tokens, vocabulary), first)
    except (ValueError, OSError) as error:
        say_wrong(str(error))
        raise typer.Exit(UNREADABLE) from error
    if as_json:
        typer.echo(json.dumps(report_json(report), indent=1))
    else:
        from opendet.inspect.tables import show

        show(*report_lines(report))
    if report.count(Severity.ERROR):
        raise typer.Exit(FAILED)


def report_json(report: "LintReport") -> dict[str, Any]:
    """The report as JSON: totals, and of each kind its severity, meaning, count, first places."""
    from opendet.inspect.lint_kinds import KINDS, Severity

    return {
        "images": report.images,
        "errors": report.count(Severity.ERROR),
        "warnings": report.count(Severity.WARNING),
        "kinds": {
            kind: {
                "severity": KINDS[kind][0],
                "means": KINDS[kind][1],
                "count": report.counts[kind],
                "first": [
                    {
                        "file": place.file,
                        "line": place.line,
                        "key": place.key,
                        "part": finding.part,
                        "says": finding.says,
                    }
                    for place, finding in report.places[kind]
                ],
            }
            for kind in report.kinds
        },
    }


def report_lines(report: "LintReport") -> "Iterator[Table | str]":
    """The first places of each kind, the table of counts, and the totals, for people."""
    from rich import box
    from rich.table import Table

    from opendet.inspect.lint_kinds import KINDS, Severity

    for kind in report.kinds:
        yield f"{KINDS[kind][0]} {kind}: {KINDS[kind][1]}"
        for place, finding in report.places[kind]:
            part = f", {finding.part}" if finding.part else ""
            yield f"  {place}{part}: {finding.says}"
    if report.kinds:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("kind", "severity"):
            table.add_column(name)
        table.add_column("count", justify="right")
        table.add_column("first places", overflow="fold")
        for kind in report.kinds:
            places = ", ".join(dict.fromkeys(_short(place) for place, _ in report.places[kind]))
            table.add_row(kind, KINDS[kind][0], str(report.counts[kind]), places)
        yield table
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    yield f"{report.images} images looked at: {errors} errors, {warnings} warnings"


def _short(place: "Place") -> str:
    """Without the file, which is one for all lines."""
    return place.key or ("" if place.line is None else f"line {place.line}")


def _linted(path: Path | None, build: str, config: "LintConfig", first: int) -> "LintReport":
    from opendet.inspect.lint import LintReport, lint_lines, lint_shards

    report = LintReport(first)
    if path is not None:
        return lint_lines(path, config, report)
    from opendet.build import Build

    return lint_shards(Build.open(build).stage_folder("shards"), config, report)
