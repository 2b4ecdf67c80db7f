"""What training said of names, as reasons to refuse them: pure rules over its signals.

A signal (`opendet.train.signals`) is of one region under one name. Of a region that several rounds
of training saw the last one has the word: what is once refused is not trained on and has no later
signal, so it stays refused.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import Field

from opendet.record import Region
from opendet.section import Section

if TYPE_CHECKING:
    import pyarrow as pa

CONTRADICTED = "contradicted by training"
NOT_LEARNED = "not learned by training"
AGAINST_NAMES = (CONTRADICTED, NOT_LEARNED)
_Place = tuple[str, int]
"""Key of a record, index of its region."""
COLUMNS = ("key", "region", "name", "seen", "loss", "agreement")
"""Those of the signals that the rules read."""


class LabelValueConfig(Section):
    """Rules over what training said of names (`train.signals`), from the rounds that `opendet data
    loop` took. A region without a signal passes."""

    min_agreement: float | None = Field(default=None, ge=-1, le=1)
    """Least mean margin of the name over the best other name, while training learned; 0 speaks
    against what it rather called otherwise. Null: off."""
    max_loss: float | None = Field(default=None, ge=0)
    """Largest mean loss of the name's tokens. Null: off; needs a namer that writes names."""
    min_seen: int = Field(default=2, ge=1)
    """Fewest times that training must have seen a region to speak against its name."""
    max_share: float = Field(default=0.15, ge=0, le=1)
    """Largest share of the regions of one name that a round refuses, the worst of them: the means
    of a short training, and those of a rare name, begin low for right labels too."""

    @property
    def judges(self) -> bool:
        return self.min_agreement is not None or self.max_loss is not None


@dataclass(frozen=True, slots=True)
class LabelValue:
    """What training said of the regions that it saw."""

    said: Mapping[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """Key of a record and index of its region -> the name that was judged, and a reason to refuse
    it, empty where there is none."""

    def knows(self, key: str, index: int, region: Region) -> bool:
        """Whether training saw the region under the name that it still has."""
        name, _ = self.said.get((key, index), ("", ""))
        return bool(name) and region.names[:1] == (name,)

    def refusal(self, key: str, index: int, region: Region) -> str:
        """The reason to refuse it, or an empty string."""
        return self.said[key, index][1] if self.knows(key, index, region) else ""


UNHEARD = LabelValue()
"""Before the first round."""


def judge_rounds(rounds: "Sequence[pa.Table]", config: LabelValueConfig) -> LabelValue:
    """The rules over the `COLUMNS` of all rounds, the earliest first: each is judged by itself."""
    if not config.judges or not rounds:
        return UNHEARD
    said: dict[_Place, tuple[str, str]] = {}
    for table in rounds:
        signals = list(_signals(table))
        worst = _worst(signals, config)
        said |= {
            (one.key, one.region): (one.name, _reason(one, config) if one in worst else "")
            for one in signals
        }
    return LabelValue(said)


@dataclass(frozen=True, slots=True)
class _Signal:
    """What training said of a region; None where it measured nothing."""

    key: str
    region: int
    name: str
    seen: int
    loss: float | None
    agreement: float | None


def _signals(table: "pa.Table") -> Iterator[_Signal]:
    columns = (table[name].to_pylist() for name in COLUMNS)
    return (_Signal(*row) for row in zip(*columns, strict=True))


def _reason(signal: _Signal, config: LabelValueConfig) -> str:
    """The first reason to refuse a name, or an empty string."""
    if signal.seen < config.min_seen:
        return ""
    least, most = config.min_agreement, config.max_loss
    if least is not None and signal.agreement is not None and signal.agreement < least:
        return CONTRADICTED
    if most is not None and signal.loss is not None and signal.loss > most:
        return NOT_LEARNED
    return ""


def _worst(signals: Sequence[_Signal], config: LabelValueConfig) -> set[_Signal]:
    """Those that a rule speaks against, of each name no more than the share that may be refused."""
    regions = Counter(signal.name for signal in signals)
    against: dict[str, list[_Signal]] = {}
    for signal in signals:
        if _reason(signal, config):
            against.setdefault(signal.name, []).append(signal)
    return {
        signal
        for name, own in against.items()
        for signal in sorted(own, key=_standing)[: int(config.max_share * regions[name])]
    }


def _standing(signal: _Signal) -> tuple[float, float, str, int]:
    """The lower, the worse."""
    agreement = math.inf if signal.agreement is None else signal.agreement
    return agreement, -(signal.loss or 0.0), signal.key, signal.region
