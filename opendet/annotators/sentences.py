"""Sentences of a line of English, told apart by their marks."""

import re

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_SENTENCE_GAP = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"”')]))\s+")


def sentences_of(line: str) -> list[str]:
    return [sentence for sentence in _SENTENCE_GAP.split(line) if sentence]


def ended(text: str) -> str:
    """Ended like a sentence, after a cut."""
    for word in (" and", " or"):
        text = text.removesuffix(word)
    bare = text.rstrip(" ,;:-–—.")
    return bare if not bare or bare[-1] in "!?" else f"{bare}."


def without_unfinished(line: str) -> str:
    sentences = sentences_of(line)
    if len(sentences) > 1 and not re.search(r"[.!?][\"”')]?\Z", sentences[-1]):
        sentences.pop()
    return " ".join(sentences)
