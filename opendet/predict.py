"""Pictures in; boxes, scores and names out. Nobody is asked for a vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from opendet.boxes import to_record
from opendet.data import transforms
from opendet.data.batch import Batch
from opendet.data.collate import collate
from opendet.data.transforms import Example
from opendet.devices import named_device
from opendet.model.detector import OpenDetector
from opendet.predict_config import PredictConfig
from opendet.train.export import Resize, load_detector, read_card

# B images, Q queries, N objects, D_t width of a prompt


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, the surest first; on the CPU."""

    boxes_xyxy: Tensor
    """(N, 4) float32, pixels of the image as it was given."""
    scores: Tensor
    """(N,) in [0, 1] that there is an object."""
    names: list[list[str]]
    """N lists of names, the likeliest first."""
    prompts: Tensor
    """(N, D_t) unit vectors in the space of text vectors, what the names were read from."""

    def __len__(self) -> int:
        return len(self.scores)


class Detector:
    """A trained detector, ready to be asked. `Detector.load` is the way in."""

    def __init__(
        self, network: OpenDetector, resize: Resize, config: PredictConfig, device: torch.device
    ) -> None:
        self._network = network.to(device).eval()
        self._resize = resize
        self._config = config
        self._device = device

    @classmethod
    def load(cls, folder: Path, config: PredictConfig | None = None) -> "Detector":
        """The detector of a model folder. Raises ValueError, in one line, where there is none."""
        config = config or PredictConfig()
        device = named_device(config.device)
        return cls(load_detector(folder), read_card(folder).resize, config, device)

    @torch.inference_mode()
    def detect(self, images: Sequence[Image.Image]) -> list[Detections]:
        """Upright images of any size and mode -> what is in each of them, one to one."""
        size = self._config.batch_size
        groups = [images[start : start + size] for start in range(0, len(images), size)]
        return [found for group in groups for found in self._detect_at_once(group)]

    def _detect_at_once(self, images: Sequence[Image.Image]) -> list[Detections]:
        batch = self._prepare(images).to(self._device)
        output = self._network(batch.images, batch.sizes_hw)
        scores = output.scores()  # (B, Q)
        chosen = [self._choose(row) for row in scores]
        counts = torch.tensor([len(queries) for queries in chosen], device=self._device)
        places = torch.arange(len(images), device=self._device).repeat_interleave(counts)
        prompts = self._network.prompt(output, places, torch.cat(chosen))  # all images' objects
        names = iter(self._name(prompts))
        return [
            Detections(
                boxes_xyxy=_in_pixels(output.boxes_cxcywh[i, queries], batch.original_sizes_hw[i]),
                scores=scores[i, queries].cpu(),
                names=[next(names) for _ in queries],
                prompts=prompts[places == i].float().cpu(),
            )
            for i, queries in enumerate(chosen)
        ]

    def _prepare(self, images: Sequence[Image.Image]) -> Batch:
        """As evaluation's loader does it."""
        shortest, longest = self._resize.shortest, self._resize.longest
        examples = [
            transforms.resize(_example(image), shortest=shortest, longest=longest)
            for image in images
        ]
        return collate(examples, multiple=self._resize.multiple)

    def _choose(self, scores: Tensor) -> Tensor:
        """(Q,) -> the queries to keep, the surest first."""
        order = scores.argsort(descending=True, stable=True)
        return order[scores[order] >= self._config.score_threshold][: self._config.max_objects]

    def _name(self, prompts: Tensor) -> list[list[str]]:
        beams = self._config.beams or None
        pieces = torch.split(prompts, self._config.naming_batch)
        return [name for piece in pieces for name in self._network.namer.name(piece, beams=beams)]


def _in_pixels(boxes_cxcywh: Tensor, size_hw: Tensor) -> Tensor:
    height, width = size_hw.tolist()
    return to_record(boxes_cxcywh, width=width, height=height).float().cpu()


def _example(image: Image.Image) -> Example:
    pixels = functional.pil_to_tensor(image.convert("RGB"))
    return Example("", pixels, torch.zeros(0, 4), (), (image.height, image.width))
