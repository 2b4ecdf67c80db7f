"""Hard negatives: names that are near to an image's in CLIP's space, and that it does not show.

CLIP proposes them and, where it is the verifier, says whether they are there.
"""

# V names of the vocabulary, P views of images, D width of CLIP's space

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from opendet.annotators.phrasing import plural
from opendet.curate.embed import EmbedConfig
from opendet.record import Record
from opendet.sample import Sample

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]
Near = Literal["names", "crops"]


class HardNegatives:
    """The build's CLIP, asked which names are near to an image's and which of them are there."""

    def __init__(self, clip_folder: Path, vocabulary: Sequence[str], config: EmbedConfig) -> None:
        """`clip_folder`: of the stage `clip`. `vocabulary`: the names that negatives come from.

        Raises ValueError where the folder gives no model.
        """
        import torch

        from opendet.curate.clip import open_clip_of

        torch.set_num_threads(1)
        self._batch = config.batch
        self._clip, self._choice = open_clip_of(clip_folder, device=config.device)
        self._vocabulary = tuple(sorted(set(vocabulary)))
        self._row = {name: row for row, name in enumerate(self._vocabulary)}
        self._known = self._encoded(self._vocabulary)  # (V, D)

    def proposed(self, record: Record, *, most: int, near: Near) -> tuple[str, ...]:
        """Up to `most` names of the vocabulary that nothing in the record speaks of, the nearest to
        its names first, or the best other names of its crops."""
        if near == "crops":
            return _unspoken(record, _rivals(record))[:most]
        own = sorted({region.names[0] for region in record.regions if region.names})
        if not own or not self._vocabulary:
            return ()
        to_each = [(self._known * vector).sum(1) for vector in self._vectors(own)]
        nearness = np.max(to_each, axis=0)  # (V,)
        order = np.argsort(-nearness, kind="stable")
        return _unspoken(record, [self._vocabulary[row] for row in order], most=most)

    def matches(
        self, samples: Sequence[Sample], names: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """For each sample and each name of its own the highest cosine, in [-1, 1], of the name with
        the image or one of its regions."""
        views = [self._views(one) if own else [] for one, own in zip(samples, names, strict=True)]
        flat = [view for own in views for view in own]
        seen = self._clip.encode_images(flat, batch=self._batch)  # (P, D)
        found: list[list[float]] = []
        for own, asked in zip(views, names, strict=True):
            rows, seen = seen[: len(own)], seen[len(own) :]
            found.append(
                [float((rows * text).sum(1).max().clip(-1, 1)) for text in self._vectors(asked)]
            )
        return found

    def _views(self, sample: Sample) -> "list[Image]":
        """The whole image, and each region as the stage `embed` sees it."""
        from opendet.annotators.clip import crop_region

        assert sample.pixels is not None, f"{sample.key} came without pixels"
        whole = (0.0, 0.0, float(sample.pixels.width), float(sample.pixels.height))
        return [
            crop_region(sample.pixels, whole, context=0),
            *(
                crop_region(sample.pixels, region.box_xyxy, context=self._choice.context)
                for region in sample.record.regions
            ),
        ]

    def _vectors(self, names: Sequence[str]) -> list[Floats]:
        """The unit vector (D,) of each name; only one that the vocabulary lacks is encoded."""
        new = [name for name in names if name not in self._row]
        encoded = dict(zip(new, self._encoded(new), strict=True))
        return [
            self._known[self._row[name]] if name in self._row else encoded[name] for name in names
        ]

    def _encoded(self, names: Sequence[str]) -> Floats:
        from opendet.curate.clip import text_of

        texts = [text_of(name, self._choice.template) for name in names]
        return self._clip.encode_texts(texts, batch=self._batch)


def sigmoid(value: float) -> float:
    """In [0, 1]; whatever the value, it does not overflow."""
    return (1 + math.tanh(value / 2)) / 2


def _rivals(record: Record) -> list[str]:
    """The best other names of the crops, the best match first."""
    matched = [
        (region.rival_agreement, region.rival)
        for region in record.regions
        if region.rival and region.rival_agreement is not None
    ]
    best_first = sorted(matched, key=lambda match: (-match[0], match[1]))
    return list(dict.fromkeys(name for _, name in best_first))


def _unspoken(record: Record, names: Sequence[str], *, most: int | None = None) -> tuple[str, ...]:
    """The names that the record says nothing of: no name, synonym or tag, in singular or plural,
    no word of its captions and descriptions, and nothing that is judged already."""
    described = (region.description for region in record.regions)
    texts = [text for text in (record.caption, *record.source_captions, *described) if text]
    spoken = {name for region in record.regions for name in region.names}
    spoken.update(record.tags)
    spoken.update(judged.name for judged in (*record.absent, *record.partial))
    spoken = {form for name in spoken for form in _forms(name)}
    found: list[str] = []
    for name in names:
        if most is not None and len(found) == most:
            break
        if spoken.isdisjoint(_forms(name)) and not any(_told_in(text, name) for text in texts):
            found.append(name)
    return tuple(found)


def _forms(name: str) -> tuple[str, str]:
    lower = " ".join(name.lower().split())
    return lower, plural(lower)


def _told_in(caption: str, name: str) -> bool:
    either = "|".join(re.escape(form) for form in _forms(name))
    return bool(re.search(rf"\b(?:{either})\b", " ".join(caption.lower().split())))
