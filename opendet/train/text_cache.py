"""What a text tower said of each text, on disk: a frozen tower never needs to be asked twice.

One Arrow file for each revision of a tower, with the texts as they were asked, template included.
A file is replaced whole, so many processes may read while one writes; writers wait for each other.
N texts, D width.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
from numpy.typing import NDArray

from opendet.files import write_durably

Vectors = NDArray[np.float32]

_DAMAGE = (pa.ArrowException, OSError, LookupError, SystemError)
"""What pyarrow raises for a file with a wrong bit in its structure."""


class Tower(Protocol):
    """A frozen text tower."""

    revision: str

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """(N, D) unit rows."""
        ...


class CachedTower:
    """A tower that asks the one inside only for texts that no process has asked for yet."""

    def __init__(self, tower: Tower, folder: Path) -> None:
        self.revision = tower.revision
        self._tower = tower
        self._path = folder / f"{tower.revision}.arrow"

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """(N, D) unit rows. Of two processes that ask at once, both get the first one's answer.

        Raises ValueError for a file that is damaged.
        """
        wanted = list(dict.fromkeys(texts))
        if not wanted:
            return self._tower.encode_texts([])
        known, rows = self._read()
        if missing := [text for text in wanted if text not in known]:
            with _alone(self._path.with_suffix(".lock")):
                known, rows = self._read()  # another may have written meanwhile
                missing = [text for text in missing if text not in known]
                known, rows = self._append(known, rows, missing)
        return rows[[known[text] for text in texts]]

    def _append(
        self, known: dict[str, int], rows: Vectors, missing: list[str]
    ) -> tuple[dict[str, int], Vectors]:
        if not missing:
            return known, rows
        new = np.asarray(self._tower.encode_texts(missing), np.float32)
        rows = np.concatenate((rows, new)) if len(rows) else new
        known = {**known, **{text: len(known) + i for i, text in enumerate(missing)}}
        _write(self._path, list(known), rows)
        return known, rows

    def _read(self) -> tuple[dict[str, int], Vectors]:
        """Text -> its row, and the rows (N, D)."""
        if not self._path.is_file():
            return {}, np.zeros((0, 0), np.float32)
        try:
            table = feather.read_table(self._path)
            column = table["vector"].combine_chunks()
            rows = column.flatten().to_numpy().reshape(len(table), -1)
            texts = table["text"].to_pylist()
            known = {text: row for row, text in enumerate(texts)}
            if len(known) < len(texts) or not _are_units(rows):
                raise ValueError("a text is there twice, or a row is no unit vector")
        except (*_DAMAGE, ValueError) as error:
            said = " ".join(str(error).split())[:100]
            raise ValueError(f"{self._path} is damaged ({said}): remove it") from error
        return known, rows


def _are_units(rows: Vectors) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):  # what a wrong bit makes is what is sought
        return bool(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=0.01))


def _write(path: Path, texts: list[str], rows: Vectors) -> None:
    width = rows.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), width)
    sink = pa.BufferOutputStream()
    table = pa.table({"text": pa.array(texts, pa.string()), "vector": vectors})
    feather.write_feather(table, sink, compression="uncompressed")
    write_durably(path, sink.getvalue().to_pybytes())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits for other writers; the kernel lets go of the lock of one that dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
