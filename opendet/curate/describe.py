"""The stage `describe`: one short text of each region, and the name that it says.

`Region.label` is the truth and stays as it is. What is written here is what the build believes: a
planted error is a description and a name that differ from the label, and nothing else marks it.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from opendet.annotators.chat import Unanswered
from opendet.annotators.grammar import (
    REVISION,
    Named,
    draw,
    named_regions,
    write_description,
    wrong_name,
)
from opendet.annotators.served_config import ServedConfig
from opendet.annotators.vision_language import VisionLanguageConfig
from opendet.annotators.windows import window_of
from opendet.answers.memory import AnswerPlace
from opendet.curate.asking import (
    Language,
    Remembered,
    cleaned,
    cleanings,
    load_asked,
    origin,
    refused,
    subject,
    unanswered,
    without_answer,
)
from opendet.curate.prompting import Prompt
from opendet.curate.text import clean_text, short_name
from opendet.manifest import QuarantinedEntry
from opendet.record import BoxXYXY, Provenance, Record, Region
from opendet.sample import Dropped, Sample
from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image


class DescribeConfig(Section):
    """Who describes the regions, and how many errors are planted."""

    annotator: Literal["grammar", "vision_language", "served"] = "grammar"
    """`grammar` writes from the source's labels and leaves regions without one undescribed;
    `vision_language` asks a model about each region's crop, `served` one behind an
    OpenAI-compatible server."""
    planted_error_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the grammar's descriptions that name something else, for the filter to find."""
    one_word_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the planted errors with one word swapped, such as the colour; the others take any
    other name of the build."""
    seed: int = Field(default=0, ge=0)
    """Decides which descriptions are wrong, and how."""
    prompt: Prompt = Prompt(
        text="Name the main object in this region with a short noun phrase, then its visible "
        "attributes."
    )
    """What the vision-language model is asked about a crop: the words, or a file such as
    `prompts/region_name.v1.txt` below configs/."""
    context: float = Field(default=0.2, ge=0)
    """How far a crop reaches beyond its box on each side, as a share of the box's side."""
    rename: bool = False
    """Whether a region that a detector has named gets the name that a model's answer says, in the
    place of the detector's."""
    names_from_labels: bool = False
    """Whether a region that the source has labelled is called by the source's own words, whatever a
    model's answer says: for sources whose labels are to be learned from, and not to judge by."""
    max_name_words: int = Field(default=5, ge=1)
    """Longest name that is read from a model's answer."""
    vision_language: VisionLanguageConfig = VisionLanguageConfig(max_new_tokens=48)
    """The model that `annotator: vision_language` asks."""
    served: ServedConfig = ServedConfig(max_new_tokens=48)
    """The server that `annotator: served` asks."""
    language: Language = "english"
    """Of a model's answers: others leave their region undescribed where English is asked for."""


class Describer:
    """Describes regions. Only a vision-language model looks at pixels."""

    def __init__(
        self,
        config: DescribeConfig,
        vocabulary: tuple[str, ...] = (),
        place: AnswerPlace | None = None,
    ) -> None:
        """`vocabulary` holds the build's labels, sorted: what planted errors are drawn from.
        `place`: where a model's answers are kept.

        Raises ValueError where the model cannot be loaded, or no error could be planted.
        """
        if config.planted_error_share > 0 and len(set(vocabulary)) < 2:
            raise ValueError(
                f"describe.planted_error_share is {config.planted_error_share}, but the build has "
                f"{len(set(vocabulary))} different labels: set it to 0, or label the regions"
            )
        assert config.prompt.is_read, "settle the section first"
        self._config, self._vocabulary = config, vocabulary
        self._model = load_asked(config, place)

    def __call__(self, samples: Sequence[Sample]) -> list[Record | Dropped | QuarantinedEntry]:
        if self._model is not None:
            return _ask(self._model, samples, self._config)
        return [
            describe_by_grammar(sample.record, self._vocabulary, self._config) for sample in samples
        ]


def tally(records: Sequence[Record]) -> dict[str, int]:
    """Regions described and not, and why; the grammar's names that differ from the source's label;
    what models' answers were cleaned of."""
    counts: Counter[str] = Counter()
    for region in (region for record in records for region in record.regions):
        counts["regions"] += 1
        counts["described"] += bool(region.description)
        counts["undescribed"] += not region.description
        counts["unnamed"] += not region.names
        counts["planted"] += is_planted(region)
        if region.description_from is not None:
            counts.update(f"cleaned.{reason}" for reason in cleanings(region.description_from))
            if why := unanswered(region.description_from):
                counts[f"unanswered.{why}"] += 1
    return dict(counts)


def is_planted(region: Region) -> bool:
    """Whether the grammar said another name than the source's: for counting and judging only."""
    by_grammar = region.names_from is not None and region.names_from.model == "grammar"
    return by_grammar and not {*region.names[:1]} & {*region.true_names}


def describe_by_grammar(
    record: Record, vocabulary: Sequence[str], config: DescribeConfig
) -> Record:
    """The record with a description of each labelled region, some of them wrong on purpose."""
    things = named_regions(record)
    labelled = (index for index, region in enumerate(record.regions) if region.label)
    place = {index: number for number, index in enumerate(labelled)}  # region -> thing
    regions = list(record.regions)
    for index, number in place.items():
        thing = things[number]
        true = regions[index].true_names
        said = _said(thing, true, vocabulary, config, key=record.key, index=index)
        others = [*things[:number], *things[number + 1 :]]
        text = write_description(thing, others, said=said, width=record.width, height=record.height)
        by = Provenance("grammar", REVISION)
        described = replace(regions[index], description=text, description_from=by)
        regions[index] = _with_name(described, said, by)
    return replace(record, regions=tuple(regions))


def _said(
    thing: Named,
    true: Collection[str],
    vocabulary: Sequence[str],
    config: DescribeConfig,
    *,
    key: str,
    index: int,
) -> str:
    """Its name, or in the configured share of cases one that is none of the true ones."""
    if draw(config.seed, key, index, "planted") >= config.planted_error_share:
        return thing.name
    wrong = [name for name in vocabulary if name not in true]
    if not wrong:
        return thing.name
    return wrong_name(
        thing.name,
        wrong,
        one_word_share=config.one_word_share,
        seed=config.seed,
        key=key,
        index=index,
    )


def _ask(
    model: Remembered, samples: Sequence[Sample], config: DescribeConfig
) -> list[Record | Dropped | QuarantinedEntry]:
    """All crops of all samples in one row of questions; the answers go back to their regions."""
    shown = [(sample, region.box_xyxy) for sample in samples for region in sample.record.regions]
    crops = [_crop(sample, box_xyxy, context=config.context) for sample, box_xyxy in shown]
    subjects = [subject(one.record, box, context=config.context) for one, box in shown]
    answers = iter(model.ask(crops, [config.prompt.text] * len(crops), subjects))
    said_by = origin(model, config.prompt)
    return [
        _answered(sample.record, [next(answers) for _ in sample.record.regions], said_by, config)
        for sample in samples
    ]


def _answered(
    record: Record,
    answers: Sequence[str | Unanswered],
    said_by: Provenance,
    config: DescribeConfig,
) -> Record | Dropped | QuarantinedEntry:
    """The record with its regions described. What the model refuses to describe stays without a
    description, whose origin says why; where the server was at fault, the whole image is to be
    tried again."""
    for answer in answers:
        if isinstance(answer, Unanswered) and answer.may_pass:
            return refused(record.key, "describe", answer)
    regions = (
        _described_by(region, "", without_answer(said_by, answer), config)
        if isinstance(answer, Unanswered)
        else _described_by(
            region, *cleaned(answer, said_by, config.language, keep_name=True), config
        )
        for region, answer in zip(record.regions, answers, strict=True)
    )
    return replace(record, regions=tuple(regions))


def _described_by(region: Region, text: str, said_by: Provenance, config: DescribeConfig) -> Region:
    """The region with a model's text. Where that is empty, a text that it has already stays."""
    text = clean_text(text)
    if not text and region.description:
        return region
    described = replace(region, description=text, description_from=said_by)
    if config.names_from_labels and region.label:
        labels = (region.label, *region.other_labels)
        return replace(described, names=labels, names_from=Provenance("source"))
    if not text or (region.names and not config.rename):
        return described
    return _with_name(described, short_name(text, max_words=config.max_name_words), said_by)


def _with_name(region: Region, name: str, provenance: Provenance) -> Region:
    return replace(region, names=(name,) if name else (), names_from=provenance if name else None)


def _crop(sample: Sample, box_xyxy: BoxXYXY, *, context: float) -> "Image":
    """The region with some of its surroundings."""
    assert sample.pixels is not None, f"{sample.key} came without pixels"
    return sample.pixels.crop(window_of(sample.record, box_xyxy, context))
