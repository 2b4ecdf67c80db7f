"""A trained detector in three lines of Python.

detector = OpenDet.from_pretrained("my-model")
found = detector("photo.jpg")
found.to_supervision()
"""

from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import ValidationError

from opendet.annotators.segment import SegmentConfig
from opendet.detections import Detections
from opendet.exports.whole_folder import whole_folder
from opendet.hub.model_files import copy_model
from opendet.hub.publish import publish
from opendet.hub.resolve import resolve_model
from opendet.model.vocabulary import Vocabulary
from opendet.predict import Detector
from opendet.predict_config import PredictConfig
from opendet.predict_files import open_image
from opendet.predict_masks import Asked, masking
from opendet.section import explain
from opendet.sources.images import to_rgb

Picture = str | Path | Image.Image | NDArray[np.uint8]
"""A file, a Pillow image, or pixels (H, W, 3) RGB or (H, W) grey, uint8."""
SHOWN_FROM = 0.3
"""The least score where none is asked for, as of `opendet detect`."""


class OpenDet:
    """A detector and the folder that it came from. `OpenDet.from_pretrained` is the way in."""

    def __init__(self, detector: Asked, folder: Path, *, at_once: int) -> None:
        self._detector = detector
        self._folder = folder
        self._at_once = at_once

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        *,
        revision: str | None = None,
        known: Vocabulary | None = None,
        masks: str = "",
        **settings: Any,
    ) -> "OpenDet":
        """A model's folder, or owner/name on the Hugging Face hub at a branch, tag or commit.

        `settings` are the fields of PredictConfig, such as `score_threshold`, `names`, `namer` or
        `device`; `known` stands for the file of `vocabulary`; `masks` is a folder or hub name of
        SAM. Raises ValueError, in one line, for settings that are none, and where there is no such
        model, none that is whole, or none that can name as it is asked to.
        """
        config = _settings(settings)
        folder = resolve_model(str(name_or_folder), revision)
        detector = Detector.load(folder, config, vocabulary=known)
        asked = masking(detector, SegmentConfig(model=masks), "masks")
        return cls(asked, folder, at_once=config.batch_size)

    @overload
    def __call__(self, pictures: Picture) -> Detections: ...

    @overload
    def __call__(self, pictures: list[Picture] | tuple[Picture, ...]) -> list[Detections]: ...

    def __call__(
        self, pictures: Picture | list[Picture] | tuple[Picture, ...]
    ) -> Detections | list[Detections]:
        """What is in a picture, or in each of a list of them; boxes are in pixels of the upright
        picture. Raises ValueError, in one line, for what is no picture."""
        if not isinstance(pictures, list | tuple):
            return self._detector.detect([_upright(pictures)])[0]
        found = []
        for start in range(0, len(pictures), self._at_once):
            group = [_upright(one) for one in pictures[start : start + self._at_once]]
            found += self._detector.detect(group)
        return found

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model as it was loaded, byte for byte, with its card: a folder that
        `from_pretrained` reads, which appears whole or not at all. Raises ValueError, in one line,
        where something is there already."""
        with whole_folder(Path(folder)) as attempt:
            copy_model(self._folder, attempt)

    def push_to_hub(self, repo: str, *, private: bool = False) -> str:
        """Put the model and its card on the Hugging Face hub as owner/name, and nothing else of its
        folder. Returns the commit's address; raises ValueError, in one line, where the hub cannot
        be reached or refuses."""
        return publish(self._folder, repo, private=private)


def _settings(settings: dict[str, Any]) -> PredictConfig:
    try:
        return PredictConfig.model_validate({"score_threshold": SHOWN_FROM, **settings})
    except ValidationError as error:
        raise ValueError(explain(error, PredictConfig).removeprefix("the file: ")) from error


def _upright(picture: Picture) -> Image.Image:
    if isinstance(picture, str | Path):
        opened = open_image(Path(picture).expanduser())
        if isinstance(opened, Image.Image):
            return opened
        raise ValueError(f"{picture}: {opened.why}")
    if isinstance(picture, Image.Image):
        return to_rgb(ImageOps.exif_transpose(picture))
    return Image.fromarray(_pixels(picture)).convert("RGB")


def _pixels(array: Any) -> NDArray[np.uint8]:
    pixels = np.asarray(array)
    grey, colour = pixels.ndim == 2, pixels.ndim == 3 and pixels.shape[-1] == 3
    if pixels.dtype != np.uint8 or not (grey or colour) or not pixels.size:
        raise ValueError(
            f"a picture of shape {pixels.shape} and {pixels.dtype}: give a file, a Pillow image, "
            "or uint8 pixels (H, W, 3) in RGB"
        )
    return np.ascontiguousarray(pixels)
