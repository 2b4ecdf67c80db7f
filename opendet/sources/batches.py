"""A batch of a card, listed: the one place that knows every format."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from opendet.files import sha256_of
from opendet.sources.card import Batch, SourceCard, variables_of
from opendet.sources.coco import list_coco
from opendet.sources.containers import container_name
from opendet.sources.flickr30k import list_flickr30k
from opendet.sources.folder import list_folder
from opendet.sources.generateu import list_generateu
from opendet.sources.grit import list_grit
from opendet.sources.listing import Entry
from opendet.sources.lvis import list_lvis
from opendet.sources.mdetr import list_mdetr
from opendet.sources.odvg import list_odvg
from opendet.sources.openimages import list_openimages
from opendet.sources.refcoco import list_refcoco
from opendet.sources.visual_genome import list_visual_genome
from opendet.sources.voc import list_voc
from opendet.sources.yolo import list_yolo

_BOXES = {"annotations": "annotations"}
_READERS: dict[str, tuple[Callable[..., list[Entry]], dict[str, str]]] = {
    "folder": (list_folder, {}),
    "coco": (list_coco, {**_BOXES, "captions": "captions", "masks": "masks"}),
    "lvis": (list_lvis, {**_BOXES, "masks": "masks"}),
    "generateu": (list_generateu, _BOXES),
    "voc": (list_voc, {**_BOXES, "names": "list"}),
    "yolo": (list_yolo, {**_BOXES, "listed": "list"}),
    "visual_genome": (list_visual_genome, _BOXES),
    "flickr30k": (list_flickr30k, {**_BOXES, "names": "list", "sentence": "sentence"}),
    "refcoco": (
        list_refcoco,
        {**_BOXES, "refs": "refs", "ref_split": "ref_split", "masks": "masks"},
    ),
    "mdetr": (list_mdetr, _BOXES),
    "openimages": (
        list_openimages,
        {**_BOXES, "classes": "classes", "labels": "labels", "names": "list"},
    ),
    "odvg": (list_odvg, {**_BOXES, "label_map": "label_map", "merge": "merge"}),
    "grit": (list_grit, _BOXES),
}
"""Format -> its reader, and what it asks beyond root, batch and images: parameter -> the batch's
field."""

CHUNK = 256
"""Entries that are checked together. Scenes are drawn into a file per chunk, so that this number
is part of where they lie."""


def list_batch(card: SourceCard, batch: Batch, project_root: Path) -> list[Entry]:
    """All entries of a batch, sorted by key, problems included.

    Raises ValueError, in one line, where a folder or an annotation file is missing, broken, or not
    what its checksum says.
    """
    if batch.format == "scenes":
        return _list_scenes(card, batch)
    root = batch.folder(project_root)
    check_folder(root / batch.images, card, batch)
    _check_sums(root, batch)
    if batch.format in ("voc", "visual_genome", "flickr30k"):
        check_folder(root / batch.annotations, card, batch)
    read, options = _READERS[batch.format]
    asked = {parameter: getattr(batch, knob) for parameter, knob in options.items()}
    return read(root, batch=batch.name, images=batch.images, **asked)


def chunks(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """The entries of one batch, `CHUNK` at a time."""
    for start in range(0, len(entries), CHUNK):
        yield entries[start : start + CHUNK]


def _list_scenes(card: SourceCard, batch: Batch) -> list[Entry]:
    return [
        Entry(
            key=f"{batch.name}-{index:06d}",
            batch=batch.name,
            file=container_name(batch.name, index // CHUNK),
            declared_size=(card.scenes.size, card.scenes.size),
            scene=index,
        )
        for index in range(batch.count)
    ]


def check_folder(folder: Path, card: SourceCard, batch: Batch) -> None:
    """Raises ValueError, in one line that says how to mend it, where there is no such folder."""
    if folder.is_dir():
        return
    names = " and ".join(variables_of(batch.root))
    mend = f"set {names}, or mend its root" if names else "mend its root"
    raise ValueError(
        f"source {card.name}, batch {batch.name}: no folder {folder} (root is {batch.root}): "
        f"{mend} in source.yaml"
    )


def _check_sums(root: Path, batch: Batch) -> None:
    for name, expected in batch.checksums.items():
        path = root / name
        if not path.is_file():
            raise ValueError(f"{path} is missing: batch {batch.name} has a checksum for it")
        found = sha256_of(path)
        if found != expected.lower():
            raise ValueError(
                f"{path} has SHA-256 {found}, batch {batch.name} of source.yaml expects {expected}:"
                " fetch the file again, or mend the checksum"
            )
