"""Guesses are cut out of a text ("a dog, possibly a terrier"), and never turned into claims."""

import re

from opendet.annotators.english import (
    AUXILIARIES,
    CONJUNCTIONS,
    DETERMINERS,
    FUNCTION_WORDS,
    NUMBERS,
    PREPOSITIONS,
    VERBS,
)
from opendet.annotators.sentences import WORD, ended, sentences_of

MOST_GUESSES = 20
"""In one sentence; one with more is nothing but guesses."""

_ADVERB = (
    r"(?:possibly|probably|perhaps|maybe|presumably|apparently|seemingly|potentially|supposedly"
    r"|likely|conceivably)"
)
_SEEMS = (
    r"(?:(?:appear|seem)(?:s|ed|ing)?(?: \w+ly)? (?:to\b|as (?:if|though)\b|that\b|like\b)"
    r"|look(?:s|ed|ing)? (?:like|as (?:if|though))\b)"
)
_MODAL = (
    r"(?:may|might|could)(?: also| even| well| have)? "
    r"(?:be(?:en)?\b(?! (?:seen|found|observed|spotted))"
    r"|have|indicate|suggest|represent|belong|contain|include|serve)\b"
)
_SUGGESTS = (
    r"(?:suggest(?:s|ed|ing|ive of)?|impl(?:y|ies|ied|ying)|hint(?:s|ed|ing)? at"
    r"|indicat(?:es?|ed|ing) that|giv(?:es|ing) the (?:impression|appearance))\b"
)
_UNKNOWN = (
    r"(?:(?:un|not )(?:clear|certain|sure)|hard to (?:tell|say)|cannot be determined"
    r"|(?:it(?:['’]s| is) )?(?:un)?(?:possible|likely) that|i (?:think|believe|guess|assume)"
    r"|can be (?:inferred|assumed))\b"
)
_GUESS = re.compile(rf"\b(?:{_ADVERB}\b|{_SEEMS}|{_MODAL}|{_SUGGESTS}|{_UNKNOWN})", re.IGNORECASE)
# what belongs to a guess and stands before it: cut with it, and the sentence before it stands
_LEAD = re.compile(
    r"(?:\s*[,;:–—]\s*|\s+-\s+|\s+)"
    r"(?:(?:and|or|but|as|while|though|although)\s+)?"
    r"(?:(?:(?:that|which|who)(?:\s+(?:is|are|was|were))?"
    r"|(?:in|on|at|with|near|by|of|from|for|under|behind|beside|to|next to|in front of|as)\s+what)"
    r"\s+)?\Z",
    re.IGNORECASE,
)
# what a guess may guess at by name: "appears to be a mug", "possibly a mug"
_NAMING = re.compile(
    rf"(?:{_ADVERB}|{_SEEMS}|(?:may|might|could)(?: also| even| well)? be)\Z", re.IGNORECASE
)
# what may stand before it without being the thing's own name
_NAMELESS = re.compile(
    r"(?:(?:(?:this|that|it|there|here)(?:['’]s)?"
    r"|(?:the|this) (?:(?:main|central|primary|most prominent) )?"
    r"(?:object|item|thing|subject|region|area|crop|image|picture|photo|photograph|scene)"
    r"(?: (?:in|of|shown in) (?:this|the) \w+)?)"
    r"(?: (?:is|are|shows?|depicts?|contains?|features?))?)?\s*(?:what)?\s*\Z",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"]{1,300}\"|“[^”]{1,300}”")
_IN_BRACKETS = re.compile(r"\s*\([^()]{1,300}\)")
_INDICATING = re.compile(r",\s*(?:and\s+)?(?:indicating|evoking)\b", re.IGNORECASE)

# words that a clause of its own begins with
_OPENERS = CONJUNCTIONS | FUNCTION_WORDS | {"as", "there", "this", "these"}


def without_guesses(line: str, *, keep_name: bool = False) -> str:
    """The line without its guesses. With `keep_name`, a first sentence that would leave nothing
    keeps the name of what it is about: "It appears to be a mug on a shelf." -> "A mug on a shelf.",
    "The mug may be of clay." -> "The mug."."""
    if not _GUESS.search(line) and not _INDICATING.search(line):
        return line
    sentences = sentences_of(line)
    kept = [_without_guess(sentence) for sentence in sentences]
    if keep_name and not kept[0]:
        kept[0] = _named_by(sentences[0])
    return " ".join(sentence for sentence in kept if sentence)


def _named_by(sentence: str) -> str:
    """What a sentence that is nothing but a guess calls its thing; empty where it has no name."""
    guess = _GUESS.search(_hushed(sentence))
    if guess is None:
        return ""
    before, rest = sentence[: guess.start()], sentence[guess.end() :]
    if not _NAMELESS.match(before.strip()):
        return ended(_subject(before))
    name = re.sub(r"\A[\s,]*(?:(?:to )?be\b)?\s*", "", rest)
    first = WORD.match(name)
    named = first and first.group().lower() in DETERMINERS | NUMBERS
    if not named or not _NAMING.match(guess.group()):
        return ""
    return _without_guess(name[:1].upper() + name[1:])


def _subject(before: str) -> str:
    """The thing that a sentence begins with, up to its verb; empty where that is none."""
    words = before.split()
    plain = [word.strip(".,;:\"'").lower() for word in words]
    verb = next((place for place, word in enumerate(plain) if _may_be_verb(word)), len(words))
    if not plain or plain[0] not in (DETERMINERS | NUMBERS) - {"this", "that", "these", "those"}:
        return ""
    return " ".join(words[:verb]) if verb > 1 else ""


def _without_guess(sentence: str) -> str:
    """A sentence up to its guess; empty where the guess is what it says."""
    sentence = _IN_BRACKETS.sub(
        lambda aside: "" if _GUESS.search(_hushed(aside.group())) else aside.group(), sentence
    )
    for _ in range(MOST_GUESSES):
        hushed = _hushed(sentence)
        guess = _GUESS.search(hushed)
        aside = _INDICATING.search(hushed)
        if aside and (guess is None or aside.start() < guess.start()):
            return ended(sentence[: aside.start()])
        if guess is None:
            return sentence
        start = _start_of_guess(hushed, guess.start())
        if start is None:
            return ""
        rest = _after_apposition(hushed, guess.end())
        if rest is None:
            return ended(sentence[:start])
        sentence = f"{sentence[:start]} {sentence[rest:]}"
    return ""


def _hushed(sentence: str) -> str:
    """What a sign in the picture says is no guess of the model: quotations become dots."""
    return _QUOTED.sub(lambda quoted: "." * len(quoted.group()), sentence)


def _start_of_guess(sentence: str, guess: int) -> int | None:
    """Where to cut so that the sentence before the guess stands; None where nothing would."""
    lead = _LEAD.search(sentence, 0, guess)
    if lead is None:
        return None
    start = lead.start()
    of_a_clause = not lead.group().strip()  # its verb or part of it: "The man appears to ..."
    if of_a_clause:
        start = max(sentence.rfind(mark, 0, guess) for mark in (",", ";"))
    before = [word.lower() for word in WORD.findall(sentence[: max(start, 0)])]
    has_verb = any(_may_be_verb(word) for word in before)
    if not before or (before[0] in PREPOSITIONS | _OPENERS and not has_verb):
        return None
    if of_a_clause and not has_verb:  # the commas may be within its subject: "A red, shiny car ..."
        opener = WORD.search(sentence, start)
        return start if opener and opener.group().lower() in _OPENERS else None
    return start


def _may_be_verb(word: str) -> bool:
    return word in VERBS | AUXILIARIES or (word.endswith(("ing", "ed")) and len(word) > 4)


def _after_apposition(sentence: str, guess_end: int) -> int | None:
    """Where the sentence goes on behind "..., possibly a terrier, sits ..."; None where the rest
    may belong to the guess."""
    comma = sentence.find(",", guess_end)
    following = WORD.match(sentence, comma + 2) if comma > 0 else None
    goes_on = following and following.group().lower() in VERBS | AUXILIARIES
    return comma + 2 if goes_on else None
