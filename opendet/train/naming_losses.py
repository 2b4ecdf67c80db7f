"""What the namer is taught in a step: names from prompts, names from noised texts, captions.

B images, N objects to name, U different names of the images, D_t the prompts' width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from opendet.model.detector import OpenDetector
from opendet.model.no_namer import NoNamer
from opendet.model.outputs import DetectorOutput
from opendet.model.t5_namer import T5Namer
from opendet.train.losses import contrast_loss, distillation_loss
from opendet.train.matching import Matches
from opendet.train.normalise import Cost
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.randomness import StepDraws
from opendet.train.text_vectors import TextVectors
from opendet.train.truths import Truths

SHAKE = 0.05
"""Deviation of the shaken target boxes, in units of their sides."""


@dataclass(frozen=True, slots=True)
class Named:
    """The matched objects of a step that have a name to learn."""

    images: Tensor
    """(N,) int64"""
    queries: Tensor
    """(N,) int64"""
    targets: Tensor
    """(N,) int64"""
    names: list[str]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the names of a step cost, and what became of each of the N objects."""

    costs: dict[str, Cost]
    prompts: Tensor
    """(N, D_t) without gradient."""
    losses: Tensor
    """(N,) the mean cross-entropy of a name's tokens, without gradient; empty without a T5."""


def draw_named(match: Matches, truths: Truths, draws: StepDraws, *, most: int) -> Named:
    """Of each image at most `most` matched objects with a name, drawn at random."""
    images, targets = match.images.tolist(), match.targets.tolist()
    kept: list[int] = []
    for image, key in enumerate(truths.keys):
        own = [p for p, i in enumerate(images) if i == image and truths.names[i][targets[p]]]
        order = torch.randperm(len(own), generator=draws.of(key, "named objects")).tolist()
        kept += [own[place] for place in order[:most]]
    index = torch.tensor(kept, dtype=torch.int64, device=match.images.device)
    names = [truths.names[images[place]][targets[place]] or "" for place in kept]
    return Named(match.images[index], match.queries[index], match.targets[index], names)


def naming_costs(
    detector: OpenDetector,
    output: DetectorOutput,
    named: Named,
    truths: Truths,
    text: TextVectors | None,
    draws: StepDraws,
    config: ObjectiveConfig,
) -> Lessons:
    """`naming`, `distillation`, `contrast`, `text_denoising` and `caption`; the T5 runs once for
    names. Without one nothing is written: the prompts learn to be their names' texts alone."""
    boxes = _looked_at(named, truths, draws, config)
    prompts = detector.prompt(output, named.images, named.queries, boxes)  # (N, D_t)
    taught = {"distillation": _distil(prompts, named, truths)}
    if config.contrast_weight:
        taught["contrast"] = _contrast(prompts, named, truths, text, draws, config)
    if isinstance(detector.namer, NoNamer):
        return Lessons(taught, prompts.detach(), prompts.new_zeros(0))
    read = prompts.detach() if draws.step < config.detach_prompts_until else prompts
    noised, words = _noised_texts(named, truths, text, draws, config)
    told = torch.cat((read, *noised))  # (N + U, D_t)
    sums, tokens = detector.namer.losses(told, [*named.names, *words])
    count = len(named.names)
    costs = {
        "naming": Cost(sums[:count].sum(), tokens[:count].sum()),
        **taught,
        "text_denoising": Cost(sums[count:].sum(), tokens[count:].sum()),
        **_captions(detector, detector.namer, output, truths, draws, config),
    }
    losses = sums[:count] / tokens[:count].clamp(min=1)
    return Lessons(costs, prompts.detach(), losses.detach())


def _looked_at(
    named: Named, truths: Truths, draws: StepDraws, config: ObjectiveConfig
) -> Tensor | None:
    """(N, 4) the boxes that prompts look at, None for the predicted ones."""
    if config.naming_boxes == "predicted":
        return None
    boxes = truths.boxes_cxcywh[named.images, named.targets]
    counts = torch.bincount(named.images, minlength=len(truths.keys)).tolist()
    shakes = [
        torch.randn(count, 4, generator=draws.of(key, "shaken boxes"))
        for key, count in zip(truths.keys, counts, strict=True)
    ]
    return boxes + SHAKE * torch.cat(shakes).to(boxes) * boxes[:, [2, 3, 2, 3]]


def _noised_texts(
    named: Named,
    truths: Truths,
    text: TextVectors | None,
    draws: StepDraws,
    config: ObjectiveConfig,
) -> tuple[list[Tensor], list[str]]:
    """Every different name of each image, and some of all that are taught: its vector with noise,
    (U, D_t) in pieces, and the U names; T_e + N(0, sigma^2) of text denoising."""
    if text is None or not config.text_denoising_weight:
        return [], []
    deviation = config.text_denoising_noise * text.deviation
    places = named.images.tolist()
    noised: list[Tensor] = []
    words: list[str] = []
    for image, key in enumerate(truths.keys):
        here = {name for name, i in zip(named.names, places, strict=True) if i == image}
        own = sorted(name for name in here if name in text)
        own += _of_vocabulary(text, draws.of(key, "vocabulary"), config.text_denoising_vocabulary)
        clean = text.of(own).to(truths.boxes_cxcywh.device)
        noise = torch.randn(clean.shape, generator=draws.of(key, "text denoising"))
        noised.append(clean + deviation * noise.to(clean))
        words += own
    return noised, words


def _of_vocabulary(text: TextVectors, generator: torch.Generator, count: int) -> list[str]:
    """So many of all names that are taught, a rare one as often as a frequent one."""
    rows = torch.randint(len(text), (count,), generator=generator).tolist()
    return [text.names[row] for row in rows]


def _distil(prompts: Tensor, named: Named, truths: Truths) -> Cost:
    """1 - cosine of the prompts with the vectors of their names, of those that have one."""
    if truths.texts is None:
        return Cost(prompts.sum() * 0.0, 0)
    taught, teachers = _teachers(named, truths.texts, truths)
    return Cost(distillation_loss(prompts[taught], teachers), taught.sum())


def _contrast(
    prompts: Tensor,
    named: Named,
    truths: Truths,
    text: TextVectors | None,
    draws: StepDraws,
    config: ObjectiveConfig,
) -> Cost:
    """Of the prompts' own names against the others that training teaches."""
    if truths.texts is None or text is None:
        return Cost(prompts.sum() * 0.0, 0)
    taught, teachers = _teachers(named, truths.texts, truths)
    rows, counted = _others(text, truths, draws, most=config.contrast_names)
    loss = contrast_loss(
        prompts[taught],
        teachers,
        text.matrix[rows.to(text.matrix.device)].to(teachers.device),
        temperature=config.contrast_temperature,
        same=config.align_threshold,
        counted=counted.to(teachers.device)[named.images[taught]],
    )
    return Cost(loss, taught.sum())


def _teachers(named: Named, texts: Tensor, truths: Truths) -> tuple[Tensor, Tensor]:
    """(N,) which objects have a text vector, and (N', D_t) those vectors."""
    taught = truths.texted[named.images, named.targets]
    return taught, texts[named.images, named.targets][taught]


def _others(
    text: TextVectors, truths: Truths, draws: StepDraws, *, most: int
) -> tuple[Tensor, Tensor]:
    """(K,) rows of all names, or of so many, and (B, K) whether they count for an image.

    So many: drawn for a step, not for an image, the same on every rank. Of the names that are known
    to be absent those that were not drawn come last, each for the images that say so alone.
    """
    images = len(truths.keys)
    if len(text) <= most:
        return torch.arange(len(text)), torch.ones(images, len(text), dtype=torch.bool)
    rows = torch.randperm(len(text), generator=draws.of("", "contrast"))[:most]
    counted = torch.ones(images, most, dtype=torch.bool)
    if truths.wrong is None:
        return rows, counted
    drawn = frozenset(rows.tolist())
    own = [frozenset(text.rows(names).tolist()) - drawn for names in truths.wrong.absent]
    further = sorted(frozenset().union(*own))
    count = torch.tensor([[row in known for row in further] for known in own], dtype=torch.bool)
    rows = torch.cat((rows, torch.tensor(further, dtype=torch.int64)))
    return rows, torch.cat((counted, count.reshape(images, len(further))), 1)


def _captions(
    detector: OpenDetector,
    namer: T5Namer,
    output: DetectorOutput,
    truths: Truths,
    draws: StepDraws,
    config: ObjectiveConfig,
) -> dict[str, Cost]:
    """The captions of images without boxes, read from their best queries (GenerateU)."""
    if not config.caption_weight:
        return {}
    images = [image for image, caption in enumerate(truths.captions) if caption]
    if not images:  # the ranks send their counts in one message: each must have the same parts
        return {"caption": Cost(output.layers[-1].logits.sum() * 0.0, 0)}
    scores = output.scores()[images].detach()
    best = scores.topk(min(config.caption_queries, scores.shape[1]), 1).indices  # (N, K)
    places = torch.tensor(images, device=best.device)[:, None].expand_as(best)
    prompts = detector.prompt(output, places.flatten(), best.flatten())
    if draws.step < config.detach_prompts_until:
        prompts = prompts.detach()
    captions = [truths.captions[image] or "" for image in images]
    sums, tokens = namer.losses(
        prompts.view(*best.shape, -1), captions, longest=config.caption_tokens
    )
    return {"caption": Cost(sums.sum(), tokens.sum())}
