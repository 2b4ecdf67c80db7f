"""The commands `opendet pool`. Light to import: what is heavy is imported when it is run."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(help="A pool's folder, such as datasets/demo/prototypes.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a page.")]

pool = typer.Typer(
    help="Look into prototype pools, compare them, and make one of vectors in files.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)


@pool.command("card")
def show_card(
    folder: Folder,
    vocabulary: Annotated[
        Path | None,
        typer.Option(help="Names to cover: LVIS's or COCO's categories, a JSON list, or a text."),
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(help="Real vectors, .npy or .npz, to find the prototypes of their names."),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(help="The names of --vectors, a line each; cat|kitten: either is right."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder for card.md and card.json; else printed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One page on a pool: what is good about it, what is not, and by which bar.

    [cyan]opendet pool card datasets/demo/prototypes[/cyan]

    [cyan]opendet pool card my-pool --vocabulary lvis_v1_train_cat_info.json --out my-card[/cyan]
    """
    if names is not None and vectors is None:
        raise ValueError("--names are those of --vectors: name the vectors too")
    from opendet.files import require_folder_place
    from opendet.pools.card import card_json, card_of, write_card
    from opendet.pools.card_page import card_page

    if out:
        require_folder_place(out)
    card = card_of(folder, vocabulary=vocabulary, vectors=vectors, names=names)
    page = card_page(card)
    if out:
        write_card(out, card, page)
        typer.echo(f"{out / 'card.md'}, {out / 'card.json'}")
    else:
        typer.echo(json.dumps(card_json(card), indent=1) if as_json else page, nl=as_json)


@pool.command("diff")
def diff(
    before: Folder,
    after: Folder,
    same_from: Annotated[
        float,
        typer.Option(min=0, max=1, help="Cosine from which two prototypes may be the same."),
    ] = 0.9,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """What two pools differ in: names, and prototypes that are new, gone, moved, split or merged.

    [cyan]opendet pool diff old/prototypes datasets/demo/prototypes[/cyan]
    """
    from opendet.pools.diff import diff_pools

    found = diff_pools(before, after, same_from=same_from)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
        return
    from opendet.inspect.tables import show
    from opendet.pools.diff_lines import diff_lines

    show(*diff_lines(found))


@pool.command("look")
def look(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Where the picture goes: a .svg, or a .html page.")],
) -> None:
    """Draw a pool in the plane: prototypes that are alike lie side by side, the largest named.

    [cyan]opendet pool look datasets/demo/prototypes --out pool.html[/cyan]
    """
    if out.suffix not in (".svg", ".html"):
        raise ValueError(f"--out {out} is neither .svg nor .html: give it one of these endings")
    from opendet.evaluation.report import render_pool, render_pool_svg
    from opendet.evaluation.report_pool import pool_picture
    from opendet.files import write_durably
    from opendet.pools.figures import figures
    from opendet.pools.health import read_measures
    from opendet.pools.levels import LEVELS, read_sound_pool, vectors_of

    read = read_sound_pool(folder)
    picture = pool_picture(read.prototypes, {one: vectors_of(read, one) for one in LEVELS})
    if picture is None:
        raise ValueError(f"{folder} has a single prototype: there is nothing to lay out")
    name = folder.resolve().name
    if out.suffix == ".svg":
        page = render_pool_svg(name, picture)
    else:
        page = render_pool(name, picture, figures(read.health, read_measures(folder, read)))
    write_durably(out, page.encode())
    typer.echo(f"{out}: {len(picture.dots)} of {picture.of} {picture.level} prototypes")


@pool.command("build")
def build(
    vectors: Annotated[list[Path], typer.Argument(help=".npy or .npz files, a row for each name.")],
    out: Annotated[Path, typer.Option(help="A folder that is empty or not there yet.")],
    names: Annotated[
        list[Path] | None,
        typer.Option(help="The names of each file, in the files' order; .npz may bring its own."),
    ] = None,
    coarse: Annotated[int, typer.Option(min=1, help="Coarse clusters.")] = 1203,
    eps: Annotated[
        float, typer.Option(min=1e-6, max=2, help="Cosine distance within a fine cluster.")
    ] = 0.03,
    min_samples: Annotated[
        int, typer.Option(min=1, help="Neighbours, itself included, that make a fine cluster.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the clustering.")] = 0,
) -> None:
    """Make a pool of vectors in files, such as published text vectors, without a build.

    [cyan]opendet pool build lvis.npy oid.npy --names lvis.json --names oid.json --out p[/cyan]

    Its stability over seeds is measured too; [cyan]opendet pool card p[/cyan] tells.
    """
    from opendet.curate.prototypes import PrototypesConfig
    from opendet.pools.make import make_pool

    config = PrototypesConfig(coarse=coarse, eps=eps, min_samples=min_samples, seed=seed)
    health = make_pool(vectors, names or [], out, config).health
    left_out = health.left_out_not_finite + health.left_out_zero
    of = f"of {health.vectors + left_out} vectors, {left_out} left out" if left_out else "vectors"
    typer.echo(
        f"{out}: {health.coarse} coarse and {health.fine} fine prototypes of {health.vectors} {of}"
    )
