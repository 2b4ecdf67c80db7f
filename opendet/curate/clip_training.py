"""Training a small CLIP on a build's own crops and texts.

Each step tells the batch's crops which of many texts is theirs, and each of the batch's texts which
crops are its own. A text counts once however many crops carry it, so no true pair is ever pushed
apart. Names that are wrong at random pull in all directions and average out, given that the steps
are too few to learn each crop by heart; `trust` also leaves out the crops that disagree most.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from opendet.annotators.tiny_clip import TinyShape, save_weights, start_clip
from opendet.curate.clip import ClipConfig

MAX_LOGIT_SCALE = math.log(100)

# N crops, K different texts, B crops of a step, P texts of a step, S side of a crop, D width,
# L tokens of a text


@dataclass(frozen=True, slots=True)
class Lesson:
    """All that is learned from."""

    crops: Tensor
    """(N, 3, S, S) uint8 RGB."""
    text_of: Tensor
    """(N,) index of each crop's text, int64."""
    texts: tuple[str, ...]
    """K, sorted."""


def train_clip(
    examples: Iterable[tuple[Image.Image, str]], config: ClipConfig, *, seed: int, folder: Path
) -> dict[str, float]:
    """Train on pairs of crop and text, save an open_clip local-dir folder, return metrics.

    The same examples, seed and number of threads give the same bytes on the same machine.
    Raises ValueError where there are fewer than two different texts.
    """
    lesson = gather(examples, image_size=config.image_size)
    with _settled(seed, config.threads):
        shape = TinyShape(
            config.image_size, config.tower, config.width, config.text_layers, config.vocabulary
        )
        model, tokenizer = start_clip(folder, lesson.texts, shape)
        losses = _fit(model.train(), lesson, tokenizer(list(lesson.texts)), config, seed)
        model.eval()
    save_weights(model, folder)
    tail = max(1, len(losses) // 10)
    return {
        "crops": len(lesson.crops),
        "names": len(lesson.texts),
        "steps": config.steps,
        "loss_first": round(sum(losses[:tail]) / tail, 4),
        "loss_last": round(sum(losses[-tail:]) / tail, 4),
    }


def gather(examples: Iterable[tuple[Image.Image, str]], *, image_size: int) -> Lesson:
    """The crops at the model's size, and each one's text. Raises ValueError for too little."""
    crops: list[Tensor] = []
    said: list[str] = []
    for crop, text in examples:
        small = crop.resize((image_size, image_size), Image.Resampling.BICUBIC)
        crops.append(torch.from_numpy(np.asarray(small).copy()))
        said.append(text)
    texts = tuple(sorted(set(said)))
    if len(texts) < 2:
        raise ValueError(
            f"the stage `clip` found {len(texts)} different names on {len(crops)} named regions "
            "and needs two to tell apart: take a source with boxes (format coco or voc; a plain "
            "folder has none), let `describe.annotator: vision_language` name them, or set "
            "`clip.model` to a published model"
        )
    index = {text: number for number, text in enumerate(texts)}
    stacked = torch.stack(crops).permute(0, 3, 1, 2).contiguous()
    return Lesson(stacked, torch.tensor([index[text] for text in said]), texts)


def clip_loss(
    crops: Tensor, texts: Tensor, own: Tensor, scale: Tensor, *, smoothing: float, trust: float
) -> Tensor:
    """Contrastive loss of B crops (B, D) and P texts (P, D), unit rows; `own` (B,) indexes texts.

    Crop to text is a softmax over the P texts; text to crop one over the B crops, shared by the
    crops of that text. Only the share `trust` of the crops with the lowest loss counts.
    """
    logits = scale * crops @ texts.T  # (B, P)
    to_text = functional.cross_entropy(  # (B,)
        logits, own, reduction="none", label_smoothing=smoothing
    )
    to_crop = -functional.log_softmax(logits, dim=0)[torch.arange(len(own)), own]  # (B,)
    kept = to_text.detach().topk(max(1, round(trust * len(own))), largest=False).indices
    return (to_text[kept].mean() + to_crop[kept].mean()) / 2


def _fit(
    model: nn.Module, lesson: Lesson, tokens: Tensor, config: ClipConfig, seed: int
) -> list[float]:
    """Train in place; returns each step's loss. `tokens` (K, L) are the texts'."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    warm_up = max(1, config.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _pace(step, warm_up=warm_up, steps=config.steps)
    )
    order = _endless_order(len(lesson.crops), config.batch, generator)
    losses: list[float] = []
    for step in range(config.steps):
        rows = next(order)
        asked, own = _choose_texts(lesson.text_of[rows], len(tokens), config.texts, generator)
        trust = config.trust if step >= config.steps // 2 else 1.0
        crops, texts, scale = model(augment(lesson.crops[rows], generator), tokens[asked])
        loss = clip_loss(crops, texts, own, scale, smoothing=config.smoothing, trust=trust)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.get_parameter("logit_scale").clamp_(0, MAX_LOGIT_SCALE)
        losses.append(loss.item())
    return losses


def augment(crops: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 3, S, S) uint8 -> float in [-1, 1], each mirrored half the time, moved by up to 8 % and
    scaled by up to 15 %. Zero, which is grey, comes in at the borders."""
    count = len(crops)
    draws = torch.rand(count, 4, generator=generator)  # (B, 4) in [0, 1)
    scale = 0.85 + 0.3 * draws[:, 0]
    mirror = torch.where(draws[:, 1] < 0.5, -1.0, 1.0)
    shift = (draws[:, 2:] - 0.5) * 0.32  # the picture is 2 wide
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = scale * mirror
    theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    grid = functional.affine_grid(theta, list(crops.shape), align_corners=False)
    return functional.grid_sample(crops.float() / 127.5 - 1, grid, align_corners=False)


def _choose_texts(
    own: Tensor, count: int, limit: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The texts of a step, (P,) indices: its crops' own and others at random up to `limit`; and
    each crop's place among them, (B,)."""
    present, place = torch.unique(own, return_inverse=True)
    if len(present) >= min(limit, count):
        return present, place
    absent = torch.ones(count, dtype=torch.bool)
    absent[present] = False
    others = absent.nonzero().squeeze(1)
    drawn = others[torch.randperm(len(others), generator=generator)[: limit - len(present)]]
    return torch.cat((present, drawn)), place


def _endless_order(count: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of row numbers: each epoch in a new order, without end."""
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch:
            waiting = torch.cat((waiting, torch.randperm(count, generator=generator)))
        yield waiting[:batch]
        waiting = waiting[batch:]


def _pace(step: int, *, warm_up: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to 2 %."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2


@contextmanager
def _settled(seed: int, threads: int) -> Iterator[None]:
    """Torch's global generator and threads set for the training, and given back."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
