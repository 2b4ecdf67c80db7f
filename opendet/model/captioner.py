"""What LLMDet trains beside the detector: all between its features and a language model.

The language model itself is held, and is no part: the state of a captioner has none of its weights.
N texts of B images, D the detector's width, H the language model's.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from opendet.model.config import DetectorConfig
from opendet.model.features import FeatureTokens
from opendet.model.image_tokens import Connector, Grid, ImageTokens
from opendet.model.language_model import LanguageModel
from opendet.model.look_back import LookBack, View, looking_back, spread

Losses = tuple[Tensor, Tensor]
"""Each text's summed cross-entropy (N,) and its number of tokens (N,)."""


class Captioner(nn.Module):
    """Projectors, the look back and the language model's corrections.

    grids: what an image becomes; none where images are not described. `look_backs`: of how many of
    the language model's layers; None where regions are not described. Raises ValueError, in one
    line, where the language model has fewer.
    """

    def __init__(
        self,
        language: LanguageModel,
        config: DetectorConfig,
        *,
        grids: Sequence[Grid],
        look_backs: int | None,
    ) -> None:
        super().__init__()
        self.language = language  # no module: neither trained nor saved here
        self.image = ImageTokens(grids, config.width, language.width) if grids else None
        self.region = None if look_backs is None else Connector(config.width, language.width)
        self.look_backs = nn.ModuleList(
            LookBack(
                language.width,
                config.width,
                heads=config.heads,
                levels=config.levels,
                points=config.points,
            )
            for _ in range(look_backs or 0)
        )
        self.looking = spread(language.layers, len(self.look_backs)) if look_backs else []
        self.corrections = language.corrections

    def projectors(self) -> Iterator[nn.Parameter]:
        """What the first stage trains."""
        for part in (self.image, self.region):
            if part is not None:
                yield from part.parameters()

    def describe_images(
        self,
        memory: FeatureTokens,
        places: Sequence[int],
        texts: Sequence[str],
        *,
        prompt: str,
        longest: int,
    ) -> Losses:
        """Of the images `places` (N); without one both are empty, and still lead to the weights."""
        assert self.image is not None
        if not texts:
            return self._nothing(self.image)
        tokens = self.image(_images(memory, places))
        return self.language.losses(tokens, prompt, texts, longest=longest)

    def describe_regions(
        self, view: View, queries: Tensor, texts: Sequence[str], *, prompt: str, longest: int
    ) -> Losses:
        """queries (N, D) of the view's regions; without one, as `describe_images`."""
        assert self.region is not None
        if not texts:
            return self._nothing(self.region, self.look_backs)
        tokens = self.region(queries, view.boxes_cxcywh.detach())[:, None]  # (N, 1, H)
        looks = looking_back(self.looking, self.look_backs, view) if self.looking else nullcontext()
        with looks:
            return self.language.losses(tokens, prompt, texts, longest=longest)

    def _nothing(self, *parts: nn.Module) -> Losses:
        """A rank that has nothing to describe must still give every parameter a gradient."""
        trained = [p for part in (*parts, self.corrections) for p in part.parameters()]
        zero = torch.stack([parameter.sum() for parameter in trained]).sum() * 0.0
        empty = torch.zeros(0, device=zero.device)
        return zero.float() + empty, empty


def _images(memory: FeatureTokens, places: Sequence[int]) -> FeatureTokens:
    """The maps of some of the images."""
    rows = torch.tensor(places, device=memory.tokens.device)
    return FeatureTokens(
        memory.tokens[rows], memory.shapes, memory.valid[rows], memory.extents_wh[rows]
    )
