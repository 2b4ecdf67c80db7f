"""Captions and descriptions written from annotations, and errors planted on purpose.

The grammar reads no pixels: it says what the source's labels say, in sentences that are true of the
boxes. Which sentence is chosen hangs on a hash of the record's key, so it never changes. Planted
errors give the filter something to find, in a share that is known.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from opendet.annotators.phrasing import counted, is_plural, listed, plural, with_article
from opendet.annotators.relations import gap_between, place_of, relation_of
from opendet.record import BoxXYXY, Record

REVISION = "1"
"""Changes when the grammar writes other sentences."""
MOST_NAMES = 8
"""A caption names so many kinds of things, the largest first, and counts the others."""
MOST_RELATIONS = 3
MOST_PLACES = 2


@dataclass(frozen=True, slots=True)
class Named:
    """A thing that can be spoken of."""

    name: str
    box_xyxy: BoxXYXY
    crowd: bool = False
    """Many things of that name, annotated by one box."""


def named_regions(record: Record) -> tuple[Named, ...]:
    """What the source gives a name in this record, in the record's order."""
    return tuple(
        Named(region.label, region.box_xyxy, region.crowd)
        for region in record.regions
        if region.label
    )


def write_caption(things: Sequence[Named], *, width: float, height: float, key: str) -> str:
    """What there is, how often, and how it lies; `An empty scene.` where there is nothing."""
    if not things:
        return "An empty scene."
    largest_first = sorted(things, key=lambda thing: -_area(thing.box_xyxy))
    sentences = [_opening(largest_first, key)]
    alone = _alone(largest_first)
    pairs = sorted(_neighbours(alone), key=lambda pair: draw(key, "pair", pair[0].name))
    sentences += [_relation_sentence(*pair) for pair in pairs[:MOST_RELATIONS]]
    spoken = sorted(alone, key=lambda thing: draw(key, "place", thing.name))
    for thing in spoken[:MOST_PLACES]:
        place = place_of(thing.box_xyxy, width=width, height=height)
        sentences.append(f"The {thing.name} {_is(thing.name)} {place}.")
    return " ".join(sentences)


def write_description(
    thing: Named, others: Sequence[Named], *, said: str, width: float, height: float
) -> str:
    """One phrase on a thing that is called `said`: where it lies, and beside what.

    `a red striped star in the bottom left, next to a blue plain ring`
    """
    head = f"a group of {plural(said)}" if thing.crowd else with_article(said)
    text = f"{head} {place_of(thing.box_xyxy, width=width, height=height)}"
    others = [other for other in others if not other.crowd]
    if not others:
        return text
    nearest = min(others, key=lambda other: gap_between(thing.box_xyxy, other.box_xyxy))
    relation = relation_of(thing.box_xyxy, nearest.box_xyxy)
    same = nearest.name == said
    return f"{text}, {relation} {f'another {said}' if same else with_article(nearest.name)}"


def wrong_name(
    name: str, vocabulary: Sequence[str], *, one_word_share: float, seed: int, key: str, index: int
) -> str:
    """Another name for the region of that index: one word swapped, or any other name.

    A swap takes one of the vocabulary's names that differ from `name` in a single word; where
    there is none, any other name is taken. `vocabulary` needs a name other than `name`.
    """
    others = [other for other in vocabulary if other != name]
    assert others, f"no other name than {name!r} to plant"
    if draw(seed, key, index, "kind") < one_word_share:
        others = [other for other in others if _differing_words(name, other) == 1] or others
    return others[int(draw(seed, key, index, "name") * len(others))]


def draw(*what: object) -> float:
    """A number in [0, 1) that hangs on its arguments' texts and on nothing else."""
    digest = hashlib.sha256("\n".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _differing_words(first: str, second: str) -> int:
    """How many words differ, place by place; many where the names are not equally long."""
    words, others = first.split(), second.split()
    if len(words) != len(others) or len(words) < 2:
        return max(len(words), len(others)) + 1
    return sum(word != other for word, other in zip(words, others, strict=True))


def _opening(things: Sequence[Named], key: str) -> str:
    """One sentence of all things, counted."""
    counts = Counter(thing.name for thing in things if not thing.crowd)
    parts = [counted(name, count) for name, count in counts.items()]
    crowds = Counter(thing.name for thing in things if thing.crowd)
    parts += [f"a group of {plural(name)}" for name in crowds]
    if hidden := sum(list(counts.values())[MOST_NAMES:]):
        crowded = parts[len(counts) :]
        parts = [*parts[:MOST_NAMES], *crowded, f"{hidden} more thing{'s' * (hidden > 1)}"]
    starts = ("The picture shows", "The image contains", "We see")
    return f"{starts[int(draw(key, 'opening') * len(starts))]} {listed(parts)}."


def _alone(things: Sequence[Named]) -> list[Named]:
    """Things that "the" can point at: the only ones of their name."""
    counts = Counter(thing.name for thing in things)
    return [thing for thing in things if counts[thing.name] == 1 and not thing.crowd]


def _neighbours(things: Sequence[Named]) -> list[tuple[Named, Named]]:
    """Each thing with the one nearest to it, no pair twice."""
    pairs: list[tuple[Named, Named]] = []
    for thing in things:
        others = [other for other in things if other is not thing]
        if not others:
            continue
        nearest = min(others, key=lambda other: gap_between(thing.box_xyxy, other.box_xyxy))
        if (nearest, thing) not in pairs:
            pairs.append((thing, nearest))
    return pairs


def _relation_sentence(first: Named, second: Named) -> str:
    relation = relation_of(first.box_xyxy, second.box_xyxy)
    if relation == "overlapping":
        verb = "overlap" if is_plural(first.name) else "overlaps"
    else:
        verb = f"{_is(first.name)} {relation}"
    return f"The {first.name} {verb} the {second.name}."


def _is(name: str) -> str:
    return "are" if is_plural(name) else "is"


def _area(box_xyxy: BoxXYXY) -> float:
    return (box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1])
