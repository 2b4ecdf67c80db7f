"""What an attack is, and how it is told that a reader refused it."""

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


def refused(read: Callable[[], object]) -> str:
    """What was wrong with how a reader refused something; empty where it said so in one line."""
    try:
        read()
    except ValueError as error:
        return "" if len(str(error).splitlines()) == 1 else f"it said {str(error)[:200]!r}"
    except Exception as error:  # a crash is what this looks for
        return f"{type(error).__name__}: {error}"[:200]
    return "it was taken"
