"""Whether a text is English: a cheap test of its script and its commonest words."""

import unicodedata

from opendet.annotators.english import (
    AUXILIARIES,
    CONJUNCTIONS,
    DETERMINERS,
    FUNCTION_WORDS,
    NUMBERS,
    PREPOSITIONS,
)
from opendet.annotators.sentences import WORD


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LATIN_SHARE = 0.8
_ENGLISH = DETERMINERS | PREPOSITIONS | CONJUNCTIONS | FUNCTION_WORDS | AUXILIARIES | NUMBERS
# the commonest words of other languages in Latin script that are no words of English
_FOREIGN = (
    _words(
        "der das und ist ein eine einen einem einer mit auf den dem des im von zu zwei sich nicht "
        "für le la les un une et est dans avec sur du au aux qui deux il elle sont pas pour ce "
        "cette el los las una y en con que por su se del al es está dos hay para lo gli uno e di "
        "che nel nella sul sulla sono due della os um uma da na em com não são dois het een van op "
        "met zijn de twee voor"
    )
    - _ENGLISH
)
FEWEST_WORDS = 8
"""Words of a text whose language is judged by its words: shorter ones have too few to tell."""


MANY_WORDS = 25


def is_english(text: str) -> bool:
    """Whether a text may be English; a cheap test that errs on the side of yes.

    Fewer than four of five letters of Latin script say no. Of `FEWEST_WORDS` words or more, the
    common ones of German, French, Spanish, Italian, Portuguese and Dutch must be no more than those
    of English; of `MANY_WORDS`, some must be English, which a list of things need not have. Short
    texts in Latin script pass whatever their language, and so do long ones that mix English with
    another.
    """
    letters = [one for one in text if one.isalpha()]
    latin = sum(_is_latin(one) for one in letters)
    if latin < _LATIN_SHARE * len(letters):
        return False
    words = [word.lower() for word in WORD.findall(text)]
    if len(words) < FEWEST_WORDS:
        return True
    english = sum(word in _ENGLISH for word in words)
    foreign = sum(word in _FOREIGN for word in words)
    return english >= foreign and (len(words) < MANY_WORDS or english >= 0.05 * len(words))


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))
