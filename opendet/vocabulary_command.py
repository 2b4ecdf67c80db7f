"""The command `opendet vocabulary`. Light to import: what is heavy is imported when it is run."""

from pathlib import Path
from typing import Annotated

import typer

OV_COCO = ("ov_coco", "ov_coco_base", "ov_coco_novel")


def write_names(
    names: Annotated[
        str,
        typer.Argument(
            help="cat,dog, a file with a name a line, the JSON of COCO or LVIS, or one of "
            f"{', '.join(OV_COCO)}."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
) -> None:
    """Write names with their text vectors, for a detector that has no text encoder.

    [cyan]opendet vocabulary cat,dog --out pets.safetensors[/cyan]

    The tower is the one that taught the build's detector names; then, as often as you like:
    [cyan]opendet detect photo.jpg --vocabulary pets.safetensors[/cyan]
    """
    from opendet.build import Build
    from opendet.inspect.tables import show
    from opendet.model.vocabulary import encode_vocabulary, write_vocabulary
    from opendet.train.text_tower import tower_of

    if out.is_dir():
        raise ValueError(f"{out} is a folder: name the file to write")
    if out.suffix != ".safetensors":
        raise ValueError(f"--out {out} does not end in .safetensors: give it this ending")
    listed = names_in(names)
    opened = Build.open(build)
    cache = opened.work("text", "towers").root
    tower, template = tower_of(opened.stage_folder("clip"), opened.config.text, cache=cache)
    made = encode_vocabulary(listed, tower, template)
    write_vocabulary(out, made)
    show(f"{out}: {len(made.names)} names as `{template}`, {made.width} numbers each")


def names_in(given: str) -> tuple[str, ...]:
    """Raises ValueError, in one line, for what names nothing."""
    from opendet.name_list import read_names

    if given in OV_COCO:
        return _ov_coco(given.removeprefix("ov_coco").lstrip("_"))
    if given.startswith("ov_") and "," not in given and not Path(given).is_file():
        raise ValueError(f"{given} is no list that we know: take one of {', '.join(OV_COCO)}")
    return _of_json(Path(given)) if Path(given).suffix == ".json" else read_names(given)


def _of_json(path: Path) -> tuple[str, ...]:
    from opendet.pools.vocabulary import read_vocabulary

    names = (" ".join(entry.name.split()) for entry in read_vocabulary(path))
    if not (found := tuple(dict.fromkeys(name for name in names if name))):
        raise ValueError(f"{path} names nothing: all its names are empty")
    return found


def _ov_coco(group: str) -> tuple[str, ...]:
    """All 65 where no group is named."""
    from opendet.evaluation.open_vocabulary import ov_coco_split

    groups = ov_coco_split()
    return groups[group] if group else tuple(name for own in groups.values() for name in own)
