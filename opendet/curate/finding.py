"""Boxes by models: what detectors find in an image, and the masks of what was found.

Every model is asked through the answer store, with its lowest score: thresholds, suppression and
what becomes of the source's own boxes are decided afterwards, as often as one likes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from opendet.annotators.detection import Found
from opendet.annotators.finders import FinderConfig, is_told_names, load_finder
from opendet.annotators.model_folder import chosen_device
from opendet.annotators.queries import QueriesConfig
from opendet.annotators.segment import SegmentConfig, Segmenter
from opendet.annotators.suppression import Merged, suppress
from opendet.annotators.tiling import find_tiled
from opendet.annotators.weights import file_digest, folder_digest
from opendet.answers.memory import AnswerPlace, Memory
from opendet.answers.store import question_key
from opendet.record import Mask, Provenance, Record, Region
from opendet.sample import Sample
from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image


class FindConfig(Section):
    """Which detectors label which images, and what becomes of the boxes that are there."""

    detectors: tuple[FinderConfig, ...] = ()
    """Asked one after the other; each one's boxes stay apart from the others', so that the filter
    may ask for two that agree. None: the source's own boxes are the boxes."""
    detected_splits: tuple[Literal["train", "val", "test"], ...] = ("train",)
    """Splits that detectors label."""
    source_boxes: Literal["replace", "keep", "fill"] = "replace"
    """Where detectors label: `replace` puts theirs in the place of the source's boxes, `keep` has
    both, `fill` keeps the source's and adds only what overlaps none of them."""
    fill_iou: float = Field(default=0.5, gt=0, le=1)
    """IoU with a box of the source from which `fill` adds nothing."""
    queries: QueriesConfig = QueriesConfig()
    """What those detectors look for that have to be told."""
    masks: SegmentConfig = SegmentConfig()
    """The model that draws a mask into every box that has none."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        models = [(one.annotator, one.model) for one in self.detectors]
        for number, model in enumerate(models):
            if model in models[:number]:
                raise ValueError(
                    f"detectors.{number} is detectors.{models.index(model)} again: each model "
                    "labels once, for nobody could tell the two apart"
                )
        if any(map(is_told_names, self.detectors)) and not self.queries.asks:
            raise ValueError(
                "queries has nothing to look for: set caption_phrases, tags, ngrams, vocabulary or "
                "vocabulary_file"
            )
        return self

    @property
    def looks(self) -> bool:
        """Whether pixels are needed."""
        return bool(self.detectors or self.masks.model)


class RememberedFinder:
    """A detector that is asked only about images, and names, that it was not asked about before."""

    def __init__(self, config: FinderConfig, place: AnswerPlace) -> None:
        """Raises ValueError, in one line, where there is no such model."""
        self._config = config
        self._finder = load_finder(config)
        self._on_cpu = chosen_device(config.device) == "cpu"
        self._by = Provenance(self._finder.name, self._finder.revision)
        how = config.model_dump(mode="json", exclude=_AFTERWARDS)
        kind = {"answers": "boxes", "name": self._by.model, "revision": self._by.revision}
        self._memory = Memory(place, {**kind, "asked": how, "reading": READING})

    def regions(
        self, samples: Sequence[Sample], names: Sequence[tuple[str, ...]]
    ) -> list[tuple[Region, ...]]:
        """What it finds in each image, above its thresholds, the surest first."""
        asked = [
            (row, piece)
            for row, wanted in enumerate(names)
            for piece in pieces(wanted, self._config)
        ]
        keys = [question_key(image=samples[row].record.sha256, names=piece) for row, piece in asked]
        answers = self._memory.recall(
            keys,
            lambda places: self._find([(samples[asked[p][0]], asked[p][1]) for p in places]),
            to_json=_to_json,
            from_json=_from_json,
        )
        seen: list[list[Found]] = [[] for _ in samples]
        for (row, _), found in zip(asked, answers, strict=True):
            seen[row] += found
        return [tuple(map(self._region, above_thresholds(one, self._config))) for one in seen]

    def _find(self, questions: Sequence[tuple[Sample, tuple[str, ...]]]) -> list[list[Found]]:
        # On a CPU each image is asked about alone: in a batch its last digits would hang on which
        # others the store does not know yet. In tiles those of many would not fit into memory.
        size = 1 if self._on_cpu or self._config.tile else max(1, len(questions))
        return [
            [rounded(thing) for thing in found]
            for start in range(0, len(questions), size)
            for found in self._find_at_once(questions[start : start + size])
        ]

    def _find_at_once(
        self, questions: Sequence[tuple[Sample, tuple[str, ...]]]
    ) -> list[list[Found]]:
        return find_tiled(
            self._finder,
            [pixels_of(sample) for sample, _ in questions],
            [piece for _, piece in questions],
            tile=self._config.tile,
            overlap=self._config.tile_overlap,
        )

    def _region(self, thing: Merged) -> Region:
        by = replace(self._by, score=thing.score)
        return Region(
            thing.box_xyxy,
            by,
            mask=Mask(thing.mask, by) if thing.mask else None,
            names=thing.names,
            names_from=by if thing.names else None,
        )


def _to_json(found: Sequence[Found]) -> Any:
    return [[one.box_xyxy, one.name, one.score, one.mask] for one in found]


def _from_json(rows: Any) -> list[Found]:
    return [
        Found((box[0], box[1], box[2], box[3]), name, score, mask)
        for box, name, score, mask in rows
    ]


READING = "1"
"""Goes up when our code makes another answer of what the same detector says to the same question:
boxes placed differently, other outputs read. Answers of before are then asked for again."""

_AFTERWARDS = {
    *("model", "revision", "device", "batch_size", "names_per_call", "naming_batch"),
    "class_names_file",  # a path; what is in it is part of the finder's revision
    *("segmenter", "segmenter_revision", "prompts_at_once"),
    *("min_score", "image_min_score", "same_name_iou", "cross_name_iou"),
}
"""What of a detector's configuration changes none of its answers, or is the kind's own."""


def rounded(thing: Found) -> Found:
    """To a hundredth of a pixel, and a score to six digits: below what any detector means."""
    x0, y0, x1, y1 = (round(side, 2) for side in thing.box_xyxy)
    if x0 >= x1 or y0 >= y1:
        return thing
    return replace(thing, box_xyxy=(x0, y0, x1, y1), score=round(thing.score, 6))


class RememberedSegmenter:
    """A model of masks that is asked about each box once."""

    def __init__(self, config: SegmentConfig, place: AnswerPlace) -> None:
        """Raises ValueError, in one line, where there is no such model."""
        self._least = config.min_score
        self._model = Segmenter(config.model_copy(update={"min_score": 0.0}))
        kind = {"answers": "mask", "name": self._model.name, "revision": self._model.revision}
        self._memory = Memory(place, {**kind, "dtype": config.dtype})

    def with_masks(self, sample: Sample, record: Record) -> Record:
        """The record, each region that had no mask with one, where the model is sure enough."""
        bare = [
            index
            for index, region in enumerate(record.regions)
            if region.mask is None and not region.crowd
        ]
        boxes_xyxy = [record.regions[index].box_xyxy for index in bare]
        answers = self._memory.recall(
            [question_key(image=record.sha256, box_xyxy=box) for box in boxes_xyxy],
            lambda places: self._model.segment(
                pixels_of(sample), [boxes_xyxy[place] for place in places]
            ),
            to_json=lambda drawn: list(drawn) if drawn else [],
            from_json=lambda drawn: (drawn[0], drawn[1]) if drawn else None,
        )
        regions = list(record.regions)
        for index, drawn in zip(bare, answers, strict=True):
            if drawn is not None and drawn[1] >= self._least:
                by = Provenance(self._model.name, self._model.revision, score=drawn[1])
                regions[index] = replace(regions[index], mask=Mask(drawn[0], by))
        return replace(record, regions=tuple(regions))


def pieces(names: tuple[str, ...], config: FinderConfig) -> list[tuple[str, ...]]:
    """The questions that a list of names is asked in; one without names for a detector that is
    told none, and no question where one that must be told has nothing to look for."""
    if not is_told_names(config):
        return [()]
    size = config.names_per_question
    return [names[start : start + size] for start in range(0, len(names), size)]


def above_thresholds(found: Sequence[Found], config: FinderConfig) -> list[Merged]:
    """One image's things above the thresholds, repeats left out and synonyms joined."""
    if max((one.score for one in found), default=0.0) < config.image_min_score:
        return []
    return suppress(
        [one for one in found if one.score >= config.min_score],
        same_name_iou=config.same_name_iou,
        cross_name_iou=config.cross_name_iou,
    )


def with_found(record: Record, found: Sequence[Region], config: FindConfig) -> Record:
    """The record with what detectors found. Phrases follow the regions that stay."""
    if config.source_boxes == "replace":
        phrases = tuple(replace(phrase, regions=()) for phrase in record.phrases)
        return replace(record, regions=tuple(found), phrases=phrases)
    if config.source_boxes == "fill":
        found = _apart_from(record.regions, found, config.fill_iou)
    return replace(record, regions=(*record.regions, *found))


def _apart_from(own: Sequence[Region], found: Sequence[Region], iou: float) -> list[Region]:
    """Those found that overlap none of the image's own regions by so much."""
    if not own or not found:
        return list(found)
    import torch

    from opendet.boxes import pairwise_iou

    found_xyxy, own_xyxy = (
        torch.tensor([one.box_xyxy for one in regions], dtype=torch.float64)
        for regions in (found, own)
    )
    largest = pairwise_iou(found_xyxy, own_xyxy)[0].amax(1).tolist()
    return [one for one, overlap in zip(found, largest, strict=True) if overlap < iou]


def weights_of(config: FindConfig) -> dict[str, str]:
    """What a stage's fingerprint says of models, and of lists of classes, that lie in files: other
    ones under the same name are others."""
    digests = {}
    for number, section in enumerate((*config.detectors, config.masks)):
        others = (getattr(section, knob, None) for knob in ("class_names_file", "segmenter"))
        named = (section.model, *others)
        for path in (Path(name).expanduser() for name in named if name):
            if path.exists():
                digest = folder_digest(path) if path.is_dir() else file_digest(path)
                digests[f"{number} {path.name}"] = digest
    return digests


def pixels_of(sample: Sample) -> "Image":
    assert sample.pixels is not None, f"{sample.key} came without pixels"
    return sample.pixels


def tally(records: Sequence[Record]) -> dict[str, int]:
    """Regions by who found them, and masks by who drew them."""
    counts: Counter[str] = Counter()
    for region in (region for record in records for region in record.regions):
        counts[f"boxes.by.{region.box_from.model}"] += 1
        if region.mask is not None:
            counts[f"masks.by.{region.mask.mask_from.model}"] += 1
    return dict(counts)
