"""One step's forward pass, as the one module that DistributedDataParallel wraps."""

from torch import nn

from opendet.data.batch import Batch
from opendet.model.denoising import noise_boxes
from opendet.model.detector import OpenDetector
from opendet.train.objective import LossReport, Objective
from opendet.train.randomness import StepDraws


class TrainingStep(nn.Module):
    """A batch in, its losses out. Every trainable parameter gets a gradient at every step."""

    def __init__(self, detector: OpenDetector, objective: Objective) -> None:
        super().__init__()
        self.detector = detector
        self.objective = objective

    def forward(self, batch: Batch, draws: StepDraws) -> LossReport:
        config = self.detector.config
        noised = None
        if config.denoising_pairs:
            noised = noise_boxes(
                [target.boxes_cxcywh for target in batch.targets],
                [draws.of(key, "denoising") for key in batch.keys],
                pairs=config.denoising_pairs,
                scale=config.denoising_scale,
            )
        output = self.detector(batch.images, batch.sizes_hw, noised)
        return self.objective(self.detector, output, batch, draws)
