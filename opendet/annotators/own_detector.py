"""A detector that this project trained, as an annotator: it names what it finds by itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from opendet.annotators.batching import in_batches
from opendet.annotators.detection import FinderSection, Found
from opendet.annotators.scored_boxes import LEAST_SIDE
from opendet.annotators.weights import folder_digest
from opendet.predict_config import PredictConfig

if TYPE_CHECKING:
    from PIL.Image import Image

    from opendet.detections import Detections
    from opendet.model.outputs import DetectorOutput
    from opendet.predict import Detector

KEY = "regions.detectors"
EXPORTED = "model"
"""What `opendet train` calls the folder of every model, and so says nothing of this one."""


class OwnConfig(FinderSection):
    """Which trained detector is asked. It names things by itself: no `names` reach it."""

    annotator: Literal["opendet"] = "opendet"
    """Which annotator this is."""
    model: str = ""
    """A model's folder, as `opendet train` exports it."""
    revision: str | None = None
    """How the sha256 of its weights begins, so that no others take their place; null: any."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Numbers that the model computes in; bfloat16 where it does no harm (autocast)."""
    beams: int = Field(default=0, ge=0)
    """Names that the namer weighs against each other for one thing, of which the best is kept; 0
    for as many as it was trained with."""
    naming_batch: int = Field(default=256, ge=1)
    """Things that are named at once."""
    namer: Literal["auto", "t5", "prototypes", "cascade"] = "auto"
    """Who names, as in `opendet detect`; with `prototypes` a score is that there is a thing times
    how likely its name is."""
    unsure_below: float = Field(default=0.6, ge=0, le=1)
    """Of `cascade`: names of prototypes that are at most so likely, at CLIP's temperature of .01,
    are left to the T5."""


class Own:
    """A loaded detector."""

    def __init__(self, config: OwnConfig) -> None:
        """Raises ValueError, in one line, for a folder that is no whole model."""
        self._config = config
        self._detector, self._device, self._sha256 = _load(config)
        self._revision = folder_digest(Path(config.model).expanduser())
        if not self._sha256.startswith(config.revision or ""):
            raise ValueError(
                f"{KEY}: the weights of {config.model} have sha256 {self._sha256[:12]}..., not the "
                f"revision {config.revision}: take the right folder, or change the revision"
            )

    @property
    def name(self) -> str:
        """The folder's name; `opendet` for one that is called as every export is."""
        called = Path(self._config.model).expanduser().resolve().name
        return "opendet" if called == EXPORTED else called

    @property
    def revision(self) -> str:
        """What its folder holds: the weights, and how it resizes and names."""
        return self._revision

    def find(
        self,
        images: "Sequence[Image]",
        names: Sequence[tuple[str, ...]],  # noqa: ARG002
    ) -> list[list[Found]]:
        """What is in each RGB image, as `detection.Finder` promises it: each thing once, with the
        first of the names that were generated for it."""
        return in_batches(images, self._config.batch_size, self._find_at_once)

    def _find_at_once(self, images: "Sequence[Image]") -> list[list[Found]]:
        import torch

        bf16 = self._config.dtype == "bfloat16"
        with torch.autocast(self._device, torch.bfloat16, enabled=bf16):
            said = self._detector.detect(images)
        return [_founds(one, self._config.floor) for one in said]


def _founds(said: "Detections", floor: float) -> list[Found]:
    columns = said.boxes_xyxy.tolist(), said.scores.tolist(), said.names
    return [
        Found((x0, y0, x1, y1), named[0], score)
        for (x0, y0, x1, y1), score, named in zip(*columns, strict=True)
        if score >= floor and min(x1 - x0, y1 - y0) >= LEAST_SIDE
    ]


def _load(config: OwnConfig) -> tuple["Detector", str, str]:
    """The detector, the kind of device that it is on, and the sha256 of its weights."""
    import torch

    from opendet.predict import Detector
    from opendet.train.export import read_card

    folder = Path(config.model).expanduser()
    if not config.model or not folder.is_dir():
        raise ValueError(f"{KEY}: there is no folder {config.model!r}: name a trained model's")
    try:
        detector = Detector.load(folder, _asked(config))
    except ValueError as error:
        raise ValueError(f"{KEY}: {error}") from error
    device = next(detector.network.parameters()).device
    if device.type == "cpu":
        torch.set_num_threads(1)  # any number of actors gives the same answers
    detector.network.register_forward_hook(lambda _, __, output: _require_numbers(output))
    return detector, device.type, read_card(folder).weights.sha256


def _asked(config: OwnConfig) -> PredictConfig:
    return PredictConfig(
        score_threshold=config.floor,
        max_objects=config.most,
        beams=config.beams,
        batch_size=config.batch_size,
        naming_batch=config.naming_batch,
        device=config.device,
        namer=config.namer,
        unsure_below=config.unsure_below,
    )


def _require_numbers(output: "DetectorOutput") -> None:
    """A score that is no number is above no threshold: nobody would ever see that it was there."""
    scores, boxes = output.scores()[output.valid], output.boxes_cxcywh[output.valid]
    if not (scores.isfinite().all() and boxes.isfinite().all()):
        raise ValueError(
            f"{KEY}: the detector gave scores or boxes that are no numbers: its weights are "
            "damaged, or its numbers overflow (take dtype float32)"
        )
