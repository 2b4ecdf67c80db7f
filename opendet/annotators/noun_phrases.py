"""Noun phrases of a caption, as spans of its characters.

Each word becomes a letter, and a noun phrase is a regular expression over the letters. The letters
come from nltk's tagger where its data lie on this machine, else from the lists of `english`:

    D determiner  C number  J adjective  j perhaps an adjective  R adverb  P participle  V gerund
    A and, or     I preposition          N noun                  X finite verb  O anything else
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opendet.annotators import english

NltkOrGrammar = Literal["auto", "nltk", "grammar"]
NLTK_DATA = ("tokenizers/punkt_tab/english/", "taggers/averaged_perceptron_tagger_eng/")

_WORD = re.compile(r"\w+?(?=n['’]t\b)|n['’]t\b|['’]\w+|\w+(?:-\w+)*|[^\w\s]")
_PHRASE = re.compile(
    r"D{0,2}(?:(?<=D)JA(?=J)"  # a black and white cat
    r"|[CJj]|R(?=[RCJjP])"  # two very small dogs
    r"|(?<=[DCJjPI])P|(?<=[DCJj])V"  # the parked car, with mixed vegetables, a laughing child
    r")*N+"
    r"|D{1,2}[CJjP]*j(?!A[Jj])"  # the tagger takes the noun of `a kitten next to` for an adjective
)
_LETTERS = {
    **dict.fromkeys(("DT", "PDT", "PRP$", "WP$"), "D"),
    **dict.fromkeys(("JJ", "JJR", "JJS"), "J"),
    **dict.fromkeys(("NN", "NNS", "NNP", "NNPS"), "N"),
    **dict.fromkeys(("RB", "RBR", "RBS"), "R"),
    **dict.fromkeys(("VBN", "VBD"), "P"),
    **dict.fromkeys(("IN", "TO"), "I"),
    "CD": "C",
    "VBG": "V",
}


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Characters `start` to `end`, the latter excluded."""

    start: int
    end: int

    def apart_from(self, other: "Span") -> bool:
        return self.end <= other.start or other.end <= self.start


Letters = Callable[[str], list[tuple[Span, str]]]
"""A caption -> its words in order, each with its letter."""


class NounPhrases:
    """Finds the noun phrases of a caption: in order, apart from each other, none empty."""

    def __init__(self, tagger: NltkOrGrammar = "auto", nltk_folder: Path | None = None) -> None:
        """Raises ValueError where nltk's data are asked for and are not on this machine."""
        if nltk_folder is not None and not nltk_folder.is_dir():
            raise ValueError(f"regions.nltk_folder: there is no folder {nltk_folder}")
        self._letters: Letters = letters_by_grammar
        self.revision = "grammar 1"
        """Which rules found them, for the provenance."""
        if tagger == "grammar":
            return
        if missing := _missing_nltk_data(nltk_folder):
            if tagger == "nltk":
                raise ValueError(
                    f"regions.tagger is nltk, but {missing} is missing: run `python -m "
                    "nltk.downloader punkt_tab averaged_perceptron_tagger_eng`, name its folder in "
                    "regions.nltk_folder, or set regions.tagger to grammar"
                )
            return
        self._letters = _nltk_letters()
        self.revision = f"nltk {_nltk_version()}, grammar 1"

    def __call__(self, caption: str) -> tuple[Span, ...]:
        words = self._letters(caption)
        letters = "".join(letter for _, letter in words)
        return tuple(
            Span(words[match.start()][0].start, words[match.end() - 1][0].end)
            for match in _PHRASE.finditer(letters)
        )


def word_spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Words and marks of `text[start:end]`, as spans of `text`; `don't` is two words."""
    matches = _WORD.finditer(text, start, len(text) if end is None else end)
    return [Span(*match.span()) for match in matches]


def longest_apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans in order, none touching another's characters: the longest of those that do stays,
    the earlier one of equals."""
    kept: list[Span] = []
    for span in sorted(set(spans), key=lambda span: (span.start - span.end, span.start)):
        if all(span.apart_from(other) for other in kept):
            kept.append(span)
    return tuple(sorted(kept))


def letters_by_grammar(caption: str) -> list[tuple[Span, str]]:
    """Letters by word lists and endings. A verb after a determiner, a number or an adjective is
    a noun (`a walk`)."""
    words: list[tuple[Span, str]] = []
    before = "O"
    for span in word_spans(caption):
        word = caption[span.start : span.end].lower()
        letter = _letter_in(_CLOSED + _OPEN, word) or _letter_by_ending(word)
        if letter == "X" and before in "DCJ":
            letter = "N"
        words.append((span, letter))
        before = letter
    return words


def _letter_in(lists: tuple[tuple[frozenset[str], str], ...], word: str) -> str:
    """The letter of a lower-case word that a list has, or of a mark; else an empty string."""
    if not word[0].isalnum() and not word.startswith(("'", "’")):
        return "O"
    return next((letter for listed, letter in lists if word in listed), "")


_CLOSED = (
    (english.DETERMINERS, "D"),
    (english.NUMBERS, "C"),
    (english.PREPOSITIONS, "I"),
    (english.CONJUNCTIONS, "A"),
    (english.FUNCTION_WORDS | english.AUXILIARIES, "O"),
    (english.ADJECTIVES_OR_NOUNS, "j"),
    (english.COLOURS | english.PATTERNS, "J"),
)
_OPEN = (
    (english.ADVERBS, "R"),
    (english.ADJECTIVES, "J"),
    (english.PARTICIPLES, "P"),
    (english.VERBS, "X"),
    (english.NOT_WHAT_THEY_END_IN, "N"),
)


def _letter_by_ending(word: str) -> str:
    if len(word) < 5:
        return "N"
    if word.endswith("ing"):
        return "V"
    if word.endswith("ed"):
        return "P"
    if word.endswith("ly"):
        return "R"
    return "J" if word.endswith(("ful", "ous", "less")) else "N"


def _missing_nltk_data(folder: Path | None) -> str:
    """The first data package that nltk does not find, or an empty string. Never downloads."""
    import nltk.data

    if folder is not None and str(folder) not in nltk.data.path:
        nltk.data.path.insert(0, str(folder))
    for package in NLTK_DATA:
        try:
            nltk.data.find(package)
        except LookupError:
            return package.split("/")[1]
    return ""


def _nltk_letters() -> Letters:
    from nltk.tag.perceptron import PerceptronTagger
    from nltk.tokenize.punkt import PunktTokenizer

    sentences: Any = PunktTokenizer("english")
    tagger: Any = PerceptronTagger(lang="eng")

    def letters(caption: str) -> list[tuple[Span, str]]:
        words: list[tuple[Span, str]] = []
        for start, end in sentences.span_tokenize(caption):
            spans = word_spans(caption, start, end)
            tagged = tagger.tag([caption[span.start : span.end] for span in spans])
            words += [
                (span, _letter_of_tag(word.lower(), tag))
                for span, (word, tag) in zip(spans, tagged, strict=True)
            ]
        return words

    return letters


def _letter_of_tag(word: str, tag: str) -> str:
    """The lists know better where a class is closed; of other adjectives the tagger is not sure."""
    if listed := _letter_in(_CLOSED, word):
        return listed
    letter = _LETTERS.get(tag, "O")
    return "j" if letter == "J" and word not in english.ADJECTIVES else letter


def _nltk_version() -> str:
    import nltk

    return str(nltk.__version__)
