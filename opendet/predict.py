"""Pictures in; boxes, scores and names out. Nobody needs a vocabulary; who has one may give it."""

from collections.abc import Sequence
from dataclasses import replace
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
from opendet.detections import Detections
from opendet.devices import named_device
from opendet.model.detector import OpenDetector
from opendet.model.naming import Objects, ScoredName
from opendet.model.outputs import DetectorOutput
from opendet.model.vocabulary import Vocabulary, read_vocabulary
from opendet.namer_choice import choose_namer, require_same_tower, wants_t5
from opendet.predict_config import PredictConfig
from opendet.sources.images import to_rgb
from opendet.train.export import Resize, load_detector, read_card

# B images, Q queries, N objects


class Detector:
    """A trained detector, ready to be asked. `Detector.load` is the way in."""

    def __init__(
        self,
        network: OpenDetector,
        resize: Resize,
        config: PredictConfig,
        device: torch.device,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        """Raises ValueError, in one line, for a namer that the network lacks the parts for."""
        self.network = network.to(device).eval()
        self._resize = resize
        self._config = config
        self._device = device
        self._choice = choose_namer(network, config, vocabulary)
        self._beams = config.beams or network.namer.config.beams

    @classmethod
    def load(
        cls,
        folder: Path,
        config: PredictConfig | None = None,
        *,
        vocabulary: Vocabulary | None = None,
    ) -> "Detector":
        """The detector of a model folder, its T5 only where it is to name.

        A `vocabulary` stands for the file that the configuration names. Raises ValueError, in one
        line, where there is no model, or none that can name as it is asked to.
        """
        config = config or PredictConfig()
        if vocabulary is None and config.vocabulary is not None:
            vocabulary = read_vocabulary(config.vocabulary)
        device, card = named_device(config.device), read_card(folder)
        if vocabulary is not None:
            require_same_tower(vocabulary, card.training.get("clip"))
        network = load_detector(folder, written_names=wants_t5(config, vocabulary))
        return cls(network, card.resize, config, device, vocabulary)

    @torch.inference_mode()
    def detect(self, images: Sequence[Image.Image]) -> list[Detections]:
        """Upright images of any size and mode -> what is in each of them, one to one."""
        size = self._config.batch_size
        groups = [images[start : start + size] for start in range(0, len(images), size)]
        return [found for group in groups for found in self._detect_at_once(group)]

    def _detect_at_once(self, images: Sequence[Image.Image]) -> list[Detections]:
        batch = self._prepare(images).to(self._device)
        output = self.network(batch.images, batch.sizes_hw)
        scores = output.scores()  # (B, Q)
        chosen = [self._choose(*one) for one in zip(scores, output.valid, strict=True)]
        objects = self._objects(output, chosen)
        at_once = self._config.naming_batch
        named = self._choice.name(objects, count=self._beams, at_once=at_once)
        found, start = [], 0
        for i, queries in enumerate(chosen):
            own = slice(start, start := start + len(queries))
            boxes_xyxy = _in_pixels(output.boxes_cxcywh[i, queries], batch.original_sizes_hw[i])
            prompts = None if objects.read is None else objects.read[own].float().cpu()
            one = (boxes_xyxy, scores[i, queries].cpu(), named[own], prompts)
            told = _detections(*one, joins_score=self._choice.joins_score)
            found.append(replace(told, size_hw=(images[i].height, images[i].width)))
        return found

    def _objects(self, output: DetectorOutput, chosen: Sequence[Tensor]) -> Objects:
        """All images' objects, with their prompts where the namer reads those of all."""
        counts = torch.tensor([len(queries) for queries in chosen], device=self._device)
        images = torch.arange(len(chosen), device=self._device).repeat_interleave(counts)
        objects = Objects(self.network, output, images, torch.cat(list(chosen)))
        return objects.with_prompts() if self._choice.reads_prompts else objects

    def _prepare(self, images: Sequence[Image.Image]) -> Batch:
        """As evaluation's loader does it."""
        shortest, longest = self._resize.shortest, self._resize.longest
        examples = [
            transforms.resize(_example(image), shortest=shortest, longest=longest)
            for image in images
        ]
        return collate(examples, multiple=self._resize.multiple)

    def _choose(self, scores: Tensor, valid: Tensor) -> Tensor:
        """(Q,) each -> the queries to keep, the surest first. Those that only fill an image up to
        the most queries of its batch score 0 and are none, whatever the threshold is."""
        order = scores.argsort(descending=True, stable=True)
        kept = valid[order] & (scores[order] >= self._config.score_threshold)
        return order[kept][: self._config.max_objects]


def _detections(
    boxes_xyxy: Tensor,
    scores: Tensor,
    named: Sequence[Sequence[ScoredName]],
    prompts: Tensor | None,
    *,
    joins_score: bool,
) -> Detections:
    """The surest first, which a name's probability may change."""
    names = [[name.text for name in own] for own in named]
    if not joins_score:
        return Detections(boxes_xyxy, scores, names, prompts)
    likely = torch.tensor([own[0].probability for own in named], dtype=scores.dtype)
    joint = scores * likely
    order = joint.argsort(descending=True, stable=True)
    return Detections(
        boxes_xyxy[order],
        joint[order],
        [names[place] for place in order.tolist()],
        None if prompts is None else prompts[order],
    )


def _in_pixels(boxes_cxcywh: Tensor, size_hw: Tensor) -> Tensor:
    height, width = size_hw.tolist()
    return to_record(boxes_cxcywh, width=width, height=height).float().cpu()


def _example(image: Image.Image) -> Example:
    pixels = functional.pil_to_tensor(to_rgb(image))
    return Example("", pixels, torch.zeros(0, 4), (), (image.height, image.width))
