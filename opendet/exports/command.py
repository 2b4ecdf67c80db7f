"""The command `opendet data export`. Light to import: what is heavy is imported when it is run."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opendet.exports.shard_records import ShardRecords

SPLITS = ("train", "val", "test", "all")


def export_data(
    to: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="coco, lvis, voc, yolo, csv, generateu, groundingcap, odvg-mmdet, "
            "odvg-opengdino, grit, huggingface or fiftyone.",
        ),
    ],
    out: Annotated[Path, typer.Argument(help="A folder that is empty or not there yet.")],
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "all",
    refused: Annotated[
        bool, typer.Option("--refused", help="Keep the regions that the stage filter refused.")
    ] = False,
    images: Annotated[
        str,
        typer.Option(
            help="coco, lvis, voc, yolo: copy writes the images too, by their keys; link makes "
            "hard links of the source's files, where the disk has them."
        ),
    ] = "none",
    min_boxes: Annotated[
        int,
        typer.Option(min=0, help="groundingcap: leave out images of fewer boxes; its own rule: 3."),
    ] = 0,
    max_iou: Annotated[
        float,
        typer.Option(
            help="groundingcap: leave out a box that overlaps one of its phrase by more; its own "
            "rule: 0.9."
        ),
    ] = 1.0,
) -> None:
    """Write a build's shards as the annotation files of another tool.

    [cyan]opendet data export coco my-export --split val[/cyan]

    [cyan]opendet data export groundingcap caps --min-boxes 3 --max-iou 0.9[/cyan]

    [cyan]opendet data export huggingface my-export[/cyan], then
    [cyan]datasets.load_dataset("my-export")[/cyan]

    [cyan]huggingface[/cyan] and [cyan]fiftyone[/cyan] hold the images. All others name
    them by their paths below the source's root, unless [cyan]--images[/cyan] has them
    written too; drawn scenes, which are no files of their own, by their keys all the same.
    [cyan]coco[/cyan] and [cyan]csv[/cyan] come back by `opendet data correct`.
    """
    from opendet.build import Build
    from opendet.console import interrupt_on_sigterm, printable
    from opendet.exports.formats import shard_writer_of
    from opendet.exports.groundingcap import CapRules
    from opendet.exports.shard_records import ShardRecords
    from opendet.exports.whole_folder import require_unused, whole_folder
    from opendet.shard_set import ShardSet

    write = shard_writer_of(to, CapRules(min_boxes, max_iou), images=images)
    if split not in SPLITS:
        raise ValueError(f"no split is called {split!r}; there are {', '.join(SPLITS)}")
    require_unused(out)  # before the shards are verified, which takes minutes
    opened = Build.open(build)
    folder = opened.stage_folder("shards")
    shards = ShardSet.open(folder, split=None if split == "all" else split)
    records = ShardRecords(shards, refused=refused)
    interrupt_on_sigterm()
    with whole_folder(out) as half:
        left_out = write(records, half, opened)
    typer.echo(printable(f"{out}: {account_of(records, left_out, form=to)}"))


def account_of(records: "ShardRecords", left_out: Counter[str], *, form: str) -> str:
    """One line: what was written, what the format has no place for, what was dropped, and how not.

    Writers count a whole image under a word that begins with `image`, and a box under `crowd` or
    one that begins with `box`.
    """
    from opendet.exports.with_images import PLACES

    images = records.images - _lost(left_out, "image")
    boxes = records.boxes - _lost(left_out, "box", "crowd")
    dropped = {what: count for what, count in left_out.items() if _is_dropped(what)}
    unsaid = {what: count for what, count in left_out.items() if what not in dropped}
    told = [f"{_counted(images, 'image')}, {_counted(boxes, 'object')} written"]
    if any(unsaid.values()):
        told.append(f"{form} has no place for: {_listed(unsaid)}")
    if any(dropped.values()):
        told.append(f"dropped: {_listed(dropped)}")
    if left_out["image (same file as another)"] and form in PLACES:
        told.append("--images copy tells images of one file name apart")
    return "; ".join(told if len(told) > 1 else [*told, "nothing is left out"])


_DROPPED = ("refused box", "broken mask", "absent, yet present")
_SEVERAL = {
    "absent": ("name known to be absent", "names known to be absent"),
    "absent, yet present": ("absent name that is there", "absent names that are there"),
    "partial": ("name boxed in part", "names boxed in part"),
}
"""Words that an s does not make a plural, as one and as many are called."""


def _is_dropped(what: str) -> bool:
    """Whether the format would have had a place for it."""
    return _kind_of(what) in ("image", "box") or what in _DROPPED


def _kind_of(what: str) -> str:
    """`image`, `box` or another first word; a `box check` is no box."""
    return "" if what == "box check" else what.split()[0]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(_counted(count, what) for what, count in sorted(counts.items()) if count)


def _counted(count: int, what: str) -> str:
    if what in _SEVERAL:
        one, many = _SEVERAL[what]
        return f"{count} {one if count == 1 else many}"
    noun, mark, rest = what, "", ""
    if _kind_of(what) in ("image", "box", "comma", "character"):
        noun, mark, rest = what.partition(" ")
    ending = "" if count == 1 else "es" if noun.endswith("box") else "s"
    return f"{count} {noun}{ending}{mark}{rest}"


def _lost(left_out: Counter[str], *kinds: str) -> int:
    return sum(count for what, count in left_out.items() if _kind_of(what) in kinds)
