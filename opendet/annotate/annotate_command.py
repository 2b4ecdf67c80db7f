"""The command `opendet annotate`. Light to import: what is heavy is imported when it is run."""

from contextlib import chdir
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from opendet.console import say_wrong

if TYPE_CHECKING:
    from opendet.annotate.wish import Wish

UNKNOWN = "unknown"
"""A licence that nobody has told."""


def annotate_folder(
    photographs: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="JPEG, PNG and WebP files, at any depth.")
    ],
    out: Annotated[Path, typer.Option(help="The data set: a folder that is new, or begun.")],
    detector: Annotated[
        str,
        typer.Option(
            help="Who draws the boxes: a hub's name, a model's folder, or an .onnx file; else "
            "Grounding DINO for --names, and Florence-2 without them."
        ),
    ] = "",
    names: Annotated[
        str,
        typer.Option(help="What to look for: cat,dog or a file with a name a line; else anything."),
    ] = "",
    captioner: Annotated[
        str, typer.Option(help="A vision-language model that writes captions; else there are none.")
    ] = "",
    start_from: Annotated[
        str, typer.Option(help="A model of ours that `opendet train` is to begin with.")
    ] = "",
    licence: Annotated[str, typer.Option(help="Of the photographs.")] = UNKNOWN,
    actors: Annotated[
        int | None, typer.Option(min=0, help="Ray actors; 0 runs in one process.")
    ] = None,
    opens: Annotated[
        bool, typer.Option("--open/--no-open", help="Show the pages in a browser at the end.")
    ] = True,
) -> None:
    """Annotate a folder of photographs: boxes, names, shards, and pages to look at them.

    [cyan]opendet annotate holiday --out holiday-data --names person,dog,boat[/cyan]

    Without a hub: [cyan]opendet annotate holiday --out holiday-data --detector yolov8n.onnx[/cyan]

    Killed, the same call goes on where it was. OUT is a project of its own afterwards:
    [cyan]cd holiday-data; opendet train[/cyan]
    """
    from opendet.annotate.project import begin
    from opendet.console import dress_logging
    from opendet.programs import run_programs
    from opendet.stage_order import choose_stages

    dress_logging()
    wish = _wish(photographs, detector, names, captioner, licence, start_from)
    build = begin(wish, out)
    with chdir(out):  # a build's project is the current folder
        if code := run_programs(choose_stages(()), build, actors):
            raise typer.Exit(code)
    _tell(out, build)
    _show_pages(out, build, opens=opens)


def _wish(
    photographs: Path, detector: str, names: str, captioner: str, licence: str, start_from: str
) -> "Wish":
    """The options as they hold in any folder: paths absolute, the default detector named.

    Raises ValueError, in one line, for a folder without images.
    """
    from opendet.annotate.detectors import FREE, NAMED
    from opendet.annotate.wish import Wish
    from opendet.media.inputs import expand
    from opendet.name_list import read_names

    if not photographs.is_dir():
        raise ValueError(f"{photographs} is no folder: name the folder of your photographs")
    if not any(isinstance(one, Path) for one in expand([str(photographs)]).shown):
        raise ValueError(f"{photographs} holds films alone: name a folder of photographs")
    listed = read_names(names) if names else ()
    return Wish(
        photographs=str(photographs.resolve()),
        detector=_placed(detector) or (NAMED if listed else FREE),
        names=listed,
        captioner=_placed(captioner),
        licence=licence or UNKNOWN,
        start_from=_placed(start_from),
    )


def _placed(model: str) -> str:
    """A path of this machine absolute; a hub's name as it is."""
    path = Path(model).expanduser()
    return str(path.resolve()) if model and path.exists() else model


def _tell(out: Path, build: str) -> None:
    """What was made, and what can be done with it."""
    from opendet.build import Build
    from opendet.inspect.stats import ledgers
    from opendet.inspect.tables import ledger_table, show

    show(ledger_table(ledgers(Build.open(build, root=out))))
    show(*_next_steps(out, build))


def _next_steps(out: Path, build: str) -> tuple[str, ...]:
    return (
        f"{out} is a project now: cd {quote(str(out))}",
        "  opendet data export coco annotations     # or yolo, voc, odvg-mmdet, ...",
        "  opendet train                            # then: opendet detect photo.jpg",
        f"  configs/{build}.yaml has every knob; opendet data build makes anew what is changed",
    )


def _show_pages(out: Path, build: str, *, opens: bool) -> None:
    """Writes the pages, unless they are younger than the shards; what somebody else has written in
    their place stays."""
    import shutil
    import webbrowser

    from opendet.inspect.collection import open_collection
    from opendet.inspect.tables import show
    from opendet.pages.write import write_pages

    folder, pages = out / "datasets" / build, out / "pages"
    index = pages / "index.html"
    if not index.is_file() or _is_older(index, folder / "shards" / "manifest.json"):
        if index.is_file():
            shutil.rmtree(pages)
        write_pages(open_collection(folder), pages)
    show(f"pages: {index}")
    if opens and not webbrowser.open(index.resolve().as_uri()):
        say_wrong(f"no browser here: open {index} yourself")


def _is_older(path: Path, other: Path) -> bool:
    return path.stat().st_mtime_ns < other.stat().st_mtime_ns
