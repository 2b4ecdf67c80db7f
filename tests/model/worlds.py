"""The small detector that the model's and the trainer's tests share."""

import torch

from opendet.data.batch import Target
from opendet.model.config import BackboneConfig, DetectorConfig, NamerConfig
from opendet.model.detector import OpenDetector
from opendet.model.t5_namer import T5Namer

NAMES = ("red plain star", "blue dotted ring", "green striped disc", "a thing of no colour")
TINY_NAMER = NamerConfig(t5="tiny", beams=2, tiny_width=32, tiny_feedforward=32, tiny_layers=1)
TINY_DETECTOR = DetectorConfig(
    backbone=BackboneConfig(name="tiny", tiny_channels=(8, 16, 16, 16)),
    width=32,
    encoder_layers=1,
    cross_layers=1,
    self_layers=2,
    heads=4,
    points=2,
    feedforward=32,
    queries=12,
    queries_min=3,
    denoising_pairs=4,
    distiller_hidden=32,
)


def build_namer(config: NamerConfig = TINY_NAMER) -> T5Namer:
    return T5Namer.tiny(NAMES, config, seed=3)


def build_detector(config: DetectorConfig = TINY_DETECTOR, seed: int = 0) -> OpenDetector:
    torch.manual_seed(seed)
    return OpenDetector(config, build_namer())


def no_targets() -> Target:
    return Target(torch.zeros(0, 4), ())
