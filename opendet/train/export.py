"""A trained detector as a folder that needs nothing else, and back.

`model.safetensors` has all weights, `config.json` the detector's configuration, how images are
resized, what the weights must hash to and what they were trained with; `namer/` has the T5's shape
and its tokenizer, `prototypes.json` the names of the prototypes, where there are any. The folder
appears in one step: where it is, it is whole.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor

from opendet.exports.whole_folder import whole_folder
from opendet.files import write_durably
from opendet.manifest import FileStamp
from opendet.model.config import DetectorConfig
from opendet.model.detector import OpenDetector
from opendet.model.no_namer import NoNamer
from opendet.model.prototype_set import PrototypeSet, empty_prototypes
from opendet.model.saved_namer import begin_namer
from opendet.model.t5_namer import WEIGHTS_FILE, T5Namer
from opendet.section import Section
from opendet.train.checkpoint import write_tensors_durably
from opendet.train.weights import load_tensors

MODEL_VERSION = 1
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
NAMER = "namer"
PROTOTYPES = "prototypes.json"


class Resize(Section):
    """How an image is brought to the size that the detector knows."""

    shortest: int
    """Shortest edge in pixels, unless the longest would then be too long."""
    longest: int
    """Longest edge in pixels at most."""
    multiple: int
    """Sides are padded to what this divides."""


class ModelCard(Section):
    """`config.json` of a model folder."""

    version: int = MODEL_VERSION
    detector: DetectorConfig
    resize: Resize
    weights: FileStamp
    training: dict[str, Any]
    """What it was trained with, flat: dotted name -> value."""


def export_model(
    folder: Path,
    detector: OpenDetector,
    weights: Mapping[str, Tensor],
    *,
    resize: Resize,
    training: dict[str, Any],
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write the folder, which must not be there yet, with `weights` in place of the detector's.

    `beside` writes what further training may want of it. Raises ValueError, in one line, where
    something is there already.
    """
    with whole_folder(folder) as attempt:
        detector.namer.save(attempt / NAMER)
        # the namer's weights are among the detector's
        (attempt / NAMER / WEIGHTS_FILE).unlink(missing_ok=True)
        if detector.prototypes is not None:
            detector.prototypes.known.write_names(attempt / PROTOTYPES)
        write_tensors_durably(attempt / WEIGHTS, weights)
        if beside:
            beside(attempt)
        card = ModelCard(
            detector=detector.config,
            resize=resize,
            weights=FileStamp.of(attempt / WEIGHTS),
            training=training,
        )
        write_durably(attempt / CONFIG, (card.model_dump_json(indent=1) + "\n").encode())


def read_card(folder: Path) -> ModelCard:
    """Raises ValueError, in one line, for a folder that is no whole model."""
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder} holds no model ({CONFIG} is missing): train one first")
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its root"
        raise ValueError(f"{path} is damaged at {where}: {first['msg']}") from error
    if card.version != MODEL_VERSION:
        raise ValueError(f"{path} has version {card.version}, this Open-Det reads {MODEL_VERSION}")
    weights = folder / WEIGHTS
    if not weights.is_file() or FileStamp.of(weights) != card.weights:
        raise ValueError(f"{weights} is missing or damaged: take it from its source again")
    return card


def load_detector(folder: Path, *, written_names: bool = True) -> OpenDetector:
    """The detector of a model folder, on the CPU, in evaluation mode.

    Without `written_names` its T5 is left on the disk: prototypes and vocabularies name without.
    Raises ValueError, in one line, for a folder that is no whole model.
    """
    card = read_card(folder)
    config = card.detector
    offline = config.model_copy(
        update={"backbone": config.backbone.model_copy(update={"pretrained": False})}
    )
    namer = begin_namer(folder / NAMER, written_names=written_names)
    detector = OpenDetector(offline, namer, known_prototypes(folder, config))
    load_tensors(detector, _wanted(folder / WEIGHTS, namer), what=str(folder / WEIGHTS))
    return detector.eval()


def known_prototypes(folder: Path, config: DetectorConfig) -> PrototypeSet | None:
    """What the prototype head of a model's folder names by, for its weights to fill."""
    return None if config.semantics == "none" else empty_prototypes(folder / PROTOTYPES)


def _wanted(path: Path, namer: T5Namer | NoNamer) -> dict[str, Tensor]:
    """The weights of a file, without those of a T5 that nobody asks for: they are not even read."""
    with safe_open(path, framework="pt") as file:
        left_out = f"{NAMER}." if isinstance(namer, NoNamer) else None
        return {
            name: file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118 - it is no dictionary
            if left_out is None or not name.startswith(left_out)
        }
