"""Names by their lemmas: `Two red Buses` and `two red bus` are one name.

WordNet's lemmas of nouns where nltk's corpus of it lies, else the rules and exceptions of
`opendet.annotators.english`. Which of the two it was stands beside the number.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
    """WordNet's if the corpus `wordnet` lies in a folder of $NLTK_DATA or in ~/nltk_data."""
    if not any(map(_has_wordnet, _folders())):
        return Lemmatiser("rules", singular)
    from nltk.stem import WordNetLemmatizer  # Seconds to import, so only where it serves.

    wordnet = WordNetLemmatizer()
    return Lemmatiser("wordnet", lambda word: wordnet.morphy(word, "n") or word)


def _folders() -> list[Path]:
    named = filter(None, os.environ.get("NLTK_DATA", "").split(os.pathsep))
    return [*map(Path, named), Path.home() / "nltk_data"]


def _has_wordnet(folder: Path) -> bool:
    corpora = folder / "corpora"
    return (corpora / "wordnet").is_dir() or (corpora / "wordnet.zip").is_file()
