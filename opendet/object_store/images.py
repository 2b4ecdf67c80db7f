"""The images of a batch that lie at an address: listed, and read in one request each."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from opendet.object_store.errors import StoreDeniedError, StoreError
from opendet.object_store.image_cache import ImageCache

if TYPE_CHECKING:
    from opendet.object_store.store import Store

PAUSES_S = (1.0, 4.0, 15.0)
"""Before each further try, on top of those that the store's own client makes."""


class OverlongError(ValueError):
    """An image is longer than it may be."""


@dataclass(frozen=True)
class StoredImages:
    """Opened where it is used first, in each process anew. Pickles; takes threads."""

    address: str
    cache: ImageCache | None = None

    def require_there(self) -> None:
        """Raises ValueError, in one line, where nothing lies at the address."""
        if not _opened(self.address, os.getpid()).is_there():
            raise ValueError(f"{self.address}: nothing lies there: mend the address")

    def names(self) -> Iterator[str]:
        """Of everything below the address, hidden ones left out, in no order."""
        for name in _opened(self.address, os.getpid()).facts_below(""):
            # S3's consoles make empty objects of folders' names.
            if (
                name
                and not name.endswith("/")
                and not any(step.startswith(".") for step in name.split("/"))
            ):
                yield name

    def read(self, name: str, *, most_bytes: int, sha256: str = "") -> bytes:
        """The bytes of an image; with its hash, the cache's where that has them.

        Raises FileNotFoundError where it is missing, OverlongError where it is longer, StoreError
        where the store does not answer for long, or refuses.
        """
        kept = self.cache.read(sha256) if self.cache and sha256 else None
        if kept is not None:
            return kept
        content = self._asked(name, most_bytes + 1)
        if len(content) > most_bytes:
            raise OverlongError(f"{self.address}: {name} has more than {most_bytes} bytes")
        if self.cache:
            self.cache.write(content)
        return content

    def _asked(self, name: str, most: int) -> bytes:
        store = _opened(self.address, os.getpid())
        for pause_s in PAUSES_S:
            try:
                return store.read_beginning(name, most)
            except StoreDeniedError:
                raise
            except StoreError:
                time.sleep(pause_s)
        return store.read_beginning(name, most)


@lru_cache
def _opened(address: str, _process: int) -> "Store":
    """Once in each process: a client's threads do not survive a fork."""
    from opendet.object_store.store import open_store  # heavy, and most builds need none

    return open_store(address)
