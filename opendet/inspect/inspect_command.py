"""The command `opendet inspect`. Light to import: what is heavy is imported when it is run."""

from pathlib import Path
from typing import Annotated

import typer

from opendet.console import FAILED, say_wrong


def inspect_path(
    path: Annotated[
        Path,
        typer.Argument(help="A build's folder, a stage's, one of shards, a .tar or a .parquet."),
    ],
    key: Annotated[
        str | None, typer.Argument(help="One sample's key, such as train-000003: its whole story.")
    ] = None,
    at: Annotated[
        int | None, typer.Option(min=0, help="One sample by its place, from 0, in KEY's stead.")
    ] = None,
    picture: Annotated[
        bool, typer.Option(help="Show the sample's picture, where the terminal can.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Something of the kind to compare it with.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write static pages into a new folder.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show the pages on this machine alone; Ctrl-C ends it.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 takes any.")] = 8787,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the pages of --html or --serve in a browser.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read and compare every byte, pictures too.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=0, help="That share the work; else one a core; 0 for none.")
    ] = None,
    tell_time: Annotated[
        bool, typer.Option("--time", help="Say on stderr how long it took.")
    ] = False,
) -> None:
    """Look into a build or any folder of shards: what is in it, what is not whole, one sample.

    Counts, names, scores, sizes, refusals:  [cyan]opendet inspect datasets/demo[/cyan]

    One sample's story, with its picture:  [cyan]opendet inspect datasets/demo train-000003[/cyan]

    Pages to click through:  [cyan]opendet inspect datasets/demo --html pages --open[/cyan]

    What is damaged is named on stderr and ends it with 1; all that is whole is shown.
    """
    wanted = key if key is not None else at
    _check_together(key, at, for_all=bool(against or html or serve))
    if open_page and not (html or serve):
        raise typer.BadParameter("no page to open: add --html DIR or --serve", param_hint="--open")
    if (as_json or verify) and (html or serve):
        raise typer.BadParameter(
            "pages are written without it: leave out --html and --serve",
            param_hint="--json" if as_json else "--verify",
        )
    from opendet.inspect import inspector
    from opendet.inspect.collection import open_collection
    from opendet.inspect.elapsed import teller

    tell = teller(wanted=tell_time)
    collection = open_collection(path)
    other = open_collection(against) if against else None
    if wanted is not None:
        troubles = inspector.show_sample(
            collection, wanted, picture=picture, as_json=as_json, tell=tell
        )
    elif html or serve:
        from opendet.inspect.inspect_pages import show_pages

        troubles = show_pages(
            collection,
            other,
            html=html,
            port=port if serve else None,
            opens=open_page,
            processes=processes,
        )
    else:
        troubles = inspector.show_summary(
            collection, other, as_json=as_json, processes=processes, verify=verify
        )
    tell("all was shown")
    for line in troubles:
        say_wrong(line)
    if troubles:
        raise typer.Exit(FAILED)


def _check_together(key: str | None, at: int | None, *, for_all: bool) -> None:
    """Raises BadParameter for what has no use for each other."""
    if key is not None and at is not None:
        raise typer.BadParameter("name a key or a place, not both", param_hint="--at")
    if for_all and (key is not None or at is not None):
        raise typer.BadParameter(
            "one sample has no pages and nothing to compare it with: leave it out, or --against, "
            "--html and --serve"
        )
