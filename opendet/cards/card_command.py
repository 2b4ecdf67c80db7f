"""The commands `opendet data card` and `opendet model card`. Light to import: what is heavy is
imported when they are run."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path | None, typer.Option(help="A folder for the card; else it is printed.")]


def dataset_card(
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    out: Out = None,
    croissant: Annotated[
        bool, typer.Option("--croissant", help="Print the Croissant JSON-LD instead of the card.")
    ] = False,
    published: Annotated[
        str, typer.Option(help="When the data is published, YYYY-MM-DD; no date by itself.")
    ] = "",
) -> None:
    """Write a build's card: counts, licences, who said what, what was dropped, and known limits.

    [cyan]opendet data card --build demo[/cyan]

    [cyan]opendet data card --out my-release[/cyan]

    The folder gets README.md, for the Hugging Face hub too, and croissant.json: put the build's
    shards beside them, as my-release/shards.
    """
    from opendet.cards.about_build import about_for_release
    from opendet.cards.dataset_card import croissant_text, dataset_card_text, write_cards
    from opendet.files import require_folder_place

    if out and croissant:
        raise ValueError("--croissant prints, and --out writes both files: leave one of them out")
    if published:
        require_date(published)
    if out:
        require_folder_place(out)
        require_own_card(out)
    about = about_for_release(build, published)
    if out:
        write_cards(out, about)
        typer.echo(f"{out / 'README.md'}, {out / 'croissant.json'}")
    else:
        typer.echo((croissant_text if croissant else dataset_card_text)(about), nl=False)


def model_card(
    folder: Annotated[Path, typer.Argument(help="A model's folder.")],
    out: Out = None,
    licence: Annotated[
        str, typer.Option(help="That its owner has chosen for the weights, such as apache-2.0.")
    ] = "",
) -> None:
    """One page on a trained model: what it is, what it was trained on, how well it does.

    [cyan]opendet model card datasets/demo/train/model[/cyan]

    [cyan]opendet model card my-model --licence apache-2.0 --out my-model[/cyan]
    """
    from opendet.cards.data_files import README
    from opendet.cards.model_card import model_card_text
    from opendet.files import require_folder_place, write_durably

    if out:
        require_folder_place(out)
        require_own_card(out)
    text = model_card_text(folder, licence=licence)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_durably(out / README, text.encode())
        typer.echo(str(out / README))


def require_date(text: str) -> None:
    """Raises ValueError for what is no day of the calendar."""
    try:
        plain = date.fromisoformat(text).isoformat() == text
    except ValueError:
        plain = False
    if not plain:
        raise ValueError(f"--published {text} is no date: write it as 2026-01-31")


def require_own_card(folder: Path) -> None:
    """Raises ValueError where a person's README.md would be lost: the header of ours says so."""
    path = folder / "README.md"
    header = path.read_bytes().split(b"\n---\n")[0] if path.exists() else b""
    if header and not (header.startswith(b"---\n") and b"\n- open-det" in header):
        raise ValueError(f"{path} was written by hand: name another folder, or move it away")
