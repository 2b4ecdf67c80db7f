"""What the namers' tests share: objects that are known, and detectors with chosen parts."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opendet.model.config import PrototypeHeadConfig
from opendet.model.detector import OpenDetector
from opendet.model.naming import Objects
from opendet.model.no_namer import NoNamer
from opendet.model.outputs import DetectorOutput, LayerOutput
from opendet.model.prototype_set import PrototypeSet
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.model.worlds import TINY_DETECTOR, TINY_NAMER, build_namer

AXES = torch.eye(4)


def known_axes(names: tuple[str, ...]) -> PrototypeSet:
    """A prototype for each name, at right angles."""
    return PrototypeSet(names, ("coarse",) * len(names), torch.eye(len(names)))


def ask(queries: Tensor, prompts: Tensor | None = None, detector: Any = None) -> Objects:
    """The objects of one image that has just these queries (N, D) and prompts (N, D_t)."""
    places = torch.arange(len(queries))
    return Objects(detector, _output(queries), torch.zeros_like(places), places, prompts)


def _output(queries: Tensor) -> DetectorOutput:
    ones = torch.ones(1, len(queries))
    layer = LayerOutput(ones, torch.full((1, len(queries), 4), 0.5), queries[None])
    nothing: Any = None  # no namer here looks at pixels
    return DetectorOutput(
        proposals=layer,
        layers=(layer,),
        valid=ones.bool(),
        denoising=None,
        images=torch.zeros(1, 3, 32, 32),
        features=nothing,
        memory=nothing,
        sizes_hw=torch.tensor([[32, 32]]),
    )


CONCEPTS = ("star", "ring", "star", "disc")


def build_named_detector(
    *, t5: bool = True, prototypes: bool = True, aligner: bool = True
) -> OpenDetector:
    """The small detector with the parts that namers need; CONCEPTS name its prototypes."""
    head = PrototypeHeadConfig(predictor_heads=1)
    update: dict[str, object] = {} if aligner else {"aligner": "none"}
    if prototypes:
        update |= {"semantics": "prototypes", "prototypes": head}
    config = TINY_DETECTOR.model_copy(update=update)
    torch.manual_seed(0)
    namer = build_namer() if t5 else NoNamer(TINY_NAMER, 32)
    return OpenDetector(config, namer, known_axes(CONCEPTS) if prototypes else None).eval()


def export_named(folder: Path, *, clip: str = "", **parts: bool) -> Path:
    """A model's folder; `clip` is what its card says of the text tower."""
    detector = build_named_detector(**parts)
    resize = Resize(shortest=32, longest=64, multiple=32)
    told = {"clip": clip} if clip else {}
    export_model(folder, detector, own_tensors(detector), resize=resize, training=told)
    return folder
