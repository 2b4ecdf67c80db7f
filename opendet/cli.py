"""The command line `opendet`. Nothing heavy is imported before a command needs it."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opendet import __version__
from opendet.annotate.annotate_command import annotate_folder
from opendet.answers.command import show_answers
from opendet.cards.card_command import dataset_card
from opendet.console import FAILED, exit_code_of, say_wrong
from opendet.corrections.command import correct_data
from opendet.detect_command import detect_images
from opendet.evaluation.annotator_command import judge_annotated
from opendet.evaluation.judge_command import judge_results
from opendet.exports.command import export_data
from opendet.imports.command import import_data
from opendet.inspect.inspect_command import inspect_path
from opendet.inspect.lint_command import lint_data
from opendet.label_value_command import loop_data
from opendet.model_commands import model
from opendet.object_store.command import fetch_data, publish_data
from opendet.pools.command import pool
from opendet.programs import run_programs
from opendet.telemetry import switch_off_telemetry
from opendet.vocabulary_command import write_names

if TYPE_CHECKING:
    from opendet.build import Build
    from opendet.manifest import Manifest

# The arguments are typed by annotations that typer reads, so they stay real at run time.
BuildName = Annotated[
    str,
    typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
]
Actors = Annotated[
    int | None,
    typer.Option(min=0, help="Ray actors; 0 runs in one process; else as the config says."),
]
Address = Annotated[
    str,
    typer.Option(help="A Ray cluster's job server, http://...; else $OPENDET_RAY_ADDRESS."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

app = typer.Typer(
    name="opendet",
    help=f"Images in, curated and verified training data and an open-ended detector out. "
    f"({__version__})",
    epilog="Begin with [cyan]opendet doctor[/cyan], then [cyan]opendet data build[/cyan].",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(
    help="Build, check and look into the data of a build.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)
app.add_typer(data, name="data")
app.add_typer(model, name="model")
app.add_typer(pool, name="pool")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line; the program `opendet`. Always ends with SystemExit."""
    switch_off_telemetry()
    sys.exit(exit_code_of(partial(_run, sys.argv[1:] if arguments is None else list(arguments))))


def _run(arguments: list[str]) -> int:
    app(args=arguments, prog_name="opendet")  # Ends with SystemExit, or with what a user must mend.
    return 0


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Print the version and end."
        ),
    ] = False,
) -> None:
    pass


# --- making things


@data.command("build")
def build_data(
    stages: Annotated[
        list[str] | None,
        typer.Argument(metavar="STAGE", help="Stages to run; without any, all data stages."),
    ] = None,
    build: BuildName = "",
    until: Annotated[str, typer.Option(help="The last stage, such as filter or report.")] = "",
    actors: Actors = None,
    address: Address = "",
) -> None:
    """Run the stages that make the data, in their order; what is made already stays.

    Everything up to the shards: [cyan]opendet data build[/cyan]

    With training, evaluation and report: [cyan]opendet data build --until report[/cyan]

    Two stages of another build: [cyan]opendet data build filter shards --build coco_tiny[/cyan]
    """
    from opendet.stage_order import choose_stages

    _end(run_programs(choose_stages(stages or (), until), build, actors, address))
    from opendet.inspect.stats import ledgers
    from opendet.inspect.tables import ledger_table, show

    show(ledger_table(ledgers(_opened(build))))


@data.command()
def retry(
    stage: Annotated[str, typer.Argument(help="A stage with quarantined samples.")],
    build: BuildName = "",
) -> None:
    """Try the quarantined samples of a stage again, and nothing else.

    [cyan]opendet data retry caption[/cyan]

    The stages after it are made anew by [cyan]opendet data build[/cyan], for changed shards only.
    """
    from opendet.stage_order import SAMPLE_STAGES, known_stage

    if known_stage(stage) not in SAMPLE_STAGES:
        raise ValueError(f"{stage} makes one thing of all shards and quarantines no sample")
    opened = _opened(build)
    before = opened.manifest(stage) if _is_built(opened, stage) else None
    if before and not _quarantined(before):
        typer.echo(f"nothing of {stage} is quarantined")
        return
    _end(run_programs((stage,), build, None, retrying=True))
    after = opened.manifest(stage)
    left = _quarantined(after)
    told = "1 sample is" if left == 1 else f"{left} samples are"
    typer.echo(f"{stage}: {told} quarantined now")
    if after != before and opened.is_tracked:
        typer.echo(f"`dvc commit -f {stage}` tells DVC; else its cache may bring the old part back")


@app.command()
def train(build: BuildName = "", actors: Actors = None, address: Address = "") -> None:
    """Train the detector on the build's shards; killed, it goes on where it was.

    [cyan]opendet train --build demo[/cyan]
    """
    _end(run_programs(("train",), build, actors, address))


@app.command()
def evaluate(build: BuildName = "", actors: Actors = None, address: Address = "") -> None:
    """Measure the trained detector on the held-out split.

    [cyan]opendet evaluate --build demo[/cyan]
    """
    _end(run_programs(("evaluate",), build, actors, address))


@app.command()
def report(build: BuildName = "", actors: Actors = None, address: Address = "") -> None:
    """Write the build's HTML page.

    [cyan]opendet report --build demo[/cyan]
    """
    _end(run_programs(("report",), build, actors, address))


@app.command()
def blend(
    first: Annotated[Path, typer.Argument(help="A model's folder.")],
    second: Annotated[Path, typer.Argument(help="One of the same shape, as fine-tuned from it.")],
    out: Annotated[Path, typer.Option(help="A folder that is not there yet.")],
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the second model; 0 is the first.")
    ] = 0.5,
) -> None:
    """Average two models weight by weight: a fine-tuned one that need not forget (WiSE-FT).

    [cyan]opendet blend general fine-tuned --share 0.5 --out both[/cyan]
    """
    from opendet.train.blend import blend as blend_models

    blend_models(first, second, share=share, out=out)


# --- looking into things


@data.command()
def verify(build: BuildName = "") -> None:
    """Check every byte of a build against its manifests, and every sample against the ledger.

    [cyan]opendet data verify --build demo[/cyan]

    Ends with 1 and a line for each problem if there is any.
    """
    from opendet.inspect.tables import show, verdict_table
    from opendet.inspect.verify import verify_build

    verdicts = verify_build(_opened(build))
    show(verdict_table(verdicts))
    problems = [problem for verdict in verdicts for problem in verdict.problems]
    for problem in problems:
        say_wrong(problem)
    _end(FAILED if problems else 0)


@data.command()
def stats(build: BuildName = "", as_json: AsJson = False) -> None:
    """What each stage took in, kept, dropped and why; names, captions and boxes.

    [cyan]opendet data stats[/cyan]

    [cyan]opendet data stats --build demo --json[/cyan]
    """
    import json
    from dataclasses import asdict

    from opendet.inspect.stats import build_stats
    from opendet.inspect.tables import show, stats_lines

    found = build_stats(_opened(build))
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        show(*stats_lines(found))


@data.command()
def why(
    key: Annotated[str, typer.Argument(help="A sample's key, such as train-000003.")],
    build: BuildName = "",
) -> None:
    """Tell a sample's whole story: origin, caption, regions, and which stage refused it and why.

    [cyan]opendet data why train-000003[/cyan]
    """
    from opendet.inspect.story import story_lines, tell_story
    from opendet.inspect.tables import show

    show(*story_lines(tell_story(_opened(build), key)))


@app.command()
def doctor() -> None:
    """Look whether this machine and this project have all that Open-Det needs.

    [cyan]opendet doctor[/cyan]
    """
    from opendet.inspect.doctor import examine
    from opendet.inspect.tables import check_table, show

    checks = examine(Path.cwd())
    show(check_table(checks))
    _end(FAILED if any(check.fails for check in checks) else 0)


data.command("answers")(show_answers)
data.command("card")(dataset_card)
data.command("correct")(correct_data)
data.command("export")(export_data)
data.command("fetch")(fetch_data)
data.command("import")(import_data)
data.command("judge")(judge_annotated)
data.command("lint")(lint_data)
data.command("loop")(loop_data)
data.command("publish")(publish_data)
app.command("annotate")(annotate_folder)
app.command("detect")(detect_images)
app.command("inspect")(inspect_path)
app.command("judge")(judge_results)
app.command("vocabulary")(write_names)


# --- what the commands share


def _opened(name: str) -> "Build":
    from opendet.build import Build

    return Build.open(name)


def _is_built(build: "Build", stage: str) -> bool:
    return (build.stage_folder(stage) / "manifest.json").is_file()


def _quarantined(manifest: "Manifest") -> int:
    return sum(len(part.quarantined) for part in manifest.parts)


def _end(code: int) -> None:
    if code:
        raise typer.Exit(code)


if __name__ == "__main__":
    main()
