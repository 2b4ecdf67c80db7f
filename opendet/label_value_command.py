"""The command `opendet data loop`. Light to import: what is heavy is imported when it is run."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opendet.programs import run_programs

if TYPE_CHECKING:
    from rich.table import Table

    from opendet.build import Build

REBUILT = ("filter", "prototypes", "shards", "train", "evaluate")
"""What a round makes anew."""


def loop_data(
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds in all; those that are done already count.")
    ] = 1,
    actors: Annotated[
        int | None,
        typer.Option(min=0, help="Ray actors; 0 runs in one process; else as the config says."),
    ] = None,
    address: Annotated[
        str,
        typer.Option(help="A Ray cluster's job server, http://...; else $OPENDET_RAY_ADDRESS."),
    ] = "",
) -> None:
    """Train, let the filter hear what training said of the names, and build and train anew.

    [cyan]opendet data loop --build demo[/cyan]

    Two rounds in all, each with a training of its own: [cyan]opendet data loop --rounds 2[/cyan]

    Needs train.signals and a rule of filter.label_value. A round is kept in datasets/label_value;
    killed, the command goes on where it was.
    """
    from opendet.build import Build
    from opendet.inspect.tables import show

    opened = Build.open(build)
    run = partial(run_programs, build=build, actors=actors, address=address)
    said = go_round(opened, rounds, run)
    show(standings_table(opened), *filter(None, (said, dvc_hint(opened))))


def go_round(build: "Build", rounds: int, run: Callable[[Sequence[str]], int]) -> str:
    """Build up to the evaluation, take what training said as a round, and so on until there are so
    many, with a build after the last; what there is to say then.

    Ends with typer.Exit where `run` of some stages fails. Raises ValueError, in one line, where the
    configuration makes no loop.
    """
    from opendet.curate.label_rounds import rounds_in, take_round
    from opendet.files import sha256_of
    from opendet.stage_order import choose_stages

    _require_loop(build)
    folder = rounds_folder(build)
    signals = build.stage_folder("train") / "signals.parquet"
    while True:
        if code := run(choose_stages((), "evaluate")):
            raise typer.Exit(code)
        with build.lock():
            taken = rounds_in(folder)
            if len(taken) >= rounds:
                return ""
            if taken and taken[-1].sha256 == sha256_of(signals):
                return f"round {len(taken)} refused nothing new: training has no more to say"
            take_round(signals, folder, standing(build))


def rounds_folder(build: "Build") -> Path:
    from opendet.curate.label_rounds import FOLDER

    return build.root / FOLDER / build.name


def standing(build: "Build") -> dict[str, float | None]:
    """What the metrics of its stages say."""
    sifted, judged = (_metrics(build, stage) for stage in ("filter", "evaluate"))
    trained = sifted.get("training", {})
    return {
        "kept": sifted["kept"],
        "refused": sum(sifted.get(f"refused.{reason}", 0) for reason in _against_names()),
        "precision": trained.get("precision"),
        "recall": trained.get("recall"),
        "agnostic_ap": judged.get("agnostic_ap"),
        "named_ap": judged.get("named_ap", {}).get("all"),
    }


def standings_table(build: "Build") -> "Table":
    """Round by round what the build had come to, and what it has come to now."""
    from rich import box
    from rich.table import Table

    from opendet.curate.label_rounds import rounds_in

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("trained on")
    for column in (
        "names",
        "refused by training",
        "of those wrong, %",
        "of the wrong found, %",
        "AP",
        "AP with names",
    ):
        table.add_column(column, justify="right")
    before = [one.before for one in rounds_in(rounds_folder(build))]
    for number, one in enumerate([*before, standing(build)]):
        what = f"after round {number}" if number else "the data as built"
        shares = [one["precision"], one["recall"], one["agnostic_ap"], one["named_ap"]]
        table.add_row(what, f"{one['kept']}", f"{one['refused']}", *map(_percent, shares))
    return table


def dvc_hint(build: "Build") -> str:
    """What to do where DVC tracks this build; empty where it does not."""
    from opendet.curate.label_rounds import FOLDER

    if not build.is_tracked:
        return ""
    return (
        f"`dvc commit -f {' '.join(REBUILT)}` tells DVC; keep {FOLDER}/{build.name} in git, or by "
        "`dvc add` where it is large"
    )


def _require_loop(build: "Build") -> None:
    where = f"configs/{build.name}.yaml"
    if not build.config.train.signals:
        raise ValueError(
            f"{where}: train.signals is off, so training says nothing of its labels: set it to true"
        )
    if not build.config.filter.label_value.judges:
        raise ValueError(
            f"{where}: no rule of filter.label_value is on, so the filter would hear nothing: set "
            "filter.label_value.min_agreement, such as to 0"
        )


def _metrics(build: "Build", stage: str) -> dict[str, Any]:
    path = build.folder / "metrics" / f"{stage}.json"
    metrics: dict[str, Any] = json.loads(path.read_text("utf-8"))[stage]
    return metrics


def _against_names() -> list[str]:
    from opendet.curate.label_value import AGAINST_NAMES

    return [reason.replace(" ", "_") for reason in AGAINST_NAMES]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
