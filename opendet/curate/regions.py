"""The stage `regions`: the boxes of an image, and the caption's phrases that speak of them.

The boxes are the source's own, or those of detectors (`opendet.curate.finding`). A phrase is
grounded by what the source, or the detector, calls a region.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from opendet.annotators.grounding import Synonyms, ground
from opendet.annotators.noun_phrases import NltkOrGrammar, NounPhrases, Span, longest_apart
from opendet.annotators.queries import queries_of
from opendet.answers.memory import AnswerPlace
from opendet.curate import finding
from opendet.curate.finding import (
    FindConfig,
    RememberedFinder,
    RememberedSegmenter,
    with_found,
)
from opendet.record import Phrase, Provenance, Record, Region
from opendet.sample import Dropped, Sample


class RegionsConfig(FindConfig):
    """Who draws boxes and masks, and how the caption's phrases are found and grounded."""

    tagger: NltkOrGrammar = "auto"
    """Who finds noun phrases: `nltk` (its data must be there), the built-in `grammar`, or `auto`:
    nltk where its data are found. Builds that must be equal on all machines name one of the two."""
    nltk_folder: Path | None = None
    """Folder of nltk's data (punkt_tab, averaged_perceptron_tagger_eng); null: where nltk itself
    looks, such as NLTK_DATA. Nothing is ever downloaded."""
    tag_found: bool = False
    """Whether an image without tags is tagged with the labels and names of its regions."""
    keep_ungrounded: bool = True
    """Whether a phrase that no region was found for stays in the record."""
    synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Further words of captions and the labels that they may stand for, singular, lower case:
    `erythrocyte: [rbc]`."""


class RegionFinder:
    """Finds each record's regions, and grounds its caption in them. Only models look at pixels."""

    def __init__(
        self,
        config: RegionsConfig,
        curated: Sequence[str] = (),
        place: AnswerPlace | None = None,
    ) -> None:
        """`curated`: the names that detectors look for in every image. `place`: where models'
        answers are kept.

        Raises ValueError where a model cannot be loaded, or nltk is asked for and its data are not
        on this machine.
        """
        place = place or AnswerPlace()
        self._noun_phrases = NounPhrases(config.tagger, config.nltk_folder)
        self._finders = [RememberedFinder(one, place) for one in config.detectors]
        self._segmenter = RememberedSegmenter(config.masks, place) if config.masks.model else None
        self._config, self._curated = config, tuple(curated)

    def __call__(self, samples: Sequence[Sample]) -> list[Record | Dropped]:
        found = self._found(samples) if self._finders else [one.record for one in samples]
        if self._segmenter is not None:
            found = [
                self._segmenter.with_masks(sample, record)
                for sample, record in zip(samples, found, strict=True)
            ]
        if self._config.tag_found:
            found = [self._tagged(record) for record in found]
        return [self.ground_caption(record) for record in found]

    def ground_caption(self, record: Record) -> Record:
        found_by = Provenance(model="noun phrases", revision=self._noun_phrases.revision)
        synonyms = self._config.synonyms
        if self._replaced(record):  # the source's phrases stay, and speak of the boxes now there
            own = [replace(phrase, grounded_from=found_by) for phrase in record.phrases]
            record = replace(record, phrases=tuple(grounded(record, own, synonyms)))
        phrases = ground_spans(record, self._noun_phrases(record.caption), found_by, synonyms)
        if not self._config.keep_ungrounded:
            phrases = tuple(phrase for phrase in phrases if phrase.regions)
        return replace(record, phrases=phrases)

    def _replaced(self, record: Record) -> bool:
        """Whether detectors' boxes are in the place of the source's."""
        labelled = record.split in self._config.detected_splits and bool(self._finders)
        return labelled and self._config.source_boxes == "replace"

    def _tagged(self, record: Record) -> Record:
        names = dict.fromkeys(name for region in record.regions for name in _sayings(region))
        if record.tags or not names:
            return record
        return replace(record, tags=tuple(names), tags_from=Provenance("regions"))

    def _found(self, samples: Sequence[Sample]) -> list[Record]:
        """The records with the boxes of all detectors, where these label their split."""
        labelled = [one for one in samples if one.record.split in self._config.detected_splits]
        names = [self._names_for(sample.record) for sample in labelled]
        rounds = [finder.regions(labelled, names) for finder in self._finders]
        found = {
            sample.key: with_found(
                sample.record, [region for regions in one for region in regions], self._config
            )
            for sample, *one in zip(labelled, *rounds, strict=True)
        }
        return [found.get(sample.key, sample.record) for sample in samples]

    def _names_for(self, record: Record) -> tuple[str, ...]:
        spans = self._noun_phrases(record.caption)
        said = [record.caption[span.start : span.end] for span in spans]
        return queries_of(record, said, self._config.queries, self._curated)


def ground_spans(
    record: Record, spans: Iterable[Span], found_by: Provenance, synonyms: Synonyms
) -> tuple[Phrase, ...]:
    """The caption's phrases in order, none overlapping: the record's own, and of the spans found
    those that are apart from them. The longest of spans that overlap stays."""
    own = {Span(phrase.start, phrase.end): phrase for phrase in record.phrases}
    kept = {span: own[span] for span in longest_apart(own)}
    new = [span for span in longest_apart(spans) if all(span.apart_from(one) for one in kept)]
    found = grounded(record, [Phrase(span.start, span.end, (), found_by) for span in new], synonyms)
    kept |= dict(zip(new, found, strict=True))
    return tuple(kept[span] for span in sorted(kept))


def grounded(record: Record, phrases: Iterable[Phrase], synonyms: Synonyms) -> list[Phrase]:
    """The phrases with the regions that their words speak of."""
    sayings = [_sayings(region) for region in record.regions]
    return [
        replace(one, regions=ground(record.caption[one.start : one.end], sayings, synonyms))
        for one in phrases
    ]


def tally(records: Sequence[Record]) -> dict[str, int]:
    """Regions by who found them, phrases, and how many of either found the other."""
    counts = Counter(finding.tally(records))
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
