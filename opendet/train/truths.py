"""What a batch's losses are measured against: the targets, padded, each with one name.

B images, M objects of one image (padded to the most), D_t the text vectors' width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opendet.data.batch import Batch
from opendet.train.randomness import StepDraws
from opendet.train.text_vectors import TextVectors
from opendet.train.wrong_names import WrongNames


@dataclass(frozen=True, slots=True)
class Truths:
    """The objects of a batch."""

    keys: tuple[str, ...]
    boxes_cxcywh: Tensor
    """(B, M, 4) in [0, 1] of the unpadded image."""
    there: Tensor
    """(B, M) False where padded."""
    names: tuple[tuple[str | None, ...], ...]
    """For each image the name of each object in this step, drawn from those that mean the same;
    None where it has none."""
    texts: Tensor | None
    """(B, M, D_t) the names' unit vectors, zero without one; None without a teacher."""
    texted: Tensor
    """(B, M) True where there is such a vector."""
    searched: Tensor
    """(B,) False for an image whose objects nobody has marked: it has a caption at most."""
    box_weights: Tensor
    """(B,) what the places of an image's boxes count."""
    captions: tuple[str | None, ...]
    """For each image that is not searched its caption."""
    wrong: WrongNames | None = None
    """What no query of an image may be called; None where nobody asks."""
    excused: Tensor | None = None
    """(B, M) True for an object whose name an unmatched query may show too; None where nobody
    asks."""

    @property
    def counts(self) -> Tensor:
        """(B,) objects of each image."""
        return self.there.sum(1)


def read_truths(
    batch: Batch, text: TextVectors | None, draws: StepDraws, *, pseudo_box_weight: float
) -> Truths:
    """Pad the batch's targets and draw a name for each object."""
    device = batch.images.device
    targets = batch.targets
    boxes = [target.boxes_cxcywh.float() for target in targets]
    padded = torch.nn.utils.rnn.pad_sequence(boxes, batch_first=True)  # (B, M, 4)
    counts = torch.tensor([len(b) for b in boxes], device=device)
    names = tuple(
        _draw_names(target.names, draws.of(key, "names"))
        for key, target in zip(batch.keys, targets, strict=True)
    )
    texts, texted = _texts(names, text, shape=padded.shape[:2], device=device)
    weights = {"box": 1.0, "pseudo_box": pseudo_box_weight, "image": 0.0}
    return Truths(
        keys=batch.keys,
        boxes_cxcywh=padded,
        there=torch.arange(padded.shape[1], device=device) < counts[:, None],
        names=names,
        texts=texts,
        texted=texted,
        searched=torch.tensor([target.kind != "image" for target in targets], device=device),
        box_weights=torch.tensor([weights[target.kind] for target in targets], device=device),
        captions=tuple(target.caption if target.kind == "image" else None for target in targets),
    )


def _draw_names(
    choices: Sequence[tuple[str, ...]], generator: torch.Generator
) -> tuple[str | None, ...]:
    return tuple(
        names[int(torch.randint(len(names), (), generator=generator))] if names else None
        for names in choices
    )


def _texts(
    names: Sequence[Sequence[str | None]],
    text: TextVectors | None,
    *,
    shape: tuple[int, ...],
    device: torch.device,
) -> tuple[Tensor | None, Tensor]:
    """(B, M, D_t) and (B, M)."""
    texted = torch.zeros(shape, dtype=torch.bool)
    if text is None:
        return None, texted.to(device)
    known: list[str] = []
    for image, own in enumerate(names):
        for number, name in enumerate(own):
            if name is not None and name in text:
                texted[image, number] = True
                known.append(name)
    texted = texted.to(device)
    vectors = torch.zeros(*shape, text.matrix.shape[1], device=device)
    vectors[texted] = text.of(known).to(device)
    return vectors, texted
