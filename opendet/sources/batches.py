"""A batch of a card, listed: the one place that knows every format."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from opendet.files import sha256_of
from opendet.object_store.images import StoredImages
from opendet.sources.card import USED, Batch, SourceCard, variables_of
from opendet.sources.coco import list_coco
from opendet.sources.containers import container_name
from opendet.sources.flickr30k import list_flickr30k
from opendet.sources.folder import list_folder
from opendet.sources.generateu import list_generateu
from opendet.sources.grit import list_grit
from opendet.sources.listing import Entry, entry_of, in_order
from opendet.sources.lvis import list_lvis
from opendet.sources.mdetr import list_mdetr
from opendet.sources.odvg import list_odvg
from opendet.sources.openimages import list_openimages
from opendet.sources.refcoco import list_refcoco
from opendet.sources.visual_genome import list_visual_genome
from opendet.sources.voc import list_voc
from opendet.sources.yolo import list_yolo

READERS: dict[str, Callable[..., list[Entry]]] = {
    "folder": list_folder,
    "coco": list_coco,
    "lvis": list_lvis,
    "generateu": list_generateu,
    "voc": list_voc,
    "yolo": list_yolo,
    "visual_genome": list_visual_genome,
    "flickr30k": list_flickr30k,
    "refcoco": list_refcoco,
    "mdetr": list_mdetr,
    "openimages": list_openimages,
    "odvg": list_odvg,
    "grit": list_grit,
}
"""Format -> its reader, whose parameters are the fields that the card lets that format use."""
PARAMETERS = {"list": "names"}
"""Of fields whose name means something else in Python."""

BY_FOLDER = ("folder", "voc", "yolo", "openimages")
"""Formats whose images are those of a folder, where no list names them."""
BOXLESS = ("folder",)
"""Formats whose images need no boxes."""

log = logging.getLogger(__name__)

CHUNK = 256
"""Entries that are checked together. Scenes are drawn into a file per chunk, so that this number
is part of where they lie."""


def list_batch(card: SourceCard, batch: Batch, project_root: Path) -> list[Entry]:
    """All entries of a batch, sorted by key, problems included.

    Raises ValueError, in one line, where a folder or an annotation file is missing, broken, or not
    what its checksum says, and where nothing is listed at all.
    """
    if batch.format == "scenes":
        return _list_scenes(card, batch)
    root = batch.folder(project_root)
    check_images(card, batch, project_root)
    _check_sums(root, batch)
    if batch.format in ("voc", "visual_genome", "flickr30k"):
        check_folder(root / batch.annotations, card, batch, key="annotations")
    asked = {PARAMETERS.get(name, name): getattr(batch, name) for name in USED[batch.format]}
    if batch.address:
        asked["images"] = ""  # what a store has is called by its name below the address
    if batch.address and batch.format == "folder":
        names = StoredImages(batch.address).names()
        entries = in_order(entry_of(batch.name, "", name) for name in names)
    else:
        entries = READERS[batch.format](root, batch=batch.name, **asked)
    if not entries:
        where = "images" if batch.format in BY_FOLDER else "annotations"
        where = "list" if batch.list else where
        path = batch.address or root / getattr(batch, where)
        raise ValueError(f"{_of(card, batch)}: {path} lists no image: mend its `{where}`")
    return entries


def require_worth(
    card: SourceCard,
    batch: Batch,
    *,
    images: int,
    boxes: int,
    texts: int,
    refused: Mapping[str, int],
) -> None:
    """Raises ValueError, in one line, where a batch as a whole is not what its card says.

    That is where none of its images can be taken, or none has a box in a format that is for boxes,
    and no text either: then a warning says so. `refused` counts reasons.
    """
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
    if not images:
        raise ValueError(
            f"{_of(card, batch)}: no image of it can be taken ({told}): mend it in source.yaml"
        )
    if boxes or batch.format in BOXLESS:
        return
    said = f"{_of(card, batch)}: none of its {images} images has a box"
    if not texts:
        raise ValueError(
            f"{said}: mend its annotations, or say `format: folder` for images without any"
        )
    log.warning("%s, only texts", said)


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


def check_images(card: SourceCard, batch: Batch, project_root: Path) -> None:
    """Raises ValueError, in one line that says how to mend it, where a batch's images are nowhere:
    a disk that is not mounted must not send every image to the quarantine."""
    if batch.address:
        StoredImages(batch.address).require_there()
    else:
        check_folder(batch.folder(project_root) / batch.images, card, batch)


def check_folder(folder: Path, card: SourceCard, batch: Batch, *, key: str = "images") -> None:
    """Raises ValueError, in one line that says how to mend it, where there is no such folder.

    `key` is the batch's that names the folder below its root.
    """
    if folder.is_dir():
        return
    below = str(getattr(batch, key))
    root = folder.parents[len(Path(below).parts) - 1] if Path(below).parts else folder
    if root.is_dir():
        file = " (it is a file)" if folder.exists() else ""
        raise ValueError(
            f"{_of(card, batch)}: no folder of {key} {folder}{file}: "
            f"mend its `{key}`, {below}, in source.yaml"
        )
    names = " and ".join(variables_of(batch.root))
    mend = f"set {names}, or mend its `root`" if names else "mend its `root`"
    raise ValueError(
        f"{_of(card, batch)}: no folder {root} (root is {batch.root}): {mend} in source.yaml"
    )


def _of(card: SourceCard, batch: Batch) -> str:
    return f"source {card.name}, batch {batch.name}"


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
