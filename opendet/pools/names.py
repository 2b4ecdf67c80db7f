"""When two names are one: by their lemmas, so that `Roller skates` is LVIS's `roller_skate`."""

import re

from opendet.annotators.english import singular
from opendet.evaluation.lemma import Lemmatiser

_RULES = Lemmatiser("rules", singular)
"""WordNet, where a machine has it, would judge the same pool otherwise."""
_GLOSS = re.compile(r"\s*\([^)]*\)$")


def plain(name: str) -> str:
    """The name's form that is compared: lemmas in lower case, single spaces, no leading article."""
    return _RULES.of_name(name)


def without_gloss(plain_name: str) -> str:
    """`crab (animal)` -> `crab`: what LVIS adds in brackets is no part of what people say."""
    return _GLOSS.sub("", plain_name)
