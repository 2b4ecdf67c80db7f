"""The rule for spans past the token budget: text encoders cut what they do not see.

With a WordPiece vocabulary the tokens are counted. Without one the rule has an upper bound, which
no vocabulary exceeds: every token covers at least one character of the caption as BERT reads it
(lowered and decomposed, without spaces). The bound never misses a span that is lost, and so warns
of many that are not: English has about four characters a token.
"""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from opendet.inspect.lint_kinds import Finding
from opendet.inspect.lint_view import GroundedImage, Rule

FRAME = 2  # [CLS] and [SEP], which are part of the budget
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class _Encoding(Protocol):
    @property
    def offsets(self) -> list[tuple[int, int]]: ...


class _Tokenizer(Protocol):
    def encode(self, sequence: str) -> _Encoding: ...


def token_rule(budget: int, vocabulary: Path | None) -> Rule:
    """The rule for a budget of tokens, [CLS] and [SEP] among them; counted with a vocabulary.

    Raises ValueError, in one line, for a file that is no WordPiece vocabulary.
    """
    if vocabulary is None:
        return _Bound(budget)
    return _Counted(budget, _read_vocabulary(vocabulary))


def most_tokens(text: str) -> int:
    """No fewer than the tokens that any uncased WordPiece vocabulary makes of a lowered text."""
    decomposed = text if text.isascii() else unicodedata.normalize("NFD", text)
    return len(decomposed) - decomposed.count(" ")


class _Bound:
    """Warns of every span that some vocabulary would put past the budget."""

    def __init__(self, budget: int) -> None:
        self._budget = budget

    def __call__(self, image: GroundedImage) -> Iterator[Finding]:
        text = image.loaded_caption
        if most_tokens(text) + FRAME <= self._budget:
            return
        for phrase in image.phrases:
            for start, end in image.good_spans(phrase):
                most = most_tokens(text[:end]) + FRAME
                if most > self._budget:
                    said = f"[{start}, {end}) may need {most} tokens of {self._budget}."
                    yield Finding("tokens.span_at_risk", phrase.part, said)


class _Counted:
    """Finds every span that the tokenizer puts past the budget, in part or whole."""

    def __init__(self, budget: int, tokenizer: _Tokenizer) -> None:
        self._budget = budget
        self._tokenizer = tokenizer

    def __call__(self, image: GroundedImage) -> Iterator[Finding]:
        text = image.loaded_caption
        if most_tokens(text) + FRAME <= self._budget:
            return
        offsets = self._tokenizer.encode(_SURROGATE.sub("\ufffd", text)).offsets
        if len(offsets) <= self._budget:
            return
        cut = offsets[self._budget - 1][0]  # [SEP] takes the place of this token, the first lost
        for phrase in image.phrases:
            for start, end in image.good_spans(phrase):
                if end > cut:
                    said = (
                        f"[{start}, {end}) passes {self._budget} tokens, which end at "
                        f"character {cut} of {len(offsets)} tokens."
                    )
                    yield Finding("tokens.span_lost", phrase.part, said)


def _read_vocabulary(path: Path) -> _Tokenizer:
    from tokenizers import BertWordPieceTokenizer

    try:
        words = [line.rstrip() for line in path.read_text(encoding="utf-8").split("\n")]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no WordPiece vocabulary: {error}") from error
    missing = {"[UNK]", "[CLS]", "[SEP]"} - set(words)
    if missing:
        raise ValueError(
            f"{path} is no WordPiece vocabulary, it lacks {', '.join(sorted(missing))}: name "
            "BERT's vocab.txt"
        )
    ids = {word: number for number, word in enumerate(words) if word}
    tokenizer: _Tokenizer = BertWordPieceTokenizer(ids, lowercase=True)
    return tokenizer
