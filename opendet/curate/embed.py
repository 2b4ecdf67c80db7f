"""The stage `embed`: how well each region's crop and its text agree, by CLIP's cosine.

It measures and refuses nothing: the stage `filter` decides. The vectors go beside the records, for
the pool of prototypes is made of them.
"""

# N named regions of a batch, R of a record, V names of the vocabulary, D width of CLIP's space

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opendet.answers.memory import AnswerPlace, Memory
from opendet.answers.store import question_key
from opendet.curate.second_opinion import second_opinions
from opendet.record import BoxXYXY, Provenance, Record, Region
from opendet.sample import Sample
from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image

    from opendet.annotators.clip import Clip
    from opendet.curate.clip import ClipChoice

Half = NDArray[np.float16]
Floats = NDArray[np.float32]

DECIMALS = 6
"""An agreement is rounded to so many, below what differs between machines for no reason."""


CROPPING = "1"
"""Goes up when the same region gives another crop."""


class EmbedConfig(Section):
    """How the stage runs CLIP. The stage `clip` says which one, and what it sees and reads."""

    device: str = "cpu"
    """`cpu`, or `cuda` where workers have a GPU. Only a CPU promises equal bytes."""
    batch: int = Field(default=32, ge=1)
    """Crops or texts that CLIP encodes at once."""


@dataclass(frozen=True, slots=True)
class EmbeddedRecord:
    """A record whose regions have agreements, and the vectors of those that have a name."""

    record: Record
    regions: tuple[int, ...]
    """R indices into the record's regions."""
    crops: Half
    """(R, D) unit rows."""
    texts: Half
    """(R, D) unit rows."""

    @property
    def key(self) -> str:
        return self.record.key


@dataclass(frozen=True, slots=True)
class Judgement:
    """What CLIP thinks of a crop and its name."""

    agreement: float
    rival: str
    """Empty where the vocabulary has no other name."""
    rival_agreement: float | None
    seconded: float | None = None
    """By another annotator of the same image, where there is one."""


class Embedder:
    """Embeds the named regions of its samples; the answer hangs on the region alone."""

    def __init__(
        self,
        clip_folder: Path,
        vocabulary: Sequence[str],
        config: EmbedConfig | None = None,
        place: AnswerPlace | None = None,
    ) -> None:
        """`clip_folder`: of the stage `clip`. `vocabulary`: the names that rivals come from.
        `place`: where the vectors of crops are kept.

        Raises ValueError where the folder gives no model.
        """
        import torch

        from opendet.curate.clip import open_clip_of, text_of

        torch.set_num_threads(1)
        config = config or EmbedConfig()
        self._batch = config.batch
        self._clip, self._choice = open_clip_of(clip_folder, device=config.device)
        self._said_by = Provenance(self._clip.name, self._clip.revision, self._choice.template)
        self._crops = RememberedCrops(self._clip, self._choice, place or AnswerPlace(), self._batch)
        self._vocabulary = tuple(sorted(set(vocabulary)))
        texts = [text_of(name, self._choice.template) for name in self._vocabulary]
        self._known = self._clip.encode_texts(texts, batch=self._batch)  # (V, D)

    def __call__(self, samples: Sequence[Sample]) -> list[EmbeddedRecord]:
        places = [
            (row, index)
            for row, sample in enumerate(samples)
            for index, region in enumerate(sample.record.regions)
            if region.names
        ]
        regions = [samples[row].record.regions[index] for row, index in places]
        crops = self._crops([(samples[row], index) for row, index in places])
        texts = self._texts_of(regions)
        said = [region.names for region in regions]
        judged = judge(crops, texts, said, self._known, self._vocabulary)
        found: list[EmbeddedRecord] = []
        for row, sample in enumerate(samples):
            own = [number for number, place in enumerate(places) if place[0] == row]
            seconded = second_opinions([regions[number] for number in own], texts[own])
            judgements = {
                places[number][1]: replace(judged[number], seconded=_maybe_rounded(cosine))
                for number, cosine in zip(own, seconded, strict=True)
            }
            record = with_agreements(sample.record, judgements, self._said_by)
            half_crops, half_texts = (one[own].astype(np.float16) for one in (crops, texts))
            found.append(EmbeddedRecord(record, tuple(judgements), half_crops, half_texts))
        return found

    def _texts_of(self, regions: Sequence[Region]) -> Floats:
        """(N, D): each region's first name, each different one encoded once."""
        from opendet.curate.clip import text_of

        names = sorted({region.names[0] for region in regions})
        row = {name: number for number, name in enumerate(names)}
        texts = [text_of(name, self._choice.template) for name in names]
        vectors = self._clip.encode_texts(texts, batch=self._batch)
        return vectors[[row[region.names[0]] for region in regions]]


class RememberedCrops:
    """Vectors of regions' crops; a published CLIP encodes each crop once, for any build.

    A CLIP that the build has trained is nobody else's: its vectors are not kept.
    """

    def __init__(self, clip: "Clip", choice: "ClipChoice", place: AnswerPlace, batch: int) -> None:
        self._clip, self._context, self._batch = clip, choice.context, batch
        kind = {
            "answers": "vector",
            "model": clip.name,
            "revision": clip.revision,
            "preprocessing": clip.preprocessing,
            "cropping": CROPPING,
        }
        published = choice.model != "trained"
        self._memory = Memory(place if published else replace(place, store=None), kind)

    def __call__(self, regions: Sequence[tuple[Sample, int]]) -> Floats:
        """(N, D) unit rows of the crops of N regions, each a sample and its region's number."""
        boxes_xyxy = [sample.record.regions[index].box_xyxy for sample, index in regions]
        keys = [
            question_key(image=sample.record.sha256, box_xyxy=box, context=self._context)
            for (sample, _), box in zip(regions, boxes_xyxy, strict=True)
        ]
        rows = self._memory.recall(
            keys,
            lambda places: list(
                self._clip.encode_images(
                    [self._crop(regions[place][0], boxes_xyxy[place]) for place in places],
                    batch=self._batch,
                )
            ),
            to_json=lambda row: base64.b64encode(row.astype("<f4").tobytes()).decode(),
            from_json=lambda text: np.frombuffer(base64.b64decode(text), "<f4"),
        )
        return np.stack(rows) if rows else np.zeros((0, self._clip.width), np.float32)

    def _crop(self, sample: Sample, box_xyxy: BoxXYXY) -> "Image":
        from opendet.annotators.clip import crop_region

        assert sample.pixels is not None, f"{sample.key}: the stage `embed` reads pixels"
        return crop_region(sample.pixels, box_xyxy, context=self._context)


def first_names(records: Iterable[Record]) -> tuple[str, ...]:
    """The vocabulary of some records: their regions' first names, sorted."""
    regions = (region for record in records for region in record.regions)
    return tuple(sorted({region.names[0] for region in regions if region.names}))


def judge(
    crops: Floats,
    texts: Floats,
    names: Sequence[tuple[str, ...]],
    known: Floats,
    vocabulary: Sequence[str],
) -> list[Judgement]:
    """N judgements of crops (N, D) and their texts (N, D), against the vocabulary (V, D).

    No name of the region itself is its rival: they mean the same.
    """
    place = {name: number for number, name in enumerate(vocabulary)}
    judged: list[Judgement] = []
    for crop, text, own in zip(crops, texts, names, strict=True):
        rivals = (known * crop).sum(1)  # (V,)
        rivals[[place[name] for name in own if name in place]] = -np.inf
        best = int(rivals.argmax()) if len(rivals) else -1
        has_rival = best >= 0 and bool(np.isfinite(rivals[best]))
        judged.append(
            Judgement(
                _rounded(float((crop * text).sum())),
                vocabulary[best] if has_rival else "",
                _rounded(float(rivals[best])) if has_rival else None,
            )
        )
    return judged


def with_agreements(
    record: Record, judgements: dict[int, Judgement], said_by: Provenance
) -> Record:
    """The record with the judgements of its regions, by index; none where there is no name."""
    regions = list(record.regions)
    for index, found in judgements.items():
        regions[index] = replace(
            regions[index],
            agreement=found.agreement,
            rival=found.rival,
            rival_agreement=found.rival_agreement,
            agreement_from=said_by,
            seconded=found.seconded,
        )
    return replace(record, regions=tuple(regions))


def tally(items: Sequence[EmbeddedRecord]) -> dict[str, int]:
    """Regions embedded and unnamed, those whose crop is closer to another name, and, of images with
    several annotators, those in whose place another one saw something too."""
    counts: Counter[str] = Counter(embedded=0, unnamed=0, closer_to_another=0)
    for region in (region for item in items for region in item.record.regions):
        counts["embedded" if region.agreement is not None else "unnamed"] += 1
        if region.agreement is not None and region.rival_agreement is not None:
            counts["closer_to_another"] += region.rival_agreement > region.agreement
        if region.seconded is not None:
            counts["seconded"] += 1
    return dict(counts)


def _rounded(cosine: float) -> float:
    return round(max(-1.0, min(1.0, cosine)), DECIMALS)


def _maybe_rounded(cosine: float | None) -> float | None:
    return None if cosine is None else _rounded(cosine)
