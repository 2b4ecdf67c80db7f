"""A record as one text and the regions that spans of it speak of, for formats made of such.

Where the record's caption has grounded phrases it is the text, and regions that none of them speaks
of stay unsaid. Otherwise the regions' names make a list `name. name. `, as files made of detections
have it, with absent names mixed in.

What a format leaves out is counted as by `opendet.exports.objects`; a region without a phrase is
`box without phrase`.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from opendet.exports.objects import judgements_of, name_of, words_of
from opendet.record import Record, Region
from opendet.sources.listing import clean_text
from opendet.sources.odvg import NAME_END, Span, bare_phrase, find_words, unspoken_names

Regions = Mapping[int, Region]
"""The exported ones of a record, by their number in it."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Spans of a text that speak of the same regions."""

    spans: tuple[Span, ...]
    regions: tuple[int, ...]
    """Their numbers in the record, one at least."""


@dataclass(frozen=True, slots=True)
class Grounding:
    """A text, and the regions that its spans speak of."""

    caption: str
    spoken: tuple[Spoken, ...]

    @property
    def regions(self) -> set[int]:
        """All that it speaks of."""
        return {number for one in self.spoken for number in one.regions}

    @property
    def words(self) -> dict[int, list[str]]:
        """What each of them is called."""
        words: defaultdict[int, list[str]] = defaultdict(list)
        for one in self.spoken:
            texts = [self.caption[start:end] for start, end in one.spans]
            for number in one.regions:
                words[number] += texts
        return words


def exported_regions(record: Record, left_out: Counter[str]) -> Regions:
    """Those that are kept and are one object; counts what no text can say."""
    regions = {}
    for number, region in enumerate(record.regions):
        if not region.kept:
            left_out["refused box"] += 1
        elif region.crowd:  # as a plain box it would be taken for one object
            left_out["crowd"] += 1
        else:
            regions[number] = region
            left_out["mask"] += region.mask is not None
    left_out.update(judgements_of(regions.values()))
    left_out["partial"] += len(record.partial)
    left_out["licence"] += bool(record.licence)
    left_out["near duplicate"] += bool(record.near_duplicate_of)
    return regions


def grounding_of(
    record: Record, regions: Regions, left_out: Counter[str], *, negatives: int = 0
) -> Grounding:
    """The caption's own grounding where it has one, else a list of names with absent ones, at most
    `negatives`, among them; counts phrases and absent names that are left out."""
    own = own_grounding(record, regions)
    if own is None:
        left_out["phrase"] += 0 if lists_names(record) else len(record.phrases)
        return _list_of_names(record, regions, left_out, negatives)
    left_out["phrase"] += len(record.phrases) - sum(len(one.spans) for one in own.spoken)
    spans = [span for one in own.spoken for span in one.spans]
    listed = {name.lower() for name in unspoken_names(own.caption, spans) or ()}
    left_out["absent"] += sum(item.name.lower() not in listed for item in record.absent)
    return own


def with_described(grounding: Grounding, regions: Regions) -> Grounding:
    """The sentence with spans for regions that nothing else speaks of: their descriptions, where it
    has them word for word and apart from what speaks of other things."""
    taken = [span for one in grounding.spoken for span in one.spans]
    if unspoken_names(grounding.caption, taken) is not None:
        return grounding
    found: dict[Span, list[int]] = {}
    spoken_of = grounding.regions
    for number, region in regions.items():
        if number in spoken_of or not region.description:
            continue
        span = find_words(grounding.caption, region.description)
        if span in found:
            found[span].append(number)
        elif span and not any(span[0] < end and start < span[1] for start, end in taken):
            taken.append(span)
            found[span] = [number]
    described = (Spoken((span,), tuple(numbers)) for span, numbers in found.items())
    return Grounding(grounding.caption, (*grounding.spoken, *described))


def own_grounding(record: Record, regions: Regions) -> Grounding | None:
    """None for a caption without grounded phrases, and for a list of names that is true no more:
    without its region, a name in it would count as absent."""
    spans: defaultdict[tuple[int, ...], list[Span]] = defaultdict(list)
    whole = True
    for phrase in record.phrases:
        text = record.caption[phrase.start : phrase.end]
        numbers = tuple(number for number in phrase.regions if number in regions)
        whole &= bool(numbers) and all(says_name(text, regions[number]) for number in numbers)
        if numbers:
            spans[numbers].append((phrase.start, phrase.end))
    if not spans or (lists_names(record) and not whole):
        return None
    spoken = (Spoken(tuple(group), numbers) for numbers, group in spans.items())
    return Grounding(record.caption, tuple(spoken))


def lists_names(record: Record) -> bool:
    """Whether its caption is a list of names and no sentence."""
    spans = [(phrase.start, phrase.end) for phrase in record.phrases]
    return unspoken_names(record.caption, spans) is not None


def says_name(text: str, region: Region) -> bool:
    """Whether a phrase calls a region what it is called now, or it is called nothing."""
    name = name_of(region).lower()
    return not name or name in (text.strip().lower(), bare_phrase(text).lower())


def count_unsaid(regions: Regions, said: Container[int], left_out: Counter[str]) -> None:
    """Add the regions that no word speaks of."""
    for number, region in regions.items():
        if number not in said:
            left_out[f"box without {'phrase' if name_of(region) else 'name'}"] += 1


def count_words(
    regions: Regions, said: Mapping[int, Iterable[str]], left_out: Counter[str]
) -> None:
    """Add what regions that are spoken of are called elsewhere alone, and their descriptions."""
    for number, texts in said.items():
        written = {plain for text in texts for plain in (_plain(text), _plain(bare_phrase(text)))}
        left_out["other label"] += sum(_plain(w) not in written for w in words_of(regions[number]))
    for number, region in regions.items():
        if region.description:
            texts = said.get(number, ())
            left_out["description"] += _plain(region.description) not in map(_plain, texts)


def _plain(text: str) -> str:
    return clean_text(text).lower()


def count_captions(record: Record, said: Iterable[str], left_out: Counter[str]) -> None:
    """Add the record's texts that no written one is. A list of names is none to be missed."""
    written = {clean_text(text) for text in said}
    if not lists_names(record) and (caption := clean_text(record.caption)):
        left_out["caption"] += caption not in written
    left_out["source caption"] += sum(
        clean_text(text) not in written for text in record.source_captions
    )


def _list_of_names(
    record: Record, regions: Regions, left_out: Counter[str], negatives: int
) -> Grounding:
    """Names that differ in their case alone are one."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    names: dict[str, str] = {}
    for number, region in regions.items():
        if name := name_of(region):
            names.setdefault(name.lower(), name)
            numbers[name.lower()].append(number)
    absent = _negatives_of(record, names, negatives)
    left_out["absent"] += len(record.absent) - len(absent)
    if absent:
        # Always behind the others, they would be told by their place. The order is the record's.
        names = dict(sorted((names | absent).items(), key=lambda item: _draw(record, item[0])))
    return _joined(names, numbers)


def _negatives_of(record: Record, present: Mapping[str, str], most: int) -> dict[str, str]:
    """Names that are absent, by their lower case: no more than `most`, any of them.

    None for a list without a present name, which nobody could tell from a sentence.
    """
    if not present:
        return {}
    names = {item.name.lower(): item.name for item in record.absent}
    fit = [key for key in names if key not in present and NAME_END not in f"{key} "]
    fit.sort(key=lambda key: _draw(record, key))
    return {key: names[key] for key in fit[:most]}


def _draw(record: Record, key: str) -> bytes:
    """A number for a name that is any number, and the same each time."""
    return sha256(f"{record.key}/{key}".encode()).digest()


def _joined(names: Mapping[str, str], numbers: Mapping[str, list[int]]) -> Grounding:
    caption = ""
    spoken = []
    for key, name in names.items():
        if key in numbers:
            span = (len(caption), len(caption) + len(name))
            spoken.append(Spoken((span,), tuple(numbers[key])))
        caption += name + NAME_END
    return Grounding(caption, tuple(spoken))
