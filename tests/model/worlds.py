"""The small detector that the model's and the trainer's tests share."""

import torch

from opendet.data.batch import Target
from opendet.faults.toy_training import DETECTOR as TINY_DETECTOR
from opendet.faults.toy_training import NAMER as TINY_NAMER
from opendet.model.config import DetectorConfig, NamerConfig
from opendet.model.detector import OpenDetector
from opendet.model.t5_namer import T5Namer

NAMES = ("red plain star", "blue dotted ring", "green striped disc", "a thing of no colour")


def build_namer(config: NamerConfig = TINY_NAMER) -> T5Namer:
    return T5Namer.tiny(NAMES, config, seed=3)


def build_detector(config: DetectorConfig = TINY_DETECTOR, seed: int = 0) -> OpenDetector:
    torch.manual_seed(seed)
    return OpenDetector(config, build_namer())


def no_targets() -> Target:
    return Target(torch.zeros(0, 4), ())
