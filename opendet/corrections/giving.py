"""An edited file against what the build's shards say: the next batch of corrections."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from opendet.corrections.batches import (
    Batch,
    Correction,
    Corrections,
    add_batch,
    batches_in,
    corrections_in,
)
from opendet.corrections.comparing import edits_between
from opendet.corrections.edited_file import EditedImage, checked_objects, read_edited
from opendet.corrections.edits import Edit, Seen, same_place
from opendet.files import sha256_of
from opendet.record import Record
from opendet.sources.listing import clean_text, printable

TOLERANCE = 0.5
"""Pixels that a side may be off and not be moved: tools round."""


@dataclass
class Account:
    """What became of a file."""

    images: int = 0
    """With an edit at least."""
    edits: Counter[str] = field(default_factory=Counter)
    """Moved, renamed, added and deleted ones; `again` of those that an earlier batch changed."""
    unchanged: int = 0
    unknown: int = 0
    """Images that the build's shards do not have."""
    left_alone: Counter[str] = field(default_factory=Counter)
    """Reason -> images of which nothing was believed."""

    @property
    def line(self) -> str:
        """`3 images: 1 moved, 2 renamed, 0 added, 0 deleted, 14 unchanged; ...`."""
        kinds = (f"{self.edits[kind]} {kind}" for kind in ("moved", "renamed", "added", "deleted"))
        told = [f"{_images(self.images)} corrected: {', '.join(kinds)}"]
        told.append(f"{self.unchanged} unchanged")
        told += [f"{self.edits['again']} corrected before, the later wins"] * (
            "again" in self.edits
        )
        told += [f"{self.unknown} unknown {'image' if self.unknown == 1 else 'images'}"]
        reasons = sorted(self.left_alone.items())
        told += [f"left as it was: {_images(count)} ({reason})" for reason, count in reasons]
        return "; ".join(told)


def give_corrections(
    path: Path,
    records: Iterable[Record],
    folder: Path,
    *,
    by: str,
    tolerance: float = TOLERANCE,
) -> tuple[Batch, Account]:
    """Write the next batch of `folder` from an edited file and the records that were exported.

    Raises ValueError, in one line, where the file is broken, was given before, or corrects nothing.
    """
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"a tolerance is a number of pixels, 0 or more, not {tolerance}")
    edited = read_edited(path)
    sha256 = sha256_of(path)
    for batch in batches_in(folder):
        if batch.given.get("file_sha256") == sha256:
            raise ValueError(f"{path} is {batch.name} already: edit it further first")
    account = Account()
    earlier = corrections_in(folder)
    corrections = list(_corrections(edited, records, earlier, account, tolerance))
    if not corrections:
        raise ValueError(f"{path} corrects nothing: {account.line}")
    given = {
        "by": clean_text(by),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "file": printable(path.name),
        "file_sha256": sha256,
        "edits": dict(sorted(account.edits.items())),
    }
    return add_batch(folder, corrections, given), account


def _corrections(
    edited: Sequence[EditedImage],
    records: Iterable[Record],
    earlier: Corrections,
    account: Account,
    tolerance: float,
) -> Iterable[Correction]:
    """Of each image that the records have; adds to the account."""
    wanted = _Wanted(edited)
    for record in records:
        image = wanted.take(record)
        if image is None:
            continue
        objects, problem = checked_objects(image, record)
        if problem:
            account.left_alone[problem] += 1
            continue
        edits, unchanged = edits_between(record.regions, objects, tolerance=tolerance)
        account.unchanged += unchanged
        if edits:
            account.images += 1
            account.edits.update(kind for edit in edits for kind in edit.kinds)
            if again := _corrected_before(edits, record.key, earlier):
                account.edits["again"] += again
            yield Correction(record.key, tuple(edits))
    account.unknown = wanted.left


_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of a file that is uploaded to it."""


class _Wanted:
    """The images of an edited file, each to be found once: by key, else by its file, else by a file
    that is called like a key."""

    def __init__(self, edited: Sequence[EditedImage]) -> None:
        self._by_key = {one.key: one for one in edited if one.key}
        self._by_file = {one.file: one for one in edited if not one.key}
        stems = {file: PurePosixPath(file).stem for file in self._by_file}
        self._files = {_UPLOADED.sub("", stem, count=1): file for file, stem in stems.items()}
        self._files |= {stem: file for file, stem in stems.items()}
        self.left = len(edited)
        if len(self._by_key) + len(self._by_file) < len(edited):
            counted = Counter(one.key or one.file for one in edited).most_common(1)
            raise ValueError(
                f"{printable(counted[0][0])} is listed twice: an image is listed once, with all of "
                "its objects"
            )
        self._several: set[str] = set()

    def take(self, record: Record) -> EditedImage | None:
        """Raises ValueError where it cannot be told which image is meant."""
        if record.file in self._several:
            raise ValueError(
                f"several images of the build lie in {printable(record.file)}: say by its key "
                "(opendet_key in COCO) which one is meant"
            )
        if record.file in self._by_file:
            self._several.add(record.file)
        found = self._by_key.pop(record.key, None) or self._by_file.pop(record.file, None)
        if found is None and (file := self._files.get(record.key)):
            found = self._by_file.pop(file, None)
        self.left -= found is not None
        return found


def _corrected_before(edits: Iterable[Edit], key: str, earlier: Corrections) -> int:
    """How many of the edits speak of an object that an earlier batch spoke of."""
    known = [
        seen
        for _, said in earlier.of(key)
        for edit in said
        for seen in (edit.was, edit.now)
        if seen is not None
    ]
    return sum(_is_among(edit.was or edit.now, known) for edit in edits)


def _is_among(seen: Seen | None, known: Iterable[Seen]) -> bool:
    return seen is not None and any(same_place(seen.box_xyxy, one.box_xyxy) for one in known)


def _images(count: int) -> str:
    return f"{count} {'image' if count == 1 else 'images'}"
