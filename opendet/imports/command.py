"""The command `opendet data import`. Light to import: what is heavy is imported when it is run."""

from pathlib import Path
from typing import Annotated

import typer

_SOME = "Files of some formats"


def import_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the build that is made.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="folder, coco, lvis, generateu, voc, yolo, visual_genome, flickr30k, refcoco, "
            "mdetr, openimages, odvg or grit.",
        ),
    ],
    images: Annotated[Path, typer.Option(help="The folder of the images.")],
    annotations: Annotated[
        list[Path] | None,
        typer.Option(
            help="The file or folder of the annotations; of YOLO, the file of class names. Given "
            "several times, each makes a batch."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    licence: Annotated[
        str, typer.Option(help="Of the images; else the card's, or `unknown`.")
    ] = "",
    title: Annotated[str, typer.Option(help="One line for people.")] = "",
    batch: Annotated[str, typer.Option(help="The batch's name; else the split's.")] = "",
    add_batch: Annotated[
        bool, typer.Option("--add-batch", help="Add to the card of a build that is there.")
    ] = False,
    list_: Annotated[
        Path | None,
        typer.Option("--list", help="The images to take, one a line.", rich_help_panel=_SOME),
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="COCO's captions.", rich_help_panel=_SOME)
    ] = None,
    refs: Annotated[
        Path | None, typer.Option(help="RefCOCO's expressions.", rich_help_panel=_SOME)
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="OpenImages' class names.", rich_help_panel=_SOME)
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="OpenImages' labels of images.", rich_help_panel=_SOME)
    ] = None,
    label_map: Annotated[
        Path | None, typer.Option(help="ODVG's class names.", rich_help_panel=_SOME)
    ] = None,
    masks: Annotated[
        bool, typer.Option("--masks", help="Read masks too.", rich_help_panel=_SOME)
    ] = False,
) -> None:
    """Make a build of images and annotations that lie somewhere, or add a batch to one.

    [cyan]opendet data import cells --format voc --images bccd/JPEGImages --annotations
    bccd/Annotations --list bccd/ImageSets/Main/train.txt --licence MIT[/cyan]

    The annotations are read once, by the reader that the build uses, and counted. Then
    datasets/NAME/source.yaml, its README.md and configs/NAME.yaml are written; nothing is copied,
    and nothing is overwritten.
    """
    from opendet.console import dress_logging, printable
    from opendet.imports.account import lines_of
    from opendet.imports.importing import Wanted, add_batches, import_build

    files = {
        "list": list_,
        "captions": captions,
        "refs": refs,
        "classes": classes,
        "labels": labels,
        "label_map": label_map,
    }
    wanted = Wanted(
        build=name,
        form=form,
        images=images,
        annotations=annotations or (),
        files={key: path for key, path in files.items() if path},
        options={"masks": True} if masks else {},
        split=split,
        licence=licence,
        batch=batch,
        title=title,
    )
    dress_logging()
    seen = (add_batches if add_batch else import_build)(wanted, Path.cwd())
    for one in seen:
        for line in lines_of(*one):
            typer.echo(printable(line))
    described = any(counted.names for _, counted in seen)
    first = "" if described else f"say in configs/{name}.yaml who captions and describes, then "
    typer.echo(f"next: {first}opendet data build --build {name}")
