"""The command `opendet data correct`. Light to import: what is heavy is imported when it is run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opendet.build import Build

REBUILT = ("filter", "prototypes", "shards")
"""What corrections change, up to the data."""


def correct_data(
    file: Annotated[Path, typer.Argument(help="An edited COCO JSON (instances) or CSV.")],
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    by: Annotated[str, typer.Option(help="Who corrected it, for the batch's own record.")] = "",
    tolerance: Annotated[
        float,
        typer.Option(min=0, help="Pixels that a side may be off and not be moved: tools round."),
    ] = 0.5,
) -> None:
    """Take back what people mended in an export: boxes moved, renamed, added or deleted.

    [cyan]opendet data export coco to-mend --images copy[/cyan], mend it in CVAT, Label Studio,
    FiftyOne or (as [cyan]csv[/cyan]) in a spreadsheet, then

    [cyan]opendet data correct to-mend/instances_train.json --by Ada[/cyan]

    The file is compared with what the build's shards say now. An image that it
    lists has the objects that it lists, and no others; an image that it does not
    list stays as it is. The batch is kept in datasets/corrections,
    and the stage filter lets it have the last word: for the shards that it
    touches alone.
    """
    from opendet.build import Build
    from opendet.console import printable
    from opendet.corrections.giving import give_corrections
    from opendet.exports.shard_records import ShardRecords
    from opendet.shard_set import ShardSet

    opened = Build.open(build)
    require_corrections(opened)
    with opened.lock():
        shards = ShardSet.open(opened.stage_folder("shards"))
        records = ShardRecords(shards, refused=False)
        folder = corrections_folder(opened)
        batch, account = give_corrections(file, records, folder, by=by, tolerance=tolerance)
    typer.echo(printable(f"{file.name} is {batch.name} of {opened.name}: {account.line}"))
    typer.echo(f"`opendet data build {' '.join(REBUILT)} --build {opened.name}` applies it")


def corrections_folder(build: "Build") -> Path:
    from opendet.corrections.batches import FOLDER

    return build.root / FOLDER / build.name


def require_corrections(build: "Build") -> None:
    """Raises ValueError where the filter would not listen."""
    if not build.config.filter.corrections:
        raise ValueError(
            f"configs/{build.name}.yaml: filter.corrections is false, so nothing would be applied: "
            "set it to true"
        )
