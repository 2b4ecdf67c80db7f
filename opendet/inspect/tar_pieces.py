"""Reads as much of a shard as is whole, and says what is not.

`opendet.shard_reader` stops at the first fault, as training must; a reader for people goes on.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from opendet.inspect.pieces import Piece, Trouble
from opendet.inspect.tar_layout import Located, tar_layout, tells_of
from opendet.record import Record
from opendet.sample import Sample
from opendet.shard_reader import Entry, read_record, read_sample
from opendet.shards import IMAGE_EXTENSIONS, KEY, Member

_EXTENSIONS = "|".join(IMAGE_EXTENSIONS)
_SPAN = r"(\d{1,18}) (\d{1,18})"
"""Offset and size of a member, as an index has them."""


def tar_count(path: Path) -> int:
    """How many samples the index beside a shard says there are, else its headers."""
    index = path.with_suffix(".idx")
    if index.is_file():
        with index.open("rb") as file:
            head = re.fullmatch(rb"v1\.2 (\d{1,9})", file.readline(80).rstrip())
        if head:
            return int(head[1])
    return len(tar_layout(path)[0])


def tar_records(piece: Piece) -> Iterator[Record | Trouble]:
    """The records of a shard. Of the pictures nothing but the headers is read."""
    layout, wrong = tar_layout(piece.path)
    with piece.path.open("rb") as file:
        for located in layout:
            yield _record(file, located, piece)
    yield from (Trouble(piece.path.name, line) for line in wrong)


def tar_samples(piece: Piece) -> Iterator[Sample | Trouble]:
    """The samples of a shard with `content`; each image is compared with its record's sha256."""
    layout, wrong = tar_layout(piece.path)
    with piece.path.open("rb") as file:
        for located in layout:
            yield _sample(file, located, piece)
    yield from (Trouble(piece.path.name, line) for line in wrong)


def find_in_tar(piece: Piece, key: str, *, thorough: bool) -> Sample | Trouble | None:
    """The sample of a key, by its byte ranges.

    The index is searched first, in no time; only a `thorough` search asks whether it tells of all
    that is there, and walks the shard where it does not.
    """
    located = _indexed(piece.path, key)
    if located is None and thorough:
        located = next((one for one in tar_layout(piece.path)[0] if one.key == key), None)
    if located is None:
        return None
    with piece.path.open("rb") as file:
        return _sample(file, located, piece)


def _indexed(path: Path, key: str) -> Located | None:
    """Where the index has a key, if the headers there agree."""
    index = path.with_suffix(".idx")
    if not (KEY.fullmatch(key) and index.is_file()):
        return None
    line = rf"^({_EXTENSIONS}) {_SPAN} {key}\.\1 json {_SPAN} {key}\.json$"
    found = re.search(line.encode(), index.read_bytes(), re.MULTILINE)
    if found is None:
        return None
    image = Member(key, found[1].decode(), int(found[2]), int(found[3]))
    record = Member(key, "json", int(found[4]), int(found[5]))
    with path.open("rb") as file:
        agree = tells_of(file, image) and tells_of(file, record)
    return Located(key, image, record) if agree else None


# --- one sample


def _record(file: BinaryIO, located: Located, piece: Piece) -> Record | Trouble:
    record, trouble = _read(file, located, piece)
    if trouble is not None:
        return trouble
    assert record is not None
    return record


def _sample(file: BinaryIO, located: Located, piece: Piece) -> Sample | Trouble:
    record, trouble = _read(file, located, piece)
    if trouble is not None:
        return trouble
    assert located.image is not None
    assert located.record is not None
    try:
        return read_sample(file, Entry(located.image, located.record), where=piece.path.name)
    except ValueError as error:
        return _trouble(piece, str(error), record)


def _read(file: BinaryIO, located: Located, piece: Piece) -> tuple[Record | None, Trouble | None]:
    """The record, and what is wrong with the sample as far as records and headers tell."""
    if located.record is None:
        return None, _trouble(piece, f"{located.key} has no record")
    image = located.image or located.record  # an entry needs one; its key is all that is looked at
    try:
        if not tells_of(file, located.record):
            raise ValueError(f"{located.record.name} is cut off or has a damaged header")
        record = read_record(file, Entry(image, located.record), where=piece.path.name)
    except ValueError as error:
        return None, _trouble(piece, str(error))
    return record, _doubts(file, located, piece, record)


def _doubts(file: BinaryIO, located: Located, piece: Piece, record: Record) -> Trouble | None:
    """What is wrong with a sample whose record is whole."""
    if located.image is None:
        return _trouble(piece, f"the picture of {record.key} is missing", record)
    if not tells_of(file, located.image):
        said = f"{located.image.name} is cut off or has a damaged header"
        return _trouble(piece, said, record)
    for what, of_record, of_piece in (
        ("batch", record.batch, piece.batch),
        ("split", record.split, piece.split),
    ):
        if of_piece and of_record != of_piece:
            said = f"{record.key} is of the {what} {of_record!r}, the shard of {of_piece!r}"
            return _trouble(piece, said, record)
    return None


def _trouble(piece: Piece, said: str, record: Record | None = None) -> Trouble:
    where = piece.path.name
    return Trouble(where, said.removeprefix(f"{where}: "), record)
