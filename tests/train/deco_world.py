"""A detector with a prototype head, crops whose vectors are known, and a batch of two objects."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from opendet.data.batch import Batch, RegionRef, Target
from opendet.model.config import DetectorConfig, PrototypeHeadConfig
from opendet.model.detector import OpenDetector
from opendet.model.prototype_head import PrototypeHead
from opendet.model.prototype_set import PrototypeSet
from opendet.train.deco_config import DecoConfig
from opendet.train.deco_objective import DecoObjective
from opendet.train.text_vectors import TextVectors
from tests.model.worlds import NAMES, TINY_DETECTOR, build_namer, no_targets

WIDTH = 8  # of the pool's CLIP
STEPS = 10
CLASSES = (*NAMES, "a novel cup")


def units(count: int, seed: int, width: int = WIDTH) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(count, width, generator=generator), dim=1)


KNOWN = PrototypeSet(
    tuple(f"thing {row}" for row in range(6)), ("coarse",) * 2 + ("fine",) * 4, units(6, 1)
)


class Crops:
    """A vector for every region of the images named `known-...`."""

    width = WIDTH

    def of(self, refs: Sequence[RegionRef]) -> tuple[Tensor, Tensor]:
        known = torch.tensor([ref.key.startswith("known") for ref in refs], dtype=torch.bool)
        rows = [units(1, 100 * len(ref.key) + ref.region) for ref in refs]
        return torch.cat([torch.zeros(0, WIDTH), *rows]) * known[:, None], known


def detector_config(**knobs: Any) -> DetectorConfig:
    head = PrototypeHeadConfig(predictor_heads=2, **knobs)
    return TINY_DETECTOR.model_copy(update={"semantics": "prototypes", "prototypes": head})


def build_deco_detector(seed: int = 0, **knobs: Any) -> OpenDetector:
    torch.manual_seed(seed)
    return OpenDetector(detector_config(**knobs), build_namer(), KNOWN)


def head_of(detector: OpenDetector) -> PrototypeHead:
    assert detector.prototypes is not None
    return detector.prototypes


def deco(detector: OpenDetector, **knobs: Any) -> DecoObjective:
    classes = TextVectors(CLASSES, units(len(CLASSES), 2))
    config = DecoConfig.model_validate(knobs)
    return DecoObjective(head_of(detector), KNOWN.vectors, Crops(), classes, config, steps=STEPS)


def names_text() -> TextVectors:
    """Of the detection loss, in the namer's width."""
    return TextVectors(NAMES, units(len(NAMES), 6, 32))


def batch_of(*keys: str) -> Batch:
    """Each image shows the same two objects; `empty-...` shows none, `unreferred-...` objects that
    come from no record."""
    torch.manual_seed(5)
    sizes = torch.full((len(keys), 2), 64)
    images = torch.rand(len(keys), 3, 64, 64)
    return Batch(keys, images, sizes, sizes, tuple(_target(key) for key in keys))


def _target(key: str) -> Target:
    if key.startswith("empty"):
        return no_targets()
    boxes = torch.tensor([[0.3, 0.3, 0.3, 0.3], [0.7, 0.6, 0.2, 0.4]])
    refs = () if key.startswith("unreferred") else (RegionRef(key, 0), RegionRef(key, 3))
    return Target(boxes, ((NAMES[0],), (NAMES[2],)), regions=refs)
