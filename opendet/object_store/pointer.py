"""`current.json`, the one object that changes: it names the version that readers take.

On S3 it is replaced on the condition that it still is what it was when the publication began, so of
two publications that race one wins and the other is told. In a local folder a lock does the same.
Another store takes whichever comes last, whole.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opendet.files import canonical_json, exclusive_lock
from opendet.object_store.errors import StoreError, code_of
from opendet.object_store.store import Store
from opendet.object_store.version import OBJECTS, version_name

CURRENT = "current.json"
_LOCK = ".lock"
_LOST = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409")
"""What S3 calls it when the pointer is not what the condition says."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pointer:
    """What `current.json` says, and by which tag the store knows that saying."""

    version: str
    tag: str


class RacedError(ValueError):
    """Somebody else's publication came first."""


def read_pointer(store: Store) -> Pointer | None:
    """None where nothing is published yet. Raises ValueError, in one line, for a damaged one."""
    # The tag first: if the pointer moves in between, the tag is too old, and nothing is replaced.
    facts = store.facts(CURRENT)
    if facts is None:
        return None
    content = store.read(CURRENT)
    try:
        version = json.loads(content)["version"]
        version_name(version)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{store.address}: {CURRENT} is damaged: remove it and publish again"
        ) from error
    return Pointer(version, facts.tag)


def move_pointer(store: Store, before: Pointer | None, version: str) -> None:
    """Let readers take `version`. Raises RacedError where the pointer is not `before` any more."""
    content = canonical_json({"version": version}).encode()
    if store.kind != "s3":
        store.write(content, CURRENT)
        return
    condition = {"IfMatch": f'"{before.tag}"'} if before else {"IfNoneMatch": "*"}
    try:
        store.write(content, CURRENT, **condition)
    except StoreError as error:
        code = code_of(error.__cause__) if error.__cause__ else ""
        if code == "NotImplemented":
            log.warning("%s has no conditional writes: of two at once the last wins", store.address)
            store.write(content, CURRENT)
        elif code in _LOST:
            _tell_of_loss(store, version, error)
        else:
            raise


@contextmanager
def sole_publisher(store: Store) -> Iterator[None]:
    """Keep other publications out where a lock can; elsewhere the pointer's condition judges.

    Raises BusyError, with the other's process id, for a local folder that is being published to.
    """
    if store.kind != "local":
        yield
        return
    root = Path(store.root)
    with exclusive_lock(root / _LOCK, what=f"the data set at {store.address}"):
        for pattern in (f".{CURRENT}.*", "versions/.*", f"{OBJECTS}/*/.*"):
            for leftover in root.glob(pattern):  # of a publication that was killed
                leftover.unlink()
        yield


def _tell_of_loss(store: Store, version: str, error: StoreError) -> None:
    """Raises RacedError, unless the pointer says what was wanted: an answer that got lost made the
    client ask twice."""
    now = read_pointer(store)
    if now is None or now.version != version:
        raise RacedError(
            f"{store.address}: another publication came first, readers see its version whole: look "
            "at it (`opendet data fetch`), then publish again to replace it"
        ) from error
