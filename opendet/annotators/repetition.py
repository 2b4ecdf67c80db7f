"""Models run in circles: the second round is cut."""

import re

from opendet.annotators.sentences import WORD, ended, sentences_of

LONGEST_PERIOD = 24
"""Words of the longest run that is looked for; longer ones are sentences, mostly."""
_NOISE = re.compile(r"([^\w\s])\1{3,}")
_LETTER_RUN = re.compile(r"(\w{1,4}?)\1{15,}")


def without_loops(line: str) -> str:
    """Without sentences that were said before; a run of words that comes again is cut with all that
    follows its first time."""
    line = _NOISE.sub(r"\1", line)
    if run := _LETTER_RUN.search(line):
        line = line[: run.start()].rstrip(" ,;:-")
    line = _first_of_each_run(line)
    seen: set[str] = set()
    kept: list[str] = []
    sentences = sentences_of(line)
    for sentence in sentences:
        said = " ".join(WORD.findall(sentence.lower())) or sentence
        if said not in seen:
            kept.append(sentence)
            seen.add(said)
    repeated = len(kept) < len(sentences)
    if repeated and len(kept) > 1 and any(one.startswith(kept[-1]) for one in kept[:-1]):
        kept.pop()  # the limit cut the last round short
    return " ".join(kept)


def _first_of_each_run(line: str) -> str:
    """Cut after the first round of the earliest run of words: three rounds of several words, or
    five of one, make a run."""
    words = line.split()
    plain = [word.strip(".,;:!?\"'").lower() for word in words]
    found = [
        (start, period)
        for period in range(1, LONGEST_PERIOD + 1)
        if (start := _run_start(plain, period, rounds=5 if period == 1 else 3)) is not None
    ]
    if not found:
        return line
    start, period = min(found)
    return ended(" ".join(words[: start + period]))


def _run_start(words: list[str], period: int, *, rounds: int) -> int | None:
    """Where the first run of `rounds` equal stretches of `period` words starts."""
    same = 0
    for place in range(period, len(words)):
        same = same + 1 if words[place] == words[place - period] else 0
        if same == (rounds - 1) * period:
            return place + 1 - rounds * period
    return None
