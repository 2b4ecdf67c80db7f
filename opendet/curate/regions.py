"""The stage `regions`: the boxes of an image, and the caption's phrases that speak of them.

The boxes are the source's own and stay as they are. Names are not known before the stage
`describe`, so a phrase is grounded by what the source calls a region.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from opendet.annotators.grounding import Synonyms, ground
from opendet.annotators.noun_phrases import NltkOrGrammar, NounPhrases, Span, longest_apart
from opendet.record import Phrase, Provenance, Record, Region
from opendet.sample import Dropped, Sample
from opendet.section import Section


class RegionsConfig(Section):
    """How the caption's phrases are found and grounded."""

    tagger: NltkOrGrammar = "auto"
    """Who finds noun phrases: `nltk` (its data must be there), the built-in `grammar`, or `auto`:
    nltk where its data are found. Builds that must be equal on all machines name one of the two."""
    nltk_folder: Path | None = None
    """Folder of nltk's data (punkt_tab, averaged_perceptron_tagger_eng); null: where nltk itself
    looks, such as NLTK_DATA. Nothing is ever downloaded."""
    keep_ungrounded: bool = True
    """Whether a phrase that no region was found for stays in the record."""
    synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Further words of captions and the labels that they may stand for, singular, lower case:
    `erythrocyte: [rbc]`."""


class RegionFinder:
    """Grounds each record's caption in its regions."""

    def __init__(self, config: RegionsConfig) -> None:
        """Raises ValueError where nltk is asked for and its data are not on this machine."""
        self._noun_phrases = NounPhrases(config.tagger, config.nltk_folder)
        self._config = config

    def __call__(self, samples: Sequence[Sample]) -> list[Record | Dropped]:
        return [self.ground_caption(sample.record) for sample in samples]

    def ground_caption(self, record: Record) -> Record:
        found_by = Provenance(model="noun phrases", revision=self._noun_phrases.revision)
        phrases = ground_spans(
            record, self._noun_phrases(record.caption), found_by, self._config.synonyms
        )
        if not self._config.keep_ungrounded:
            phrases = tuple(phrase for phrase in phrases if phrase.regions)
        return replace(record, phrases=phrases)


def ground_spans(
    record: Record, spans: Iterable[Span], found_by: Provenance, synonyms: Synonyms
) -> tuple[Phrase, ...]:
    """The caption's phrases in order, none overlapping: the record's own, and of the spans found
    those that are apart from them. The longest of spans that overlap stays."""
    own = {Span(phrase.start, phrase.end): phrase for phrase in record.phrases}
    kept = {span: own[span] for span in longest_apart(own)}
    sayings = [_sayings(region) for region in record.regions]
    for span in longest_apart(spans):
        if all(span.apart_from(other) for other in kept):
            text = record.caption[span.start : span.end]
            regions = ground(text, sayings, synonyms)
            kept[span] = Phrase(span.start, span.end, regions, found_by)
    return tuple(kept[span] for span in sorted(kept))


def tally(records: Iterable[Record]) -> dict[str, int]:
    """Regions, phrases, and how many of either found the other."""
    counts = Counter[str]()
    for record in records:
        grounded = [phrase for phrase in record.phrases if phrase.regions]
        mentioned = {index for phrase in grounded for index in phrase.regions}
        counts["regions"] += len(record.regions)
        counts["regions.in_caption"] += len(mentioned)
        counts["phrases.grounded"] += len(grounded)
        counts["phrases.ungrounded"] += len(record.phrases) - len(grounded)
    return dict(counts)


def _sayings(region: Region) -> tuple[str, ...]:
    return (region.label,) if region.label is not None else region.names
