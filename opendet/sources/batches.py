"""A batch of a card, listed: the one place that knows every format."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from opendet.files import sha256_of
from opendet.sources.card import USED, Batch, SourceCard, variables_of
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
    asked = {PARAMETERS.get(name, name): getattr(batch, name) for name in USED[batch.format]}
    return READERS[batch.format](root, batch=batch.name, **asked)


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
