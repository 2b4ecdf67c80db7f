"""Which samples a part speaks of: those that it holds, and those that left the flow there."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from opendet.manifest import PartCommit
from opendet.shard_reader import read_index


def keys_out(folder: Path, part: PartCommit) -> list[str]:
    """The keys of what a sample stage's part holds, in its order.

    Raises ValueError where its file is missing or damaged.
    """
    place = folder / part.shard.name
    if place.with_suffix(".tar").name in part.files:
        return [entry.key for entry in read_index(place.with_suffix(".idx"))]
    return record_keys(place.with_suffix(".parquet"))


def keys_gone(part: PartCommit) -> list[str]:
    """The keys of what was dropped or quarantined."""
    return [*(entry.key for entry in part.dropped), *(entry.key for entry in part.quarantined)]


def record_keys(path: Path) -> list[str]:
    """The keys of a file of records, read without the rest of them.

    Raises ValueError, in one line, where it is missing or damaged.
    """
    try:
        keys = pq.read_table(path, columns=["key"]).column("key")
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: `opendet data verify` says what else is") from error
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{path} is no readable file of records: {first_line}") from error
    return [str(key) for key in keys.to_pylist()]
