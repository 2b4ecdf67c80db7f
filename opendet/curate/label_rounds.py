"""The rounds of the label-value loop on disk: what each training said, kept for the filter.

datasets/label_value/<build>/round-<n>.parquet   the signals of the n-th training
datasets/label_value/<build>/round-<n>.json      its commit record, written last, with their sha256
                                                 and what the build had come to by then

A round never changes once it is taken. They lie apart from what DVC makes of them, for they are
made from it: a loop that no graph of stages can hold.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opendet.curate.label_value import (
    COLUMNS,
    UNHEARD,
    LabelValue,
    LabelValueConfig,
    judge_rounds,
)
from opendet.files import sha256_of, write_durably, write_json_durably

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "datasets/label_value"
"""Below the project; a build's rounds lie in a folder of its name there."""


@dataclass(frozen=True, slots=True)
class Round:
    """One that is whole."""

    number: int
    signals: Path
    sha256: str
    """Of the signals."""
    before: Mapping[str, Any]
    """What the build had come to when it was taken."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The first `count` rounds of a folder: what a filter's fingerprint knows, whatever round is
    taken meanwhile."""

    folder: Path
    count: int

    def judged(self, config: LabelValueConfig) -> LabelValue:
        """What they say by these rules. Read once in a process."""
        return _judged(self, config) if self.count else UNHEARD


def rounds_in(folder: Path) -> list[Round]:
    """All that were taken, in their order. Raises ValueError, in one line, for a gap or damage."""
    records = sorted(folder.glob("round-*.json"), key=_number)
    rounds = [_read(record) for record in records]
    for expected, one in enumerate(rounds, 1):
        if one.number != expected:
            raise ValueError(
                f"{folder} has no round {expected}, yet one after it: bring it back, or remove the "
                "later ones"
            )
    return rounds


def take_round(signals: Path, folder: Path, before: Mapping[str, Any]) -> Round:
    """Copy the signals of a training as the next round.

    Raises ValueError where they are already one of the rounds, or are no signals at all.
    """
    rounds = rounds_in(folder)
    sha256 = sha256_of(signals)
    for known in rounds:
        if known.sha256 == sha256:
            raise ValueError(f"{signals} is round {known.number} already: train again first")
    number = len(rounds) + 1
    copy = folder / f"round-{number}.parquet"
    _columns(signals)  # says what is wrong before anything is written
    write_durably(copy, signals.read_bytes())
    write_json_durably(copy.with_suffix(".json"), {"sha256": sha256, "before": dict(before)})
    return Round(number, copy, sha256, before)


@lru_cache(maxsize=1)
def _judged(rounds: Rounds, config: LabelValueConfig) -> LabelValue:
    taken = rounds_in(rounds.folder)[: rounds.count]
    return judge_rounds([_columns(one.signals) for one in taken], config)


def _read(record: Path) -> Round:
    signals = record.with_suffix(".parquet")
    try:
        told = json.loads(record.read_text("utf-8"))
        sha256, before = told["sha256"], told["before"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record} is damaged: bring it back, or remove its round") from error
    if not signals.is_file() or sha256_of(signals) != sha256:
        raise ValueError(
            f"{signals} is missing or not what {record.name} says: bring it back (`dvc pull`, git),"
            " or remove the round"
        )
    return Round(_number(record), signals, sha256, before)


def _columns(signals: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(signals, columns=list(COLUMNS)).select(COLUMNS)
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(
            f"{signals} holds no signals of a training (columns {', '.join(COLUMNS)}): set "
            "train.signals and train again"
        ) from error


def _number(record: Path) -> int:
    number = record.stem.removeprefix("round-")
    if not number.isdecimal():
        raise ValueError(f"{record} is no round: they are called round-1, round-2, ...")
    return int(number)
