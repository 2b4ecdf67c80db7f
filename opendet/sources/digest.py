"""By what a listing is known: whether a batch is still what it was when it was built."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from opendet.files import sha256_of
from opendet.sources.card import Batch, SourceCard
from opendet.sources.listing import Entry
from opendet.sources.yolo import read_class_names


def listing_digest(
    card: SourceCard, batch: Batch, entries: Sequence[Entry], listed: str, project_root: Path
) -> str:
    """A hash of what the records of some entries are made from, short of the images' own bytes.

    `listed` is the entries' `listing_text`. Annotations that a worker reads later, a file an image,
    are hashed by what is in them: size and time differ between machines and copies.
    """
    folder = project_root if batch.format == "scenes" else batch.folder(project_root)
    names = read_class_names(folder / batch.annotations) if batch.format == "yolo" else {}
    value = [
        card.name,
        card.scenes.model_dump(),
        batch.model_dump(exclude={"count", "checksums"}),
        sorted(names.items()),
        listed,
        [_content_digest(folder, entry) for entry in entries],
    ]
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _content_digest(folder: Path, entry: Entry) -> str:
    """Of the entry's annotation file; empty where it has none, or none that may be opened."""
    path = folder / entry.annotation_file
    return sha256_of(path) if entry.annotation_file and not entry.problem and path.is_file() else ""
