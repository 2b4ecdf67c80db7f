"""Tier 1: what the LoRA head and text denoising (TD) save of what a language model knew.

The real namer, a tiny T5 that knows all 64 names as text, learns to read simulated visual prompts:
a share of the name's text vector, a constant bias and noise, and in the first half of the steps
bias and noise alone: what a detector says that has found nothing yet. The 16 names that training
never shows are asked for at the end. The settings are the same for every arm; they were chosen on
seeds 0 to 3, the bench measures others. N prompts, D_t width.
"""

import copy
import math
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import product
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from opendet.bench.arms import TEXT_WIDTH, namer_config
from opendet.bench.harness import Place, Row, code_of, paired_by
from opendet.bench.language import teach_language
from opendet.bench.synthetic import NAMES
from opendet.bench.tier1_world import accuracy_by_tier, frequencies, text_vectors
from opendet.model.t5_namer import T5Namer
from opendet.train.randomness import reproducible

SEEDS = range(10, 15)
STEPS = 300
EARLY = 0.5
"""Share of the steps in which prompts say nothing."""
PROMPTS = 32
"""In a step."""
LEARNING_RATE = 1e-3
STRENGTH = 0.6
"""Of the text vector in a visual prompt, once the early phase is over."""
BIAS = 0.3
"""Length of what all visual prompts have in common."""
NOISE = 0.25
"""Length of what each has for itself."""
LORA_RANK = 2
"""Of a width of 96, as 16 is of FLAN-T5-base's 768."""
EXAMINED = 12
"""Visual prompts of each name at the end."""

Head = Literal["full", "lora"]
Arm = tuple[Head, bool]
Scores = dict[str, float]
ARMS: tuple[Arm, ...] = (("full", False), ("lora", False), ("full", True), ("lora", True))
"""Head, and whether noised texts are read too."""


def measure(place: Place) -> Iterator[Row]:
    """Four arms over five seeds; gates of spec/evidence.md G.3."""
    code = code_of(__name__)
    found: dict[Arm, list[Scores]] = {arm: [] for arm in ARMS}
    for seed, (head, denoised) in product(SEEDS, ARMS):
        settings = {"head": head, "denoised": denoised, "seed": seed}
        work = partial(run_arm, head, denoised, seed=seed)
        told = f"{head} head, {'' if denoised else 'no '}text denoising, seed {seed}"
        found[head, denoised].append(place.unit(settings, code, work, what=told))
    if place.done < place.asked:
        return
    none, lora, denoised_alone, both = (found[arm] for arm in ARMS)
    yield paired_by("LoRA and TD: unseen names", both, none, "unseen", 6)
    yield paired_by("TD alone: unseen names", denoised_alone, none, "unseen", 4)
    yield paired_by("LoRA alone: unseen names", lora, none, "unseen", 0, allowing=True)
    yield paired_by("LoRA and TD: frequent names", both, none, "frequent", -1, allowing=True)
    yield paired_by("LoRA and TD: rare names", both, none, "rare")
    yield paired_by("LoRA and TD: unseen names from clean text", both, none, "unseen, text")
    yield paired_by("TD alone: unseen names from clean text", denoised_alone, none, "unseen, text")
    yield paired_by("LoRA alone: unseen names from clean text", lora, none, "unseen, text")


def run_arm(head: Head, denoised: bool, *, seed: int, steps: int = STEPS) -> Scores:
    """Teach a namer visual prompts; the share of names that it gets right, in percent."""
    with reproducible(torch.device("cpu"), threads=1):
        text = text_vectors(TEXT_WIDTH)
        namer = _copied(_language(seed), head)
        generator = torch.Generator().manual_seed(seed)
        bias = BIAS * functional.normalize(torch.randn(TEXT_WIDTH, generator=generator), dim=0)
        trained = [parameter for parameter in namer.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
        namer.train()
        for step in range(steps):
            strength = 0.0 if step < EARLY * steps else STRENGTH
            loss = _loss(namer, text, bias, strength, denoised, generator)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(trained, 1.0)
            optimizer.step()
        return _examine(namer.eval(), text, bias, generator)


def _loss(
    namer: T5Namer,
    text: Tensor,
    bias: Tensor,
    strength: float,
    denoised: bool,
    generator: torch.Generator,
) -> Tensor:
    """Of names drawn by their frequency; the draws are the same in every arm."""
    drawn = torch.multinomial(frequencies(), PROMPTS, True, generator=generator)
    names = [NAMES[number] for number in drawn.tolist()]
    own = text[drawn]
    prompts = _visual(own, bias, strength, generator)
    noise = text.std() * torch.randn(own.shape, generator=generator)
    if not denoised:
        return namer.loss(prompts, names)
    sums, tokens = namer.losses(torch.cat((prompts, own + noise)), names * 2)
    loss: Tensor = 2 * sums.sum() / tokens.sum()  # two means of as many tokens
    return loss


def _visual(texts: Tensor, bias: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Text vectors (N, D_t) -> visual prompts (N, D_t)."""
    noise = NOISE / math.sqrt(texts.shape[1]) * torch.randn(texts.shape, generator=generator)
    return strength * texts + bias + noise


def _examine(namer: T5Namer, text: Tensor, bias: Tensor, generator: torch.Generator) -> Scores:
    asked = torch.arange(len(NAMES)).repeat_interleave(EXAMINED)
    shown = _accuracy(namer, _visual(text[asked], bias, STRENGTH, generator), asked)
    clean = _accuracy(namer, text, torch.arange(len(NAMES)))
    return {**shown, **{f"{tier}, text": share for tier, share in clean.items()}}


def _accuracy(namer: T5Namer, prompts: Tensor, classes: Tensor) -> Scores:
    written = [beams[0] for beams in namer.name(prompts, beams=1)]
    wanted = [NAMES[number] for number in classes.tolist()]
    right = torch.tensor([a == b for a, b in zip(written, wanted, strict=True)])
    return accuracy_by_tier(right, classes)


def _copied(learner: T5Namer, head: Head) -> T5Namer:
    """A namer of its own with that head, which begins as the learner is."""
    t5 = copy.deepcopy(learner.t5)
    t5.lm_head = t5.lm_head.merged()
    ranked = {"lora_rank": LORA_RANK, "lora_alpha": 2.0 * LORA_RANK}
    return T5Namer(t5, learner.tokenizer, namer_config(head=head).model_copy(update=ranked))


@lru_cache(maxsize=1)
def _language(seed: int) -> T5Namer:
    return teach_language(NAMES, namer_config(head="full"), seed=seed)
