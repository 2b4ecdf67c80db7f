"""Greedy and beam search over the names of many objects at once.

The rules are those of `generate` in transformers with length_penalty 1 and early_stopping off, so
that the same names come out in the same order (tests/model/test_name_search.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from opendet.model.one_token_t5 import OneTokenT5

if TYPE_CHECKING:
    from transformers import T5ForConditionalGeneration

# N objects, B beams, W beams at this step (1 at the first, then B), C candidates, T steps

NEVER = -1e9
"""The score of what must not be chosen."""
BLOCK = 64
"""Width of the blocks in which the likeliest tokens are looked for."""
WORTH_DROPPING = 8
"""Objects are dropped when one in so many has its names: dropping copies what is kept."""


@dataclass(frozen=True)
class Found:
    """Names as tokens, the likeliest first."""

    tokens: Tensor  # (N, B, T) int64, padded after the end
    log_probs: Tensor  # (N, B) mean over a name's tokens, its end included


class BeamSearch:
    """The beams of N objects; a single beam is greedy and stops at its first end."""

    def __init__(self, objects: int, beams: int, steps: int, ends: Tensor, pad: int) -> None:
        device = ends.device
        self.beams, self.steps, self.ends = beams, steps, ends
        # as many that go on as there are beams, even if each of them also ends
        self.candidates = beams * (1 + len(ends))
        self.running = torch.full((objects, 1, steps), pad, device=device)  # (N, W, T)
        self.sums = torch.zeros(objects, 1, device=device)  # (N, W) of log-probabilities
        self.ended = torch.full((objects, beams, steps), pad, device=device)
        self.means = torch.full((objects, beams), NEVER, device=device)
        self.open = torch.ones(objects, dtype=torch.bool, device=device)
        """Whether an object's names may still improve."""

    def advance(self, log_probs: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Take the next token of each beam from log_probs (N, W, V).

        Returns the tokens (N, B) and which of the beams before (N, B) they continue.
        """
        gains, ids = _likeliest(log_probs, self.candidates)  # (N, W, C) of each beam
        sums, flat = (gains + self.sums[..., None]).flatten(1).topk(self.candidates)  # (N, C)
        parents, tokens = flat // self.candidates, ids.flatten(1).gather(1, flat)
        names = _pick(self.running, parents)  # (N, C, T)
        names[..., step] = tokens
        ends = torch.isin(tokens, self.ends) | (step + 1 == self.steps)
        self._collect(names, sums, ends, step)
        going = sums.masked_fill(ends, NEVER)
        chosen = going.topk(self.beams, dim=1).indices  # (N, B)
        self.running, self.sums = _pick(names, chosen), going.gather(1, chosen)
        self._close(step)
        return tokens.gather(1, chosen), parents.gather(1, chosen)

    def _collect(self, names: Tensor, sums: Tensor, ends: Tensor, step: int) -> None:
        """Keep the best of the names that ended, before and now."""
        counts = ends & self.open[:, None]
        counts[:, self.beams :] = False  # the others stand by in case these end
        means = (sums / (step + 1)).masked_fill(~counts, NEVER)
        self.means, best = torch.cat([self.means, means], dim=1).topk(self.beams, dim=1)
        self.ended = _pick(torch.cat([self.ended, names], dim=1), best)

    def _close(self, step: int) -> None:
        """Close objects whose best beam, were it to end here, would not be among the names."""
        worst = self.means.min(dim=1).values
        if self.beams == 1:
            self.open &= worst == NEVER
        else:
            self.open &= self.sums[:, 0] / (step + 1) > worst

    def keep(self, rows: Tensor) -> None:
        """Forget all objects but these."""
        self.running, self.sums = self.running[rows], self.sums[rows]
        self.ended, self.means, self.open = self.ended[rows], self.means[rows], self.open[rows]


@torch.no_grad()
def search_names(
    t5: "T5ForConditionalGeneration", embeddings: Tensor, *, beams: int, steps: int
) -> Found:
    """The likeliest names of at most `steps` tokens that the T5 gives embeddings (N, d_model)."""
    config: Any = t5.generation_config
    objects, device = len(embeddings), embeddings.device
    ends = torch.tensor(_as_list(config.eos_token_id), device=device)
    search = BeamSearch(objects, beams, steps, ends, config.pad_token_id)
    model = OneTokenT5(t5, embeddings, steps=steps, beams=beams)
    found = Found(search.ended.clone(), search.means.clone())
    alive = torch.arange(objects, device=device)
    tokens = torch.full((objects, 1), config.decoder_start_token_id, device=device)
    parents = torch.zeros_like(tokens)
    for step in range(steps):
        tokens, parents = search.advance(model.step(tokens, parents), step)
        rest = search.open.nonzero()[:, 0]
        if not len(rest):
            break
        if (len(alive) - len(rest)) * WORTH_DROPPING >= len(alive):
            found.tokens[alive], found.log_probs[alive] = search.ended, search.means
            search.keep(rest)
            model.keep(rest)
            alive, tokens, parents = alive[rest], tokens[rest], parents[rest]
    found.tokens[alive], found.log_probs[alive] = search.ended, search.means
    return found


@torch.no_grad()
def generate_names(
    t5: "T5ForConditionalGeneration", embeddings: Tensor, *, beams: int, steps: int
) -> Found:
    """The same by the library's own `generate`, for embeddings (N, K, d_model) of K tokens each."""
    model: Any = t5  # the library's annotation of `generate` does not fit
    trained = model.training
    model.eval()
    mask = embeddings.new_ones(embeddings.shape[:2])
    told = model.generate(
        inputs_embeds=embeddings,
        attention_mask=mask,
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=steps,
        length_penalty=1.0,
        early_stopping=False,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    model.train(trained)
    gains = model.compute_transition_scores(
        told.sequences,
        told.scores,
        getattr(told, "beam_indices", None),
        normalize_logits=beams == 1,
    )
    ends = torch.tensor(_as_list(model.generation_config.eos_token_id), device=gains.device)
    tokens = told.sequences[:, 1:]
    after = _after_end(tokens, ends)
    log_probs = gains.masked_fill(after, 0.0).sum(dim=1) / (~after).sum(dim=1)
    tokens = tokens.masked_fill(after, model.generation_config.pad_token_id)
    padded = functional.pad(tokens, (0, steps - tokens.shape[1]))
    return Found(padded.view(-1, beams, steps), log_probs.view(-1, beams))


def _after_end(tokens: Tensor, ends: Tensor) -> Tensor:
    """(N, T) -> whether a token comes after the first end."""
    ended = torch.isin(tokens, ends).long()
    return (ended.cumsum(dim=1) - ended) > 0


def join(pieces: Sequence[Found]) -> Found:
    return Found(
        torch.cat([piece.tokens for piece in pieces]),
        torch.cat([piece.log_probs for piece in pieces]),
    )


def _likeliest(log_probs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` greatest of the last axis and where they are.

    Of a wide vocabulary only the blocks with the greatest maxima are searched: a fifth of the time.
    """
    *rows, width = log_probs.shape
    if width % BLOCK or width < BLOCK * count:
        return log_probs.topk(count)
    blocks = log_probs.view(*rows, -1, BLOCK)
    best = blocks.amax(dim=-1).topk(count).indices  # no other block has one of the greatest
    chosen = blocks.gather(-2, best[..., None].expand(*best.shape, BLOCK)).flatten(-2)
    values, flat = chosen.topk(count)
    return values, best.gather(-1, flat // BLOCK) * BLOCK + flat % BLOCK


def _pick(names: Tensor, which: Tensor) -> Tensor:
    """Of names (N, W, T) those at (N, C): (N, C, T)."""
    return names.gather(1, which[..., None].expand(-1, -1, names.shape[2]))


def _as_list(ends: int | Sequence[int]) -> list[int]:
    return [ends] if isinstance(ends, int) else list(ends)
