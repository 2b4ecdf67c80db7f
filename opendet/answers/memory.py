"""What stands between a stage and its model: only what nobody has asked yet reaches the model."""

import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from opendet.answers.segments import Segments
from opendet.answers.store import open_kind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """Where a stage of a build keeps answers, and counts how often it asks. Pickles."""

    store: Path | None = None
    """Folder of the answer store; None where nothing is kept."""
    counts: Path | None = None
    """Folder for the counts of this run's processes; None where nobody wants to know."""


@dataclass
class Memory:
    """Asks a model of one kind what the store does not know, and keeps what it says."""

    place: AnswerPlace
    kind: Mapping[str, Any]
    asked: int = 0
    """Questions that reached the model."""
    remembered: int = 0
    """Questions that did not have to, the second of two equal ones among them."""
    _kept: Segments | None = None
    _name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{_mark()}")

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, where the store cannot be used."""
        if self.place.store is not None:
            self._kept = open_kind(self.place.store, self.kind)

    def recall(
        self,
        keys: Sequence[str],
        ask: Callable[[Sequence[int]], Sequence[T]],
        *,
        to_json: Callable[[T], Any],
        from_json: Callable[[Any], T],
    ) -> list[T]:
        """One answer for each key, in order.

        `ask` gets the places of those that must be asked, and gives their answers. `to_json` gives
        None for an answer that is not to be kept: it may be another one tomorrow.
        """
        kept = self._kept
        with _store_is_the_machines():
            known = {} if kept is None else kept.find(keys)
        answers = {key: from_json(value) for key, value in known.items()}
        first = {key: place for place, key in reversed(list(enumerate(keys))) if key not in answers}
        places = sorted(first.values())
        if places:
            new = dict(zip((keys[place] for place in places), ask(places), strict=True))
            told = {key: to_json(answer) for key, answer in new.items()}
            if kept is not None:
                with _store_is_the_machines():
                    kept.add({key: value for key, value in told.items() if value is not None})
            answers |= new
        self._count(asked=len(places), remembered=len(keys) - len(places))
        return [answers[key] for key in keys]

    def _count(self, *, asked: int, remembered: int) -> None:
        """Say how often this process has asked, where the driver adds it up. What is counted says
        nothing of the answers, so it is no part of what a stage publishes."""
        self.asked += asked
        self.remembered += remembered
        if self.place.counts is not None:
            self.place.counts.mkdir(parents=True, exist_ok=True)
            growing = self.place.counts / f"{self._name}.growing"
            growing.write_text(
                json.dumps({"asked": self.asked, "remembered": self.remembered}), "utf-8"
            )
            growing.replace(self.place.counts / f"{self._name}.json")


def counted(counts: Path) -> dict[str, int]:
    """How often the processes that count in this folder asked a model, and did not have to; empty
    where none of them had a model."""
    told = [json.loads(path.read_text("utf-8")) for path in sorted(counts.glob("*.json"))]
    return (
        {what: sum(one[what] for one in told) for what in ("asked", "remembered")} if told else {}
    )


@contextmanager
def _store_is_the_machines() -> Iterator[None]:
    """What goes wrong with the store is no sample's fault: it ends the stage, and no image goes to
    the quarantine for it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConnectionError(f"the answer store (run.answers): {error}") from error


def _mark() -> str:
    return uuid.uuid4().hex[:8]
