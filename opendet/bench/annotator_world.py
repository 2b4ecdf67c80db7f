"""What the annotators' bench asks of whom: models' shapes, photographs, and how many."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from opendet.bench.random_models import LLAVA_1_5_7B, LlavaShape
from opendet.record import Provenance, Record, Region
from opendet.sample import Sample
from opendet.sources.images import decode_upright

NAMES = ("bicycle", "red car", "dog")


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of which models."""

    llava: LlavaShape
    clip: Mapping[str, Any]
    """As open_clip configures one."""
    dtype: str
    images: int
    """For the vision-language model."""
    crop_images: int
    """For CLIP, which is faster."""
    plain: int
    """Images and regions for the plain loop."""
    regions: int
    """Of each image."""
    batch: int
    tokens: int
    """Of a caption; a description has a quarter of them."""
    size_wh: tuple[int, int]

    @property
    def short(self) -> int:
        return max(1, self.tokens // 4)


def full_size() -> Work:
    """What a GPU is given."""
    import open_clip

    clip = dict(open_clip.get_model_config("ViT-B-32") or {})
    return Work(LLAVA_1_5_7B, clip, "bfloat16", 128, 1024, 12, 4, 32, 64, (640, 480))


def tiny() -> Work:
    """What a CPU is given."""
    layers = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    few = {**layers, "num_hidden_layers": 1}
    text = {**few, "vocab_size": 256, "max_position_embeddings": 512}
    tower = {"layers": 1, "width": 16, "head_width": 16, "image_size": 32, "patch_size": 16}
    words = {"layers": 1, "width": 16, "heads": 1, "context_length": 16, "vocab_size": 49408}
    clip = {"embed_dim": 16, "vision_cfg": tower, "text_cfg": words}
    return Work(LlavaShape(28, few, text), clip, "float32", 8, 8, 4, 2, 4, 8, (96, 64))


def photographs(count: int, work: Work) -> list[Sample]:
    """Noise, blurred: about as much to decode as a photograph of that size."""
    rng = np.random.default_rng(0)
    return [_photograph(index, rng, work) for index in range(count)]


def _photograph(index: int, rng: np.random.Generator, work: Work) -> Sample:
    width, height = work.size_wh
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).filter(ImageFilter.GaussianBlur(0.8)).save(file, "JPEG", quality=75)
    regions = []
    for number in range(work.regions):
        x, y = float(rng.uniform(0, width / 2)), float(rng.uniform(0, height / 2))
        box_xyxy = (x, y, x + width / 3, y + height / 3)
        name = NAMES[number % len(NAMES)]
        regions.append(Region(box_xyxy, Provenance("source"), label=name, names=(name,)))
    record = Record(
        key=f"bench-{index:06d}",
        source="bench",
        batch="bench",
        split="train",
        licence="CC0-1.0",
        file=f"{index:06d}.jpg",
        format="jpg",
        bytes=len(file.getvalue()),
        sha256=f"{index:064x}",
        width=width,
        height=height,
        regions=tuple(regions),
    )
    return Sample(record, content=file.getvalue())


def opened(sample: Sample) -> Sample:
    return replace(sample, pixels=decode_upright(sample.content))
