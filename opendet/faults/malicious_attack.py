"""What an attack is, and what fires."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Attack:
    """A file that was made to do harm, and who is to read it."""

    name: str
    run: Callable[[Path, Path], str]
    """Takes an empty folder and the canary; says what was wrong with how it was read."""


class Fires:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._canary), "w")


def pickled(canary: Path) -> bytes:
    """A pickle that makes the canary when it is read; protocol 2, as all readers know it."""
    return pickle.dumps({"weights": Fires(canary)}, protocol=2)
