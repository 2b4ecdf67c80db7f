"""What is found in an image, by our detector or by any other method. N objects, D_t width of a
prompt."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, the surest first; on the CPU."""

    boxes_xyxy: "Tensor"
    """(N, 4) float32, pixels of the image as it was given."""
    scores: "Tensor"
    """(N,) in [0, 1] that there is an object; with `score: named`, and that its name is right."""
    names: list[list[str]]
    """N lists of names, the likeliest first."""
    prompts: "Tensor | None"
    """(N, D_t) unit vectors in the space of text vectors, what the names were read from; None where
    a namer reads something else."""
    masks: list[str | None] | None = None
    """N run-length codes (COCO's compressed ones) of the image's own size, None where a thing has
    none; None where nobody drew any."""

    def __len__(self) -> int:
        return len(self.scores)
