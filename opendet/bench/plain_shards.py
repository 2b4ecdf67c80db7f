"""Batches as people write them without Open-Det: webdataset, Pillow, torchvision v2.

A record becomes boxes and names, the image is resized to a shortest edge of 800 and a longest of
1333, boxes with it, and images are padded into one batch of floats, as DETR does. `decode("pil")`
is webdataset's own decoder. `pil` resizes Pillow's image, as torchvision's reference training does
unless told otherwise; `tensor` makes a tensor of it first, as its guide to speed advises.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

SHORTEST, LONGEST = 800, 1333
Backend = Literal["pil", "tensor"]


def plain_batches(tars: list[str], *, batch_size: int, backend: Backend) -> Iterator[Any]:
    """(B, 3, H, W) floats in [0, 1], and of each image (M, 4) boxes_cxcywh and M names."""
    import webdataset

    steps = [v2.Resize(SHORTEST, max_size=LONGEST, antialias=True)]
    float_image = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    ordered = [*steps, *float_image] if backend == "pil" else [v2.ToImage(), *steps, float_image[1]]
    transform = v2.Compose(ordered)
    yield from (
        webdataset.WebDataset(tars, shardshuffle=False)
        .decode("pil")
        .map(lambda sample: transform(*_image_and_target(sample)))
        .batched(batch_size, collation_fn=_collated)
    )


def _image_and_target(sample: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    image, regions = sample["jpg"], sample["json"]["regions"]
    kept = [region for region in regions if not region["refusal"]]
    boxes = tv_tensors.BoundingBoxes(
        [region["box_xyxy"] for region in kept],
        format="XYXY",
        canvas_size=(image.height, image.width),
        dtype=torch.float32,
    )
    return image, {"boxes": boxes, "names": [region["names"] for region in kept]}


def _collated(examples: list[tuple[Tensor, dict[str, Any]]]) -> tuple[Tensor, list[Any]]:
    height, width = (max(image.shape[axis] for image, _ in examples) for axis in (1, 2))
    images = torch.zeros(len(examples), 3, height, width)
    targets = []
    for place, (image, target) in zip(images, examples, strict=True):
        own_h, own_w = image.shape[1:]
        place[:, :own_h, :own_w].copy_(image)
        x0, y0, x1, y1 = target["boxes"].as_subclass(Tensor).unbind(1)
        centred = torch.stack(((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0), 1)
        boxes_cxcywh = centred / torch.tensor([own_w, own_h, own_w, own_h])
        targets.append({**target, "boxes": boxes_cxcywh})
    return images, targets
