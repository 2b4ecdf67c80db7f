"""The small world's "pretrained" backbone: it tells single objects apart before it detects any.

The paper's backbones come from ImageNet. From nothing, telling names apart takes longer than
finding boxes, and hides what the parts do. Only names that training shows are among the lessons.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from opendet.bench.synthetic import COLOURS, SHAPES, SceneSet, draw_single
from opendet.model.backbone import TinyBackbone, normalise_images
from opendet.model.config import BackboneConfig

# B images, C channels, K words of a kind

OBJECTS = 3072
OBJECTS_IN_STEP = 48
LEARNING_RATE = 2e-3


def teach_backbone(config: BackboneConfig, *, seed: int, lessons: int) -> dict[str, Tensor]:
    """The weights of a tiny backbone whose every map tells colours and shapes apart."""
    objects = draw_single(min(OBJECTS, lessons * OBJECTS_IN_STEP), seed=seed)
    torch.manual_seed(seed)
    backbone = TinyBackbone(config)
    heads = nn.ModuleList(
        nn.Linear(2 * channels, len(COLOURS) + len(SHAPES)) for channels in backbone.channels
    )
    learned = [*backbone.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(learned, weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    for step in range(lessons):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / lessons)
        rows = torch.randint(len(objects), (OBJECTS_IN_STEP,), generator=generator).tolist()
        loss = _loss(backbone, heads, objects, rows)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {name: value.detach().clone() for name, value in backbone.state_dict().items()}


def _loss(
    backbone: TinyBackbone, heads: nn.ModuleList, objects: SceneSet, rows: list[int]
) -> Tensor:
    """Cross-entropy of colour and shape, of every map."""
    batch = objects.batch(rows)
    words = [objects.names[row][0].split() for row in rows]
    colours = torch.tensor([COLOURS.index(colour) for colour, _ in words])
    shapes = torch.tensor([SHAPES.index(shape) for _, shape in words])
    losses = []
    for features, head in zip(
        backbone(normalise_images(batch.images, batch.sizes_hw)), heads, strict=True
    ):
        pooled = torch.cat((features.mean((2, 3)), features.amax((2, 3))), 1)  # (B, 2 C)
        logits = head(pooled)  # (B, 2 K)
        losses.append(functional.cross_entropy(logits[:, : len(COLOURS)], colours))
        losses.append(functional.cross_entropy(logits[:, len(COLOURS) :], shapes))
    return torch.stack(losses).mean()
