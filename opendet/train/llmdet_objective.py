"""LLMDet's objectives: a language model describes images and regions from the detector's features.

Its cross-entropy teaches the detector to keep what captions tell (arXiv:2501.18954). B images, N
regions, D the detector's width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from opendet.model.captioner import Captioner
from opendet.model.features import FeatureTokens
from opendet.model.look_back import View
from opendet.train.distributed import Ranks
from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.normalise import Cost
from opendet.train.seen import Seen

IMAGE, REGION = "image_caption", "region_phrase"


class LlmdetObjective:
    """`image_caption` and `region_phrase`, those of them that weigh something.

    Raises ValueError, in one line, where the language model leaves no room for a caption.
    """

    def __init__(self, captioner: Captioner, config: LlmdetConfig) -> None:
        self.captioner = captioner
        self.config = config
        self._weights = {IMAGE: config.image_weight, REGION: config.region_weight}
        self._caption_tokens = _room(captioner, config) if captioner.image is not None else 0

    def weights(self, step: int) -> Mapping[str, float]:  # noqa: ARG002 - the same at all
        return {name: weight for name, weight in self._weights.items() if weight}

    def costs(self, seen: Seen) -> Mapping[str, Cost]:
        """Means over the texts' tokens."""
        memory, queries = seen.output.memory, seen.output.queries
        if self._only_projectors(seen.draws.step):
            memory, queries = memory.with_tokens(memory.tokens.detach()), queries.detach()
        costs = {}
        if self.config.image_weight:
            costs[IMAGE] = self._captions(seen, memory)
        if self.config.region_weight:
            costs[REGION] = self._phrases(seen, memory, queries)
        return costs

    def before_update(self, step: int, detector: nn.Module) -> None:
        """In the first stage all but the projectors lose their gradients: AdamW leaves what has
        none as it is, keeps no moments of it, and clipping does not count it."""
        if self._only_projectors(step):
            learning = {id(parameter) for parameter in self.captioner.projectors()}
            for parameter in detector.parameters():
                if id(parameter) not in learning:
                    parameter.grad = None

    def finish_step(self, step: int, ranks: Ranks) -> None:
        """Nothing is kept but gradients."""

    def _only_projectors(self, step: int) -> bool:
        return step < self.config.projector_steps

    def _captions(self, seen: Seen, memory: FeatureTokens) -> Cost:
        """Of every image that has a caption, whatever its boxes are good for."""
        told = [(place, target.caption) for place, target in enumerate(seen.batch.targets)]
        captioned = [(place, caption) for place, caption in told if caption]
        sums, tokens = self.captioner.describe_images(
            memory,
            [place for place, _ in captioned],
            [caption for _, caption in captioned],
            prompt=self.config.image_prompt,
            longest=self._caption_tokens,
        )
        return Cost(sums.sum(), tokens.sum())

    def _phrases(self, seen: Seen, memory: FeatureTokens, queries: Tensor) -> Cost:
        drawn = draw_phrased(seen, most=self.config.regions)
        boxes = seen.output.boxes_cxcywh[drawn.images, drawn.queries].detach()
        sums, tokens = self.captioner.describe_regions(
            View(memory, drawn.images, boxes),
            queries[drawn.images, drawn.queries],
            drawn.texts,
            prompt=self.config.region_prompt,
            longest=self.config.region_tokens,
        )
        return Cost(sums.sum(), tokens.sum())


@dataclass(frozen=True, slots=True)
class Phrased:
    """The matched objects of a step that a phrase is written of."""

    images: Tensor
    """(N,) int64"""
    queries: Tensor
    """(N,) int64"""
    texts: list[str]


def draw_phrased(seen: Seen, *, most: int) -> Phrased:
    """Of each image at most `most` matched objects with a text, drawn at random."""
    images, targets = seen.match.images.tolist(), seen.match.targets.tolist()
    texts = [text_of(seen, image, target) for image, target in zip(images, targets, strict=True)]
    kept: list[int] = []
    for image, key in enumerate(seen.batch.keys):
        own = [pair for pair, at in enumerate(images) if at == image and texts[pair]]
        generator = seen.draws.of(key, "phrased regions")
        order = torch.randperm(len(own), generator=generator).tolist()
        kept += [own[place] for place in order[:most]]
    index = torch.tensor(kept, dtype=torch.int64, device=seen.match.images.device)
    return Phrased(
        seen.match.images[index], seen.match.queries[index], [texts[pair] for pair in kept]
    )


def text_of(seen: Seen, image: int, target: int) -> str:
    """An object's description, else its name in this step; empty where it has neither."""
    descriptions = seen.batch.targets[image].descriptions
    described = descriptions[target] if descriptions else ""
    return described or seen.truths.names[image][target] or ""


def _room(captioner: Captioner, config: LlmdetConfig) -> int:
    """How many tokens a caption may have."""
    assert captioner.image is not None
    count = len(captioner.image)
    try:
        room = captioner.language.room(count, config.image_prompt, most=config.max_tokens)
    except ValueError as error:
        raise ValueError(
            f"objective.llmdet.max_tokens: {config.language}: {error}: set at most that"
        ) from error
    if room < 1:
        raise ValueError(
            f"objective.llmdet.max_tokens: {config.max_tokens} leave nothing for a caption beside "
            f"the image's {count} and the prompt: raise it, or lower grids"
        )
    return room
