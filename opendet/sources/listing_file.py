"""What a batch lists, on disk: a file a chunk, so that nobody ever holds all of it.

JSON that escapes whatever is not ASCII: a source's words may hold halves of characters.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from opendet.sources.listing import Entry


def listing_text(entries: Sequence[Entry]) -> str:
    """The entries as JSON; the same ones give the same text."""
    return json.dumps(msgspec.to_builtins(entries), sort_keys=True)


def read_listing(path: Path) -> list[Entry]:
    """The entries of a file that holds a `listing_text`."""
    return msgspec.convert(json.loads(path.read_text("utf-8")), list[Entry])
