"""Boxes and names of 50 objects in one picture, against transformers' Grounding DINO.

Both have a Swin-T and random weights and see the same picture of 800 x 1333, the size that such
detectors are judged at. Theirs finds boxes for a text of some 60 tokens: it needs to be told what
to look for. Ours also writes a name for each of the 50 best boxes, with a T5 of FLAN-T5-base's
sizes. Rounds alternate, and the goals are of the median of the rounds' ratios.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from opendet.bench.harness import Place, Row, at_most, code_of
from opendet.bench.naming import FLAN_T5_BASE, random_namer
from opendet.bench.parts import watch
from opendet.bench.timing import compare
from opendet.model.config import BackboneConfig, DetectorConfig
from opendet.model.detector import OpenDetector
from opendet.model.t5_namer import T5Namer

SIZE_HW = (800, 1333)
OBJECTS = 50
GOALS: dict[Literal["deformable", "hybrid"], float] = {"deformable": 0.7, "hybrid": 0.4}
SWIN_T = BackboneConfig(name="swin_tiny_patch4_window7_224")
PROMPT_TOKENS = 60


def measure(place: Place) -> Iterator[Row]:
    """The paper's encoder and the hybrid one, with one name an object and with three."""
    code = code_of("opendet.bench.forward")
    sizes = [1, 16] if place.device.startswith("cuda") else [1]
    for images in sizes:
        for encoder, goal in GOALS.items():
            config = DetectorConfig(backbone=SWIN_T, queries=900, selection="topk", encoder=encoder)
            work = partial(times, config, FLAN_T5_BASE, images=images, device=place.device)
            settings = {"detector": config.model_dump(mode="json"), "images": images}
            told: dict[str, Any] | None = place.unit(
                settings, code, work, what=f"forward with the {encoder} encoder"
            )
            if told is not None:
                yield from _rows(told, f"{encoder}, batch {images}", goal)


def _rows(told: dict[str, Any], title: str, goal: float) -> Iterator[Row]:
    said = f"{told['ours']:.2f} s against {told['theirs']:.2f} s, {told['threads']} threads"
    yield at_most(
        f"{title}: boxes and one name each, share of their time", told["share"], goal, said
    )
    yield Row(
        f"{title}: boxes and three names each, share of their time",
        told["share_of_three"],
        detail=f"{told['three']:.2f} s",
    )
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in told["parts"].items())
    yield Row(f"{title}: boxes alone, s", told["boxes"], detail=parts)


def times(
    config: DetectorConfig,
    t5_sizes: dict[str, int],
    *,
    images: int = 1,
    device: str = "cpu",
    size_hw: tuple[int, int] = SIZE_HW,
    rounds: int = 3,
) -> dict[str, Any]:
    """Seconds, medians over the rounds, and where ours go."""
    torch.manual_seed(0)
    detector = OpenDetector(config, random_namer(t5_sizes)).eval().to(device)
    batch = torch.rand(images, 3, *size_hw).to(device)
    settle = settle_of(device)
    theirs = grounding_dino(batch, config)
    one = compare(partial(detect, detector, batch, beams=1), theirs, rounds=rounds, settle=settle)
    three = compare(partial(detect, detector, batch, beams=3), theirs, rounds=rounds, settle=settle)
    with watch(detector, settle) as costs:
        detect(detector, batch, beams=0)
    return {
        "ours": one.ours,
        "theirs": one.theirs,
        "share": one.ratio,
        "three": three.ours,
        "share_of_three": three.ratio,
        "boxes": sum(costs.seconds.values()),
        "parts": costs.seconds,
        "threads": torch.get_num_threads(),
    }


@torch.inference_mode()
def detect(detector: OpenDetector, images: Tensor, *, beams: int) -> list[list[str]]:
    """The names of each image's best boxes; boxes and prompts alone with no beams."""
    sizes = torch.tensor([images.shape[-2:]] * len(images), device=images.device)
    output = detector(images, sizes)
    best = output.scores().topk(min(OBJECTS, output.valid.shape[1]), 1).indices  # (B, 50)
    places = torch.arange(len(images), device=images.device)[:, None].expand_as(best)
    prompts = detector.prompt(output, places.flatten(), best.flatten())
    assert isinstance(detector.namer, T5Namer)
    return detector.namer.name(prompts, beams) if beams else []


def grounding_dino(images: Tensor, like: DetectorConfig) -> Any:
    """A call of the library's Grounding DINO (tiny: Swin-T) with random weights."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    config = GroundingDinoConfig(num_queries=like.queries, encoder_layers=like.encoder_layers or 6)
    model: Any = GroundingDinoForObjectDetection(config)
    model.eval().to(images.device)
    words = torch.randint(
        2000, 20000, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(0)
    )
    words[:, 0], words[:, -1] = 101, 102  # BERT's [CLS] and [SEP]
    words[:, 4::4] = 1012  # a full stop after each three words: one phrase
    tokens = words.expand(len(images), -1).contiguous().to(images.device)
    mask = torch.ones(images.shape[0], *images.shape[2:], dtype=torch.long, device=images.device)

    @torch.inference_mode()
    def call() -> Any:
        return model(
            pixel_values=images,
            pixel_mask=mask,
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            token_type_ids=torch.zeros_like(tokens),
        )

    return call


def settle_of(device: str) -> Callable[[], None]:
    """Waits until a device has done its work, which a CPU has when it returns."""
    return torch.cuda.synchronize if device.startswith("cuda") else lambda: None
