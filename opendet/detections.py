"""What is found in an image, by our detector or by any other method. N objects, D_t width of a
prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import supervision
    from torch import Tensor

Numbers = Union["Tensor", NDArray[np.float32]]
"""Of torch or of numpy, as the runtime that found them: both index, compare and `tolist` alike."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, the surest first; on the CPU."""

    boxes_xyxy: Numbers
    """(N, 4) float32, pixels of the image as it was given."""
    scores: Numbers
    """(N,) in [0, 1] that there is an object; with `score: named`, and that its name is right."""
    names: list[list[str]]
    """N lists of names, the likeliest first."""
    prompts: Numbers | None
    """(N, D_t) unit vectors in the space of text vectors, what the names were read from; None where
    a namer reads something else."""
    masks: list[str | None] | None = None
    """N run-length codes (COCO's compressed ones) of the image's own size, None where a thing has
    none; None where nobody drew any."""
    size_hw: tuple[int, int] | None = None
    """Of the image, in pixels, where it is told."""

    def __len__(self) -> int:
        return len(self.scores)

    def to_supervision(self, classes: Sequence[str] = ()) -> "supervision.Detections":
        """The same for supervision: its annotators, trackers and counters.

        Names are in `data["class_name"]`. A `class_id` is the name's place in `classes`, or without
        any a number made of the name alone, so that a name has one id, and one colour, in every
        picture. Raises ValueError, in one line, for a name that is not among the classes, for masks
        of an image of unknown size, and where supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ValueError("supervision is missing: pip install supervision") from error
        names = [own[0] for own in self.names]
        return supervision.Detections(
            xyxy=np.asarray(self.boxes_xyxy, np.float32).reshape(-1, 4),
            confidence=np.asarray(self.scores, np.float32),
            class_id=np.array(_class_ids(names, classes), np.int64),
            mask=self._mask_pixels(),
            data={"class_name": np.array(names, np.str_)},
        )

    def _mask_pixels(self) -> NDArray[np.bool_] | None:
        """(N, H, W), nothing inside where a thing has no mask; None where nobody drew any."""
        if self.masks is None:
            return None
        if self.size_hw is None:
            raise ValueError("the masks' image size is unknown: set size_hw of the detections")
        from opendet.predict_masks import mask_pixels

        pixels = np.zeros((len(self), *self.size_hw), np.bool_)
        for place, code in enumerate(self.masks):
            if code:
                pixels[place] = mask_pixels(code, self.size_hw)
        return pixels


def _class_ids(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    if not classes:
        return [crc32(name.encode()) & 0x7FFFFFFF for name in names]
    places = {name: place for place, name in enumerate(classes)}
    if odd := [name for name in names if name not in places]:
        raise ValueError(
            f"{odd[0]!r} is not among the {len(classes)} classes: detect with these names, or "
            "leave classes out"
        )
    return [places[name] for name in names]
