"""Names that an image does not show: known to be absent, or drawn from other images.

OWL-ST's pseudo-negatives (Minderer et al. 2023) and the hard negatives of LVIS or of a verifier.
B images, Q queries, M objects of one image, K wrong names of one, D_t the text vectors' width.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from opendet.data.batch import Batch, Target
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.randomness import StepDraws
from opendet.train.text_vectors import TextVectors

if TYPE_CHECKING:
    from opendet.train.truths import Truths


@dataclass(frozen=True, slots=True)
class WrongNames:
    """What no query of an image may be called."""

    texts: Tensor
    """(B, K, D_t) unit vectors, zero where padded."""
    there: Tensor
    """(B, K) False where padded, and for a name too much like one that the image shows."""
    absent: tuple[tuple[str, ...], ...]
    """Of each image those that are said to be absent, in a mosaic by one tile at least and shown by
    none; the others of the K are drawn."""


def with_wrong_names(
    truths: "Truths",
    batch: Batch,
    text: TextVectors | None,
    draws: StepDraws,
    config: ObjectiveConfig,
) -> "Truths":
    """The truths with what the configuration asks for of it; as they are where that is nothing."""
    texts = truths.texts
    if text is None or texts is None:
        return truths
    if config.partial_names:
        truths = replace(truths, excused=_excused(batch.targets, truths.there))
    if not config.absent_names and not config.pseudo_negatives:
        return truths
    absent = [_absent(target, text) if config.absent_names else () for target in batch.targets]
    names = [
        _with_drawn(own, target, text, draws.of(key, "pseudo-negatives"), config.pseudo_negatives)
        for own, target, key in zip(absent, batch.targets, batch.keys, strict=True)
    ]
    wrong, there = _padded([text.of(own) for own in names], texts)
    unlike = _unlike(wrong, texts, truths.texted, config)
    return replace(truths, wrong=WrongNames(wrong, there & unlike, tuple(absent)))


def _absent(target: Target, text: TextVectors) -> tuple[str, ...]:
    """Whoever says that a shown name is absent is not believed."""
    said = _said(target)
    return tuple(dict.fromkeys(name for name in target.absent if name in text and name not in said))


def _with_drawn(
    own: Sequence[str], target: Target, text: TextVectors, generator: torch.Generator, count: int
) -> list[str]:
    """The absent names, and so many of all that are taught, less those that are shown or twice."""
    rows = torch.randint(len(text), (count,), generator=generator).tolist()
    drawn: Iterable[str] = (text.names[row] for row in rows)
    said = _said(target)
    return list(dict.fromkeys((*own, *(name for name in drawn if name not in said))))


def _said(target: Target) -> frozenset[str]:
    """Every name that the image may show: its objects', and those of which there is more."""
    return frozenset(name for names in (*target.names, target.partial) for name in names)


def _padded(vectors: Sequence[Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """B tensors (K_b, D_t) -> (B, K, D_t) and (B, K)."""
    texts = torch.nn.utils.rnn.pad_sequence(list(vectors), batch_first=True).to(like)
    counts = torch.tensor([len(own) for own in vectors], device=like.device)
    return texts, torch.arange(texts.shape[1], device=like.device) < counts[:, None]


def _unlike(wrong: Tensor, texts: Tensor, texted: Tensor, config: ObjectiveConfig) -> Tensor:
    """(B, K) False for a name that means the same as an object's: `cars` is not wrong for a car."""
    least = config.align_threshold if config.align_ignore is None else config.align_ignore
    with torch.autocast(wrong.device.type, enabled=False):  # as in `same_name_targets`
        alike = wrong.float() @ texts.float().mT > least  # (B, K, M)
    return ~(alike & texted[:, None]).any(2)


def _excused(targets: Sequence[Target], there: Tensor) -> Tensor:
    """(B, M) True for an object whose name the image shows more often than it has boxes."""
    excused = torch.zeros(there.shape, dtype=torch.bool)
    for image, target in enumerate(targets):
        for number, names in enumerate(target.names):
            excused[image, number] = not set(names).isdisjoint(target.partial)
    return excused.to(there.device)
