"""A batch of a card, listed: the one place that knows every format."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from opendet.files import sha256_of
from opendet.sources.card import Batch, SourceCard, variables_of
from opendet.sources.coco import list_coco
from opendet.sources.containers import container_name
from opendet.sources.folder import list_folder
from opendet.sources.listing import Entry
from opendet.sources.voc import list_voc

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
    match batch.format:
        case "folder":
            return list_folder(root, batch=batch.name, images=batch.images)
        case "coco":
            return list_coco(
                root,
                batch=batch.name,
                images=batch.images,
                annotations=batch.annotations,
                captions=batch.captions,
            )
        case "voc":
            check_folder(root / batch.annotations, card, batch)
            return list_voc(
                root,
                batch=batch.name,
                images=batch.images,
                annotations=batch.annotations,
                names=batch.list,
            )


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
