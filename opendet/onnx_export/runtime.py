"""The detector without torch: ONNX graphs, numpy and Pillow.

The interface, the thresholds and the order are those of `opendet.predict.Detector`.
B images, Q queries, N objects.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opendet.detections import Detections
from opendet.onnx_export.card import DETECTOR, OnnxCard, read_onnx_card
from opendet.onnx_export.choice import ChosenNamer, choose_namer
from opendet.onnx_export.images import Sides, fitted_hw, in_pixels, in_units, padded_hw, prepare
from opendet.onnx_export.namers import Said, Seen
from opendet.onnx_export.session import open_graph
from opendet.predict_config import PredictConfig


class OnnxDetector:
    """An exported detector, ready to be asked. `OnnxDetector.load` is the way in."""

    def __init__(
        self, session: Any, card: OnnxCard, config: PredictConfig, namer: ChosenNamer
    ) -> None:
        self._session, self._card, self._config = session, card, config
        self._choice = namer
        self._names = [one.name for one in session.get_outputs()]

    @classmethod
    def load(cls, folder: Path, config: PredictConfig | None = None) -> "OnnxDetector":
        """Of a folder that `opendet model export onnx` wrote; `config.device` is auto, cpu or cuda.

        Raises ValueError, in one line, where there is none, or none that can name as it is asked
        to.
        """
        config = config or PredictConfig()
        card = read_onnx_card(folder)
        namer = choose_namer(folder, card, config)
        return cls(open_graph(folder / DETECTOR, config.device), card, config, namer)

    def detect(self, images: Sequence[Image.Image]) -> list[Detections]:
        """Upright images of any size and mode -> what is in each of them, one to one."""
        found: dict[int, Detections] = {}
        for places in self._groups(images):
            prepared = prepare([images[place] for place in places], self._card)
            images_in_units = in_units(prepared.images, self._card.unit)
            given = {"images": images_in_units, "sizes_hw": prepared.sizes_hw}
            said = dict(zip(self._names, self._session.run(None, given), strict=True))
            for row, place in enumerate(places):
                own = {name: array[row] for name, array in said.items()}
                size_hw = images[place].height, images[place].width
                found[place] = self._found(own, size_hw)
        return [found[place] for place in range(len(images))]

    def _groups(self, images: Sequence[Image.Image]) -> Iterator[list[int]]:
        """Images of one padded size, at most `batch_size` of them: none sees others' padding."""
        groups: dict[Sides, list[int]] = {}
        for place, image in enumerate(images):
            size = padded_hw(fitted_hw(image, self._card), self._card)
            groups.setdefault(size, []).append(place)
        for places in groups.values():
            for start in range(0, len(places), self._config.batch_size):
                yield places[start : start + self._config.batch_size]

    def _found(self, said: dict[str, NDArray[Any]], size_hw: Sides) -> Detections:
        """Of one image's outputs (Q, ...)."""
        scores = said["scores"]
        chosen = self._choose(scores, said["valid"])
        seen = Seen(
            said["queries"][chosen],
            said["prompts"][chosen],
            *(said[name][chosen] for name in ("projected", "enriched") if name in said),
        )
        names = self._name(seen)
        joint = scores[chosen]
        if self._choice.joins_score:
            likely = np.array([own[0].probability for own in names], np.float32)
            joint = joint * likely
        order = np.argsort(-joint, kind="stable")
        boxes_xyxy = in_pixels(said["boxes_cxcywh"][chosen], size_hw)
        return Detections(
            boxes_xyxy[order],
            joint[order],
            [[name.text for name in names[place]] for place in order.tolist()],
            seen.prompts[order] if self._choice.shows_prompts else None,
            size_hw=size_hw,
        )

    def _choose(self, scores: NDArray[Any], valid: NDArray[Any]) -> NDArray[Any]:
        """(Q,) each -> the queries to keep, the surest first."""
        if np.isnan(scores).any():
            raise ValueError(
                "the detector's graph gives NaN: its weights hold NaN; export the model again"
            )
        order = np.argsort(-scores, kind="stable")
        kept = valid[order] & (scores[order] >= self._config.score_threshold)
        return order[kept][: self._config.max_objects]

    def _name(self, seen: Seen) -> list[list[Said]]:
        at_once, count = self._config.naming_batch, self._config.beams
        places = np.arange(len(seen))
        groups = [places[start : start + at_once] for start in range(0, len(seen), at_once)]
        count = count or self._card.beams
        return [
            said
            for group in groups
            for said in self._choice.namer.name(seen.part(group), count=count)
        ]
