"""Greedy and beam search in numpy, by the rules of `opendet.model.name_search`. No torch.

N objects, B beams, W beams at this step (1 at the first, then B), K candidates, T steps, L layers,
G heads, C width of a head, S slots, V tokens, D width of the T5.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opendet.onnx_export.card import WriterCard

NEVER = np.float32(-1e9)
"""The score of what must not be chosen."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Written(NamedTuple):
    """Names as tokens, the likeliest first."""

    tokens: Ints
    """(N, B, T) padded after the end."""
    log_probs: Floats
    """(N, B) mean over a name's tokens, its end included."""


class BeamSearch:
    """The beams of N objects; a single beam is greedy and stops at its first end."""

    def __init__(self, objects: int, beams: int, card: WriterCard) -> None:
        steps = card.max_new_tokens
        self.beams, self.steps, self.ends = beams, steps, np.array(card.ends)
        # as many that go on as there are beams, even if each of them also ends
        self.candidates = beams * (1 + len(card.ends))
        self.running = np.full((objects, 1, steps), card.pad, np.int64)  # (N, W, T)
        self.sums = np.zeros((objects, 1), np.float32)  # (N, W) of log-probabilities
        self.ended = np.full((objects, beams, steps), card.pad, np.int64)
        self.means = np.full((objects, beams), NEVER)
        self.open = np.ones(objects, np.bool_)
        """Whether an object's names may still improve."""

    def advance(self, log_probs: Floats, step: int) -> tuple[Ints, Ints]:
        """Take the next token of each beam from log_probs (N, W, V).

        Returns the tokens (N, B) and which of the beams before (N, B) they continue.
        """
        gains, ids = _top(log_probs, self.candidates)  # (N, W, K) of each beam
        sums, flat = _top(_flat(gains + self.sums[..., None]), self.candidates)  # (N, K)
        parents, tokens = flat // self.candidates, _at(_flat(ids), flat)
        names = _pick(self.running, parents)  # (N, K, T)
        names[..., step] = tokens
        ends = np.isin(tokens, self.ends) | (step + 1 == self.steps)
        self._collect(names, sums, ends, step)
        going, chosen = _top(np.where(ends, NEVER, sums), self.beams)  # (N, B)
        self.running, self.sums = _pick(names, chosen), going
        self._close(step)
        return _at(tokens, chosen), _at(parents, chosen)

    def _collect(self, names: Ints, sums: Floats, ends: NDArray[np.bool_], step: int) -> None:
        """Keep the best of the names that ended, before and now."""
        counts = ends & self.open[:, None]
        counts[:, self.beams :] = False  # the others stand by in case these end
        means = np.where(counts, sums / np.float32(step + 1), NEVER)
        self.means, best = _top(np.concatenate([self.means, means], 1), self.beams)
        self.ended = _pick(np.concatenate([self.ended, names], 1), best)

    def _close(self, step: int) -> None:
        """Close objects whose best beam, were it to end here, would not be among the names."""
        worst = self.means.min(1)
        if self.beams == 1:
            self.open &= worst == NEVER
        else:
            self.open &= self.sums[:, 0] / np.float32(step + 1) > worst


class Steps:
    """Calls the graph token by token, and keeps what its attention looks back at: slots are written
    once and never reordered, a mask says which of them were a beam's own."""

    def __init__(self, session: Any, read: Floats, bias: Floats, card: WriterCard) -> None:
        """read (L, N, 1, D), bias (G, T, T)."""
        self._session, self._read, self._bias = session, read, bias
        shape = (card.layers, read.shape[1], card.heads, 0, card.head_width)
        self._keys = np.zeros(shape, np.float32)
        self._values = np.zeros(shape, np.float32)
        self._places: list[int] = []  # the step of each slot written so far
        self._seen = np.ones((read.shape[1], 1, 0), np.bool_)  # (N, W, S)

    def step(self, tokens: Ints, parents: Ints) -> Floats:
        """(N, W, V) of what follows; tokens (N, W) continue the beams `parents` (N, W) of the step
        before."""
        objects, beams = tokens.shape
        own = np.broadcast_to(np.eye(beams, dtype=np.bool_), (objects, beams, beams))
        seen = np.take_along_axis(self._seen, parents[..., None], 1)
        self._seen = np.concatenate([seen, own], 2)
        now = self._places[-1] + 1 if self._places else 0
        self._places += [now] * beams
        bias = self._bias[:, now, self._places][:, None]  # (G, 1, S)
        mask = np.where(self._seen[:, None], bias, np.float32(-np.inf))  # (N, G, W, S)
        given = (tokens, self._read, self._keys, self._values, mask)
        names = ("tokens", "read", "keys", "values", "mask")
        log_probs, keys, values = self._session.run(None, dict(zip(names, given, strict=True)))
        self._keys = np.concatenate([self._keys, keys], 3)
        self._values = np.concatenate([self._values, values], 3)
        said: Floats = log_probs
        return said


def search(session: Any, read: Floats, bias: Floats, card: WriterCard, *, beams: int) -> Written:
    """The likeliest names of N objects, of which `read` (L, N, 1, D) is what the T5 reads."""
    objects = read.shape[1]
    found = BeamSearch(objects, beams, card)
    steps = Steps(session, read, bias, card)
    tokens = np.full((objects, 1), card.start, np.int64)
    parents = np.zeros_like(tokens)
    for step in range(card.max_new_tokens):
        tokens, parents = found.advance(steps.step(tokens, parents), step)
        if not found.open.any():
            break
    return Written(found.ended, found.means)


def _top(values: Floats, count: int) -> tuple[Floats, Ints]:
    """The `count` greatest of the last axis in their order, and where they are."""
    some = np.argpartition(-values, count - 1, axis=-1)[..., :count]
    some.sort(axis=-1)  # so that of equals the first comes first
    order = np.argsort(-_at(values, some), axis=-1, kind="stable")
    places: Ints = _at(some, order)
    return _at(values, places), places


def _at(values: NDArray[Any], places: Ints) -> NDArray[Any]:
    return np.take_along_axis(values, places, -1)


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1)


def _pick(names: Ints, which: Ints) -> Ints:
    """Of names (N, W, T) those at (N, K): (N, K, T)."""
    picked: Ints = np.take_along_axis(names, which[..., None], 1)
    return picked
