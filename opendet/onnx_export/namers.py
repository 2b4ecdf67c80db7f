"""Who names what the graphs found: the namers of `opendet.model` in numpy. No torch.

N objects, M prototypes, K names, D the detector's width, D_t the prompts', D_c the prototypes'.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from opendet.onnx_export.beam_search import NEVER, search
from opendet.onnx_export.card import PrototypeCard, WriterCard

Floats = NDArray[np.float32]

NAMES = 3
"""As many as are said of an object where nobody asks for a number, by a list or prototypes."""
BEAMS_AT_ONCE = 512
"""Beams that are searched together."""
TEMPERATURE = 0.01
"""The cosines of prompts with a list's names are divided by it, as CLIP's are."""
LARGEST_LOG_SCALE = np.float32(np.log(100.0))


class Said(NamedTuple):
    """A name and how likely it is, as a logarithm."""

    text: str
    log_prob: float

    @property
    def probability(self) -> float:
        return float(np.exp(min(self.log_prob, 0.0)))


@dataclass(frozen=True, slots=True)
class Seen:
    """What the graph says of N objects."""

    queries: Floats
    """(N, D)"""
    prompts: Floats
    """(N, D_t) unit vectors."""
    projected: Floats | None = None
    """(N, D_c) unit vectors."""
    enriched: Floats | None = None
    """(N, D_c)"""

    def __len__(self) -> int:
        return len(self.queries)

    def part(self, places: Any) -> "Seen":
        head = (None if one is None else one[places] for one in (self.projected, self.enriched))
        return Seen(self.queries[places], self.prompts[places], *head)


class Namer(Protocol):
    def name(self, seen: Seen, *, count: int) -> list[list[Said]]:
        """For each object its names, the likeliest first, at most `count`; 0 for the namer's own
        number."""
        ...


class PrototypeNames:
    """The nearest prototypes' names; those of one name are likely together."""

    def __init__(
        self,
        vectors: Floats,
        card: PrototypeCard,
        only: Sequence[str] = (),
        temperature: float | None = None,
    ) -> None:
        """vectors (M, D_c) unit rows; `only` the names that are meant, all where it is empty;
        `temperature` instead of the card's. Raises ValueError, in one line, where there is no
        prototype of one of them."""
        self.names = tuple(dict.fromkeys(only or card.names))
        there = set(card.names)
        if absent := [name for name in self.names if name not in there]:
            raise ValueError(
                f"names: the pool has no prototype of {', '.join(map(repr, absent[:3]))} "
                f"({len(absent)} of {len(self.names)} are missing): take namer vocabulary, which "
                "needs no prototype of a name, or leave them out"
            )
        places = {name: place for place, name in enumerate(self.names)}
        kept = [(row, places[name]) for row, name in enumerate(card.names) if name in places]
        self._places = np.array([place for _, place in kept])
        self._vectors = vectors[[row for row, _ in kept]]
        self._temperature = temperature or card.temperature

    def name(self, seen: Seen, *, count: int) -> list[list[Said]]:
        assert seen.projected is not None
        logits = (seen.projected @ self._vectors.T / np.float32(self._temperature)).astype(float)
        shares = np.exp(_log_softmax(logits))
        merged = np.zeros((len(self.names), len(seen)))
        np.add.at(merged, self._places, shares.T)
        with np.errstate(divide="ignore"):  # far from all of them: minus infinity
            return _likeliest(self.names, np.log(merged.T), count or NAMES)


class ListNames:
    """The names of a list that objects are most alike."""

    def __init__(
        self, names: Sequence[str], compare: Callable[[Seen], Floats], *, alone: bool
    ) -> None:
        """`compare` gives (N, K) logits of Seen; `alone`: of each name by itself, no softmax."""
        self.names, self._compare, self._alone = tuple(names), compare, alone

    def name(self, seen: Seen, *, count: int) -> list[list[Said]]:
        if not len(seen):
            return []
        logits = self._compare(seen)
        log_probs = -np.logaddexp(0, -logits) if self._alone else _log_softmax(logits)
        return _likeliest(self.names, log_probs, count or NAMES)


class Aligner:
    """BVLA's comparison: its logit that an object is called so."""

    def __init__(self, vectors: dict[str, Floats], classes: Floats) -> None:
        self._vectors = vectors
        self._classes = classes

    def __call__(self, seen: Seen) -> Floats:
        """-> (N, K)"""
        told = self._vectors
        similarity = _unit(seen.queries @ told["to_language"].T) @ _unit(self._classes).T
        directions = 1
        if "to_vision" in told:
            back = _unit(self._classes @ told["to_vision"].T)
            similarity, directions = similarity + _unit(seen.queries) @ back.T, 2
        if "log_scale" not in told:
            return similarity
        scale = np.exp(np.minimum(told["log_scale"], LARGEST_LOG_SCALE))
        logits: Floats = scale * similarity / directions + told["aligner_bias"]
        return logits


class Predictor:
    """DeCo-DETR's comparison, by its own graph."""

    def __init__(self, session: Any, classes: Floats) -> None:
        self._session, self._classes = session, classes

    def __call__(self, seen: Seen) -> Floats:
        """-> (N, K)"""
        given = {"enriched": seen.enriched, "classes": self._classes}
        logits: Floats = self._session.run(None, given)[0]
        return logits


class Cosines:
    """Of prompts with a list's vectors."""

    def __init__(self, classes: Floats) -> None:
        self._classes = classes

    def __call__(self, seen: Seen) -> Floats:
        """-> (N, K)"""
        logits: Floats = seen.prompts @ self._classes.T / np.float32(TEMPERATURE)
        return logits


class WrittenNames:
    """A T5 writes the name, token by token."""

    def __init__(
        self, start: Any, step: Any, bias: Floats, tokenizer: Any, card: WriterCard, *, beams: int
    ) -> None:
        """start and step are sessions of the graphs; bias (G, T, T)."""
        self._start, self._step, self._bias = start, step, bias
        self._tokenizer, self._card, self._beams = tokenizer, card, beams

    def name(self, seen: Seen, *, count: int) -> list[list[Said]]:
        beams = count or self._beams
        at_once = max(1, BEAMS_AT_ONCE // beams)
        groups = [seen.prompts[start : start + at_once] for start in range(0, len(seen), at_once)]
        return [said for group in groups for said in self._write(group, beams)]

    def _write(self, prompts: Floats, beams: int) -> list[list[Said]]:
        [read] = self._start.run(None, {"prompts": prompts})
        found = search(self._step, read, self._bias, self._card, beams=beams)
        if not (found.log_probs > NEVER).all():  # which NaN is not either
            raise ValueError("the namer's graph gives NaN: export the model again")
        texts = self._tokenizer.decode_batch(
            found.tokens.reshape(-1, found.tokens.shape[-1]).tolist(), skip_special_tokens=True
        )
        flat = zip(texts, found.log_probs.ravel().tolist(), strict=True)
        said = [Said(" ".join(text.split()), log_prob) for text, log_prob in flat]
        return [said[start : start + beams] for start in range(0, len(said), beams)]


class Cascade:
    """Prototypes first, and the T5 for what they are unsure of."""

    def __init__(self, first: Namer, then: Namer, *, unsure_below: float) -> None:
        self._first, self._then, self._unsure_below = first, then, unsure_below

    def name(self, seen: Seen, *, count: int) -> list[list[Said]]:
        said = self._first.name(seen, count=count)
        unsure = [
            place
            for place, names in enumerate(said)
            if not names or names[0].probability <= self._unsure_below
        ]
        again = self._then.name(seen.part(unsure), count=count) if unsure else []
        for place, names in zip(unsure, again, strict=True):
            said[place] = names
        return said


def _likeliest(names: Sequence[str], log_probs: NDArray[Any], count: int) -> list[list[Said]]:
    order = np.argsort(-log_probs, axis=1, kind="stable")[:, :count]
    return [
        [Said(names[place], float(row[place])) for place in own]
        for row, own in zip(log_probs, order.tolist(), strict=True)
    ]


def _log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    shifted = logits - logits.max(1, keepdims=True)
    normed: NDArray[Any] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return normed


def _unit(rows: Floats) -> Floats:
    lengths = np.sqrt((rows**2).sum(-1, keepdims=True))
    unit: Floats = rows / np.maximum(lengths, np.float32(1e-12))
    return unit
