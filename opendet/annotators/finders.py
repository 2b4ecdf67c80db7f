"""All detectors that can label images, behind one choice in the configuration."""

from typing import Annotated

from pydantic import Field

from opendet.annotators.box_dialects import PROMPTS
from opendet.annotators.box_speaker import BoxSpeaker, BoxSpeakerConfig
from opendet.annotators.closed_set import ClosedSet, ClosedSetConfig
from opendet.annotators.concepts import Concepts, ConceptsConfig
from opendet.annotators.detection import Finder
from opendet.annotators.onnx_detector import Onnx, OnnxConfig
from opendet.annotators.own_detector import Own, OwnConfig
from opendet.annotators.zero_shot import ZeroShot, ZeroShotConfig
from opendet.vl_sam.config import VlSamConfig
from opendet.vl_sam.method import VlSam

FinderConfig = Annotated[
    ZeroShotConfig
    | ClosedSetConfig
    | OnnxConfig
    | OwnConfig
    | ConceptsConfig
    | BoxSpeakerConfig
    | VlSamConfig,
    Field(discriminator="annotator"),
]
"""One detector; `annotator` says which of them."""


def load_finder(config: FinderConfig) -> Finder:
    """Raises ValueError, in one line, where there is no such model."""
    match config:
        case ZeroShotConfig():
            return ZeroShot(config)
        case ClosedSetConfig():
            return ClosedSet(config)
        case OnnxConfig():
            return Onnx(config)
        case OwnConfig():
            return Own(config)
        case ConceptsConfig():
            return Concepts(config)
        case BoxSpeakerConfig():
            return BoxSpeaker(config)
        case VlSamConfig():
            return VlSam(config)


def is_told_names(config: FinderConfig) -> bool:
    """Whether it looks for the names that it is given; others find what they know."""
    if isinstance(config, BoxSpeakerConfig):
        return "{names}" in (config.prompt or PROMPTS[config.dialect])
    return isinstance(config, ZeroShotConfig | ConceptsConfig)
