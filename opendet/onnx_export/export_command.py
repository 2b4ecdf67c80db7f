"""The command `opendet model export onnx`. Light to import."""

from pathlib import Path
from typing import Annotated

import typer

export = typer.Typer(
    help="Write a trained model for other runtimes.", rich_markup_mode="rich", no_args_is_help=True
)


@export.callback()
def _formats() -> None:
    pass


@export.command("onnx")
def export_to_onnx(
    model: Annotated[str, typer.Argument(help="A model's folder, or owner/name on the hub.")],
    out: Annotated[Path, typer.Argument(help="The folder to write, which is not there yet.")],
    revision: Annotated[str, typer.Option(help="Of a hub name: a branch, tag or commit.")] = "",
) -> None:
    """Write a model as ONNX graphs, which run without torch.

    [cyan]opendet model export onnx my-model my-model-onnx[/cyan]

    [cyan]opendet detect photo.jpg --onnx my-model-onnx[/cyan]
    """
    from opendet.exports.whole_folder import require_unused
    from opendet.hub.resolve import resolve_model
    from opendet.inspect.tables import show

    require_unused(out)
    folder = resolve_model(model, revision or None)
    from opendet.onnx_export.exporting import export_onnx

    card = export_onnx(folder, out)
    size = sum(stamp.bytes for stamp in card.files.values()) / 1e6
    show(
        f"{out}: {len(card.files)} files, {size:.1f} MB, the same as the model on images it was "
        "not written with"
    )
