"""Lists of names as the prompts that Grounding DINO reads, and its word on each of the names.

A prompt is "a. b. ": the model lets the words of a name see one another and no other name's, and
gives every box a score for every token. So it is put together from the names' own tokens, and
what is known of each name's place is never guessed back from text.

Q boxes, N names, T tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question's tokens."""

    tokens: tuple[int, ...]
    """With the first, the last and a full stop behind each name."""
    spans: tuple[tuple[int, int], ...]
    """Of each name, where its tokens begin and end; the end is not its own."""


class PromptWriter:
    """Turns names into prompts with a BERT tokenizer."""

    def __init__(self, tokenizer: Any, *, delimiters: Iterable[int], limit: int) -> None:
        """`delimiters` are the tokens that part names in the model; `limit` is its longest prompt.

        Raises ValueError where the tokenizer's tokens are not the ones that the model goes by.
        """
        self._tokenizer, self._limit = tokenizer, limit
        self._first, self._last = tokenizer.cls_token_id, tokenizer.sep_token_id
        self._stop = tokenizer.convert_tokens_to_ids(".")
        parting = set(delimiters)
        if not {self._first, self._last, self._stop} <= parting:
            raise ValueError(
                f"its tokenizer's [CLS], [SEP] and full stop are {self._first}, {self._last} and "
                f"{self._stop}, and the model parts names at {sorted(parting)}"
            )
        self._unsaid = parting | {tokenizer.pad_token_id, tokenizer.unk_token_id}

    def lists(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The names in as few lists as their prompts' lengths allow, in order.

        Names that are the same to the model are asked once, as the first of them. One of which it
        reads nothing, as "?", is not asked. A name that no prompt holds is a ValueError.
        """
        lists: list[list[str]] = []
        seen: set[tuple[int, ...]] = set()
        length = self._limit  # as if a list were full
        for name in names:
            tokens = self._tokens(name)
            if not tokens or tokens in seen:
                continue
            seen.add(tokens)
            if (needed := len(tokens) + 1) > self._limit - 2:
                raise ValueError(
                    f"a name of {len(tokens)} tokens is longer than the detector reads "
                    f"({self._limit - 3}): {name[:60]!r}; ask for something shorter"
                )
            if length + needed > self._limit:
                lists.append([])
                length = 2  # the first token and the last
            lists[-1].append(name)
            length += needed
        return [tuple(one) for one in lists]

    def prompt(self, names: Sequence[str]) -> Prompt:
        """The prompt of one of the `lists`."""
        tokens, spans = [self._first], []
        for name in names:
            start = len(tokens)
            tokens += self._tokens(name)
            spans.append((start, len(tokens)))
            tokens.append(self._stop)
        return Prompt((*tokens, self._last), tuple(spans))

    def _tokens(self, name: str) -> tuple[int, ...]:
        """A full stop or question mark inside a name would part it: "St. Bernard" goes without."""
        found = self._tokenizer(name.lower(), add_special_tokens=False)["input_ids"]
        return tuple(token for token in found if token not in self._unsaid)


def name_scores(
    token_scores: "Tensor", spans: Sequence[tuple[int, int]], *, text_threshold: float
) -> "Tensor":
    """(Q, T) in [0, 1] -> (Q, N): the mean over each name's tokens.

    The mean is what the model's authors evaluate with, and MMDetection with it: its .3 is a
    threshold of such means, and a name of many words is not sure for one common word in it. The
    score of a box in Grounding DINO's demo is its surest token's instead; for a name of one token
    both are the same. Where no token of a name reaches `text_threshold`, -1: it is not said.
    """
    import torch

    per_name = [token_scores[:, start:end] for start, end in spans]
    means = torch.stack([scores.mean(1) for scores in per_name], 1)
    surest = torch.stack([scores.amax(1) for scores in per_name], 1)
    # NaN is below no threshold, so that it stays to be found
    return means.masked_fill(surest < text_threshold, -1.0)
