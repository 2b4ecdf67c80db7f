"""What a training step takes, part by part: seconds forward, and memory kept for backward.

Swin-T and a T5 of FLAN-T5-base's sizes with random weights, ten objects in each picture. On a GPU
at 800 x 1333, in bf16 beside fp32; on a CPU at a quarter of that, where a minute says the same.
"""

import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import torch
from torch.nn import functional

from opendet.bench.forward import SWIN_T, settle_of
from opendet.bench.harness import Place, Row, code_of
from opendet.bench.naming import FLAN_T5_BASE, random_namer
from opendet.bench.parts import OTHER, PARTS, watch
from opendet.data.batch import Batch, Target
from opendet.model.config import DetectorConfig
from opendet.model.detector import OpenDetector
from opendet.train.objective import Objective
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.randomness import StepDraws
from opendet.train.text_vectors import TextVectors
from opendet.train.training_step import TrainingStep

SIZES_HW = {"cuda": (800, 1333), "cpu": (400, 672)}
OBJECTS = 10
NAMES = tuple(f"w{first} w{first + 1}" for first in range(100, 140, 2))
"""Words that the random T5's tokenizer knows."""
GIB = 2**30


def measure(place: Place) -> Iterator[Row]:
    """The paper's LoRA head beside the full one, and on a GPU each in both precisions."""
    code = code_of("opendet.bench.training_cost")
    kind = "cuda" if place.device.startswith("cuda") else "cpu"
    precisions = ("fp32", "bf16") if kind == "cuda" else ("fp32",)
    for head in ("lora", "full"):
        for precision in precisions:
            settings = {"head": head, "precision": precision, "size": SIZES_HW[kind]}
            work = partial(
                costs,
                DetectorConfig(backbone=SWIN_T),
                FLAN_T5_BASE,
                head=head,
                precision=precision,
                size_hw=SIZES_HW[kind],
                device=place.device,
            )
            what = f"a training step, {head} head, {precision}"
            told: dict[str, Any] | None = place.unit(settings, code, work, what=what)
            if told is not None:
                yield from _rows(told, f"{head} head, {precision}")


def _rows(told: dict[str, Any], title: str) -> Iterator[Row]:
    yield Row(f"{title}: a step, s", told["step"], detail=f"forward {told['forward']:.2f}")
    seconds = ", ".join(f"{name} {value:.2f}" for name, value in told["seconds"].items())
    forward = sum(told["seconds"].values())
    yield Row(f"{title}: forward of the parts, s", forward, detail=seconds)
    kept = ", ".join(f"{name} {value / GIB:.2f}" for name, value in told["kept_bytes"].items())
    total = sum(told["kept_bytes"].values()) / GIB
    yield Row(f"{title}: kept for the backward pass, GiB", total, detail=kept)
    yield Row(f"{title}: trained parameters, M", told["trained"] / 1e6)
    if told["peak_bytes"]:
        yield Row(f"{title}: peak memory, GiB", told["peak_bytes"] / GIB, detail="with AdamW")


def costs(
    config: DetectorConfig,
    t5_sizes: dict[str, int],
    *,
    head: str,
    precision: str,
    size_hw: tuple[int, int],
    device: str,
    rounds: int = 3,
) -> dict[str, Any]:
    """Of batches of one image; medians over the rounds, after one that is not counted."""
    torch.manual_seed(0)
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()  # of the measurement before
    rank = 16 if head == "lora" else 0
    detector = OpenDetector(config, random_namer(t5_sizes, lora_rank=rank)).to(device).train()
    width = detector.namer.prompt_width
    text = TextVectors(NAMES, functional.normalize(torch.randn(len(NAMES), width), dim=-1))
    step = TrainingStep(detector, Objective(ObjectiveConfig(), text.to(torch.device(device))))
    trained = [p for p in detector.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    batch = _batch(size_hw).to(torch.device(device))
    settle = settle_of(device)
    cast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")
    whole, forward = [], []
    for number in range(rounds + 1):
        settle()
        start = time.perf_counter()
        with cast:
            loss = step(batch, StepDraws(0, number)).total
        settle()
        forward.append(time.perf_counter() - start)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        settle()
        whole.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if on_gpu else 0
    with watch(detector, settle) as told, cast:
        step(batch, StepDraws(0, 0))
    order = (*PARTS, OTHER)
    return {
        "step": median(whole[1:]),
        "forward": median(forward[1:]),
        "seconds": {name: told.seconds[name] for name in order if name in told.seconds},
        "kept_bytes": {name: told.kept_bytes[name] for name in order if name in told.kept_bytes},
        "trained": sum(p.numel() for p in trained),
        "peak_bytes": peak,
    }


def _batch(size_hw: tuple[int, int]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, *size_hw, generator=generator)
    places = torch.rand(OBJECTS, 2, generator=generator) * 0.6 + 0.2
    sides = torch.rand(OBJECTS, 2, generator=generator) * 0.2 + 0.1
    names = tuple((NAMES[number],) for number in range(OBJECTS))
    target = Target(torch.cat((places, sides), -1), names)
    size = torch.tensor([size_hw])
    return Batch(("picture",), image, size, size, (target,))
