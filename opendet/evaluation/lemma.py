"""Names by their lemmas: `Two red Buses` and `two red bus` are one name.

WordNet's lemmas of nouns where nltk has that corpus, else the rules and exceptions of
`opendet.annotators.english`. Which of the two it was stands beside the number.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from opendet.annotators.english import singular

_ARTICLES = frozenset(("a", "an", "the"))
_BETWEEN = re.compile(r"[\s_-]+")  # LVIS writes aerosol_can, others flip-flop.


@dataclass(frozen=True, slots=True)
class Lemmatiser:
    """Words to their dictionary form."""

    by: str
    """`wordnet` or `rules`."""
    of_word: Callable[[str], str]
    """A lower-case noun -> its singular."""

    def of_name(self, name: str) -> str:
        """Each word's lemma; letter case, spacing, hyphens and a leading article aside."""
        words = _BETWEEN.split(name.casefold().strip())
        if len(words) > 1 and words[0] in _ARTICLES:
            words = words[1:]
        return " ".join(map(self.of_word, words))


def find_lemmatiser() -> Lemmatiser:
    """WordNet's if nltk finds the corpus `wordnet` in its folders ($NLTK_DATA is one)."""
    from nltk.stem import WordNetLemmatizer

    wordnet = WordNetLemmatizer()
    try:
        wordnet.morphy("things", "n")
    except LookupError:
        return Lemmatiser("rules", singular)
    return Lemmatiser("wordnet", lambda word: wordnet.morphy(word, "n") or word)
