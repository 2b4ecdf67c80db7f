"""The stage `caption`: one detailed text of each image."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from opendet.annotators.chat import CutAnswer, Unanswered
from opendet.annotators.grammar import REVISION, named_regions, write_caption
from opendet.annotators.object_list import object_list
from opendet.annotators.served_config import ServedConfig
from opendet.annotators.vision_language import VisionLanguageConfig
from opendet.answers.memory import AnswerPlace
from opendet.curate.asking import (
    Language,
    Remembered,
    cleaned,
    cleanings,
    load_asked,
    looks,
    noted,
    origin,
    refused,
    subject,
)
from opendet.curate.prompting import Prompt
from opendet.curate.text import clean_text, cut_at_sentence, joined_sentences
from opendet.manifest import QuarantinedEntry
from opendet.record import Provenance, Record
from opendet.sample import Dropped, Sample
from opendet.section import Section


class CaptionConfig(Section):
    """Who captions the images, and what becomes of a caption that is too long."""

    annotator: Literal["source", "grammar", "vision_language", "served"] = "source"
    """`source` keeps the caption whose phrases the source has grounded, else joins those that the
    source brought along, and asks the grammar where there are none; `grammar` writes from the
    annotations; `vision_language` asks a model that each worker loads, `served` one behind an
    OpenAI-compatible server."""
    caption_empty_images: bool = False
    """Whether the grammar may call an image without annotated objects an empty scene: right where
    the annotations are complete. Off, such an image is dropped, for nobody knows what it shows."""
    without_caption: Literal["drop", "keep"] = "drop"
    """What becomes of an image that the source or the grammar has nothing to say of: it is dropped,
    or kept without a caption, for a detector to find boxes in. `filter.require_caption: false` then
    lets it through."""
    max_characters: int = Field(default=2000, ge=20)
    """Longest caption."""
    too_long: Literal["cut", "drop"] = "cut"
    """A longer caption is cut after its last whole sentence, or its image is dropped."""
    prompt: Prompt = Prompt(text="Describe the image in detail.")
    """What the vision-language model is asked: the words, or a file such as
    `prompts/detailed_caption.v1.txt` below configs/."""
    objects_prompt: Prompt = Prompt(text="")
    """What the vision-language model is asked for a list of the objects, which become the image's
    tags where it has none, such as `prompts/object_list.v1.txt`; empty: it is not asked."""
    most_objects: int = Field(default=50, ge=1)
    """Most tags that are read from such a list."""
    language: Language = "english"
    """Of a model's answers: others are refused where English is asked for."""
    vision_language: VisionLanguageConfig = VisionLanguageConfig()
    """The model that `annotator: vision_language` asks."""
    served: ServedConfig = ServedConfig()
    """The server that `annotator: served` asks."""


class Captioner:
    """Writes captions. Only a vision-language model looks at pixels."""

    def __init__(self, config: CaptionConfig, place: AnswerPlace | None = None) -> None:
        """`place`: where a model's answers are kept.

        Raises ValueError where the configured model cannot be loaded, ConnectionError where its
        server cannot be asked."""
        assert config.prompt.is_read, "settle the section first"
        assert config.objects_prompt.is_read, "settle the section first"
        self._config = config
        self._model = load_asked(config, place)

    def __call__(self, samples: Sequence[Sample]) -> list[Record | Dropped | QuarantinedEntry]:
        if self._model is not None:
            return _ask(self._model, samples, self._config)
        return [
            _captioned(sample.record, *_from_annotations(sample.record, self._config), self._config)
            for sample in samples
        ]


def tally(records: Sequence[Record]) -> dict[str, int]:
    """Captions by who wrote them, how many were cut, and what models' answers were cleaned of."""
    counts: Counter[str] = Counter()
    for record in records:
        if record.caption_from is None:
            counts["without"] += 1
            continue
        counts[f"by.{record.caption_from.model}"] += 1
        counts["cut"] += "cut at " in record.caption_from.revision
        if record.tags_from is not None and record.tags_from.model != "source":
            counts["tagged"] += 1
        counts.update(f"cleaned.{reason}" for reason in cleanings(record.caption_from))
    return dict(counts)


def _ask(
    model: Remembered, samples: Sequence[Sample], config: CaptionConfig
) -> list[Record | Dropped | QuarantinedEntry]:
    said_by = origin(model, config.prompt)
    captions = _answers(model, samples, config.prompt)
    results = [
        refused(sample.key, "caption", answer)
        if isinstance(answer, Unanswered)
        else _captioned(sample.record, *cleaned(answer, said_by, config.language), config)
        for sample, answer in zip(samples, captions, strict=True)
    ]
    return _tagged(model, samples, results, config) if config.objects_prompt.text else results


def _tagged(
    model: Remembered,
    samples: Sequence[Sample],
    results: Sequence[Record | Dropped | QuarantinedEntry],
    config: CaptionConfig,
) -> list[Record | Dropped | QuarantinedEntry]:
    """The captioned records, those without tags with the objects that the model lists."""
    asked = [
        (sample, result)
        for sample, result in zip(samples, results, strict=True)
        if isinstance(result, Record) and not result.tags
    ]
    lists = _answers(model, [sample for sample, _ in asked], config.objects_prompt)
    by = origin(model, config.objects_prompt)
    tagged: dict[str, Record | Dropped | QuarantinedEntry] = {}
    for (_, record), answer in zip(asked, lists, strict=True):
        if isinstance(answer, Unanswered):
            # A list that is refused is no reason to lose the caption; one that may come is.
            tagged[record.key] = (
                refused(record.key, "caption", answer) if answer.may_pass else record
            )
            continue
        unfinished = isinstance(answer, CutAnswer)
        if tags := object_list(answer, most=config.most_objects, unfinished=unfinished):
            tagged[record.key] = replace(record, tags=tags, tags_from=by)
    return [tagged.get(result.key, result) for result in results]


def _answers(
    model: Remembered, samples: Sequence[Sample], prompt: Prompt
) -> Sequence[str | Unanswered]:
    """What the model says to the same question about each image."""
    images = []
    for sample in samples:
        assert sample.pixels is not None, f"{sample.key} came without pixels"
        images.append(sample.pixels)
    return model.ask(images, [prompt.text] * len(images), [subject(one.record) for one in samples])


def _from_annotations(record: Record, config: CaptionConfig) -> tuple[str, Provenance]:
    """The source's own words where they are wanted and there are some, else the grammar's."""
    if config.annotator == "source" and record.caption:
        return record.caption, record.caption_from or Provenance("source")
    if config.annotator == "source" and (text := joined_sentences(record.source_captions)):
        return text, Provenance("source")
    things = named_regions(record)
    if not things and not config.caption_empty_images:
        return "", Provenance("grammar", REVISION)
    text = write_caption(things, width=record.width, height=record.height, key=record.key)
    return text, Provenance("grammar", REVISION)


def _captioned(
    record: Record, text: str, provenance: Provenance, config: CaptionConfig
) -> Record | Dropped:
    """The record with its caption, or why it has none. Only a caption that the record has already
    keeps its phrases, which count its letters."""
    own = text == record.caption
    text = text if own else clean_text(text)
    if not text and config.without_caption == "keep" and not looks(config.annotator):
        return record
    if not text:
        why = " and ".join(one for one in cleanings(provenance) if one != "empty")
        detail = f"only {why}" if why else "nothing"
        return Dropped(record.key, "empty caption", f"{provenance.model} wrote {detail}")
    if len(text) > config.max_characters:
        if config.too_long == "drop":
            return Dropped(record.key, "overlong caption", f"{len(text)} characters")
        text = cut_at_sentence(text, max_characters=config.max_characters)
        provenance = noted(provenance, f"cut at {config.max_characters}")
    phrases = tuple(phrase for phrase in record.phrases if own and phrase.end <= len(text))
    return replace(record, caption=text, caption_from=provenance, phrases=phrases)
