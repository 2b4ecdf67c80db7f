"""The commands `opendet model ...`. Light to import: what is heavy is imported when it is run."""

import typer

from opendet.cards.card_command import model_card
from opendet.onnx_export.export_command import export

model = typer.Typer(
    help="Look into a trained model's folder, and hand it on.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)
model.command("card")(model_card)
model.add_typer(export, name="export")
