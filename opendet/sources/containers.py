"""Drawn images on disk: one Parquet file per chunk of a batch, columns `key` and `content`."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from opendet.schema import write_table

ROWS_PER_GROUP = 32
_SCHEMA = pa.schema(
    [pa.field("key", pa.string(), nullable=False), pa.field("content", pa.binary(), nullable=False)]
)


def container_name(batch: str, chunk: int) -> str:
    """The file that holds the drawn images of a batch's chunk, counted from 0."""
    return f"images-{batch}-{chunk:06d}.parquet"


def write_images(path: Path, items: Iterable[tuple[str, bytes]]) -> None:
    """Write (key, content) in their order; the same items give the same bytes.

    Writes to `path` itself: the caller's commit protocol makes it durable.
    """
    rows = list(items)
    columns = [[key for key, _ in rows], [content for _, content in rows]]
    table = pa.table(columns, schema=_SCHEMA)
    # images are compressed already, and no two are alike
    write_table(
        path,
        table,
        row_group_size=ROWS_PER_GROUP,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
    )


class ImageContainer:
    """Reads images by key, a row group at a time; from several threads, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        keys = pq.read_table(path, columns=["key"]).column("key").to_pylist()
        self._row_of = {key: row for row, key in enumerate(keys)}
        self._loaded: tuple[int, list[bytes]] = (-1, [])

    def read(self, key: str) -> bytes:
        """Raises KeyError for a key that is not in the file."""
        group, row = divmod(self._row_of[key], ROWS_PER_GROUP)
        loaded, contents = self._loaded  # one look, since another thread may load meanwhile
        if loaded != group:
            with pq.ParquetFile(self._path) as file:
                table = file.read_row_group(group, columns=["content"])
            contents = table.column("content").to_pylist()
            self._loaded = (group, contents)
        return contents[row]
