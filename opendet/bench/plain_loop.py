"""The loop that everybody writes first: open an image, `generate`, decode, and the next one."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from opendet.bench.annotator_world import Work
from opendet.curate.caption import CaptionConfig
from opendet.curate.describe import DescribeConfig
from opendet.sample import Sample
from opendet.sources.images import decode_upright


def plain_rates(
    folder: Path, work: Work, device: str, samples: Sequence[Sample]
) -> dict[str, float]:
    """Captions and regions a second of a loop over images, one `generate` each."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    model: Any = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=getattr(torch, work.dtype), use_safetensors=True
    )
    model.to(device).eval()

    def ask(image: Image.Image, prompt: str, tokens: int) -> str:
        content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(device, model.dtype)
        with torch.inference_mode():
            found = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        return str(processor.decode(found[0], skip_special_tokens=True))

    def caption(sample: Sample) -> None:
        ask(decode_upright(sample.content), CaptionConfig().prompt.text, work.tokens)

    def describe(sample: Sample) -> None:
        image, [region, *_] = decode_upright(sample.content), sample.record.regions
        ask(image.crop(region.box_xyxy), DescribeConfig().prompt.text, work.short)

    return {
        "captions": _rate(caption, samples[: work.plain]),
        "regions": _rate(describe, samples[: work.plain]),
    }


def _rate(ask: Callable[[Sample], None], samples: Sequence[Sample]) -> float:
    ask(samples[0])
    start = time.perf_counter()
    for sample in samples:
        ask(sample)
    return len(samples) / (time.perf_counter() - start)
