"""DeCo-DETR's objective: the head learns what CLIP sees in the objects that queries have found.

P matched pairs, N of them with a crop vector, M prototypes, C classes, D the detector's width, D_c
the width of the pool's CLIP.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from opendet.data.batch import Batch, RegionRef
from opendet.model.naming import Objects
from opendet.model.prototype_head import PrototypeHead
from opendet.train.deco_config import DecoConfig
from opendet.train.deco_losses import (
    class_entropy,
    mixture_divergence,
    rising_weight,
    teacher_classes,
    teacher_weights,
)
from opendet.train.distributed import Ranks
from opendet.train.matching import Matches
from opendet.train.normalise import Cost
from opendet.train.pool_momentum import moved_prototypes
from opendet.train.seen import Seen
from opendet.train.text_vectors import TextVectors


class CropVectors(Protocol):
    """What CLIP made of objects' crops (`opendet.train.region_vectors.RegionVectors`)."""

    @property
    def width(self) -> int: ...

    def of(self, refs: Sequence[RegionRef]) -> tuple[Tensor, Tensor]:
        """(N, D_c) fp32 unit rows and (N,) whether a region has one."""
        ...


class DecoObjective:
    """Hi-Know DPA and PD-DuGi's semantic flow; the pool follows the crops by its momentum.

    `snapshot`: the pool (M, D_c) as it was made, over which the teacher's mixture is; its rows are
    those of the head. `classes`: names with and without boxes in training, by the pool's CLIP.
    """

    def __init__(
        self,
        head: PrototypeHead,
        snapshot: Tensor,
        crops: CropVectors,
        classes: TextVectors,
        config: DecoConfig,
        *,
        steps: int,
    ) -> None:
        """On the head's device. Raises ValueError, in one line, for vectors of two widths."""
        _require_one_space(head, snapshot, crops, classes)
        device = head.prototypes.device
        self.head = head
        self.config = config
        self.crops = crops
        self.classes = classes.to(device)
        self.steps = steps
        self._snapshot = snapshot.to(device)
        self._absorbed: list[Tensor] = []  # of this step's batches on this rank, (N, D_c) each

    def weights(self, step: int) -> Mapping[str, float]:
        """`deco_kl` and `deco_align` at a step counted from 0."""
        rising = self.config.align_schedule == "cosine"
        share = rising_weight(step, self.steps) if rising else 1.0
        return {"deco_kl": self.config.kl_weight, "deco_align": share * self.config.align_weight}

    def costs(self, seen: Seen) -> Mapping[str, Cost]:
        """Of the last layer's matched queries whose objects have a crop vector."""
        vectors, known = self._crop_vectors(seen.batch, seen.match)
        match = seen.match
        found = Objects(seen.detector, seen.output, match.images[known], match.queries[known])
        semantics = self.head(self.head.read(found))
        logits = self.head.class_logits(semantics, self.classes.matrix)  # (N, C)
        config = self.config
        mixture = teacher_weights(vectors, self._snapshot, temperature=config.teacher_temperature)
        taught = teacher_classes(vectors, self.classes.matrix, factor=config.class_temperature)
        self._absorbed.append(vectors)
        return {
            "deco_kl": Cost(mixture_divergence(semantics.log_weights, mixture), len(vectors)),
            "deco_align": Cost(class_entropy(logits, taught), len(vectors)),
        }

    def before_update(self, step: int, detector: nn.Module) -> None:
        """Nothing is held still."""

    def finish_step(self, step: int, ranks: Ranks) -> None:
        """Move the prototypes by the crops of all ranks, in the ranks' order: alike on each."""
        own, self._absorbed = self._absorbed, []
        if self.config.update == "off" or step >= self.config.update_until * self.steps:
            return
        seen = torch.cat(own) if own else self._snapshot[:0]
        everywhere = torch.cat(ranks.all_of(seen.cpu())).to(self._snapshot.device)
        self.head.prototypes.copy_(moved_prototypes(self.head.prototypes, everywhere, self.config))

    @torch.no_grad()
    def agreement(self, queries: Tensor, names: Sequence[str | None]) -> Tensor:
        """(P,) in [0, 1] the probability t that queries (P, D) show their objects' names, for the
        detection loss; NaN for a name that is none of the classes. Without gradient."""
        told = queries.new_full((len(names),), float("nan"), dtype=torch.float32)
        places = [place for place, name in enumerate(names) if name in self.classes]
        if not places:
            return told
        rows = self.classes.rows([names[place] or "" for place in places]).to(queries.device)
        semantics = self.head(queries[places])
        likely = self.head.class_logits(semantics, self.classes.matrix).softmax(dim=-1)
        told[places] = likely.gather(1, rows[:, None]).squeeze(1)
        return told

    def _crop_vectors(self, batch: Batch, match: Matches) -> tuple[Tensor, Tensor]:
        """(N, D_c) of the objects that have one, and (P,) which of the pairs those are."""
        refs = [
            _ref(batch, image, target)
            for image, target in zip(match.images.tolist(), match.targets.tolist(), strict=True)
        ]
        places = [place for place, ref in enumerate(refs) if ref is not None]
        vectors, there = self.crops.of([ref for ref in refs if ref is not None])
        known = torch.zeros(len(refs), dtype=torch.bool)
        known[places] = there
        device = self._snapshot.device
        return vectors[there].to(device), known.to(device)


def _ref(batch: Batch, image: int, target: int) -> RegionRef | None:
    """None for an object that comes from no record."""
    regions = batch.targets[image].regions
    return regions[target] if regions else None


def _require_one_space(
    head: PrototypeHead, snapshot: Tensor, crops: CropVectors, classes: TextVectors
) -> None:
    assert snapshot.shape == head.prototypes.shape, (snapshot.shape, head.prototypes.shape)
    width = snapshot.shape[1]
    if crops.width != width:
        raise ValueError(
            f"the crops' vectors are {crops.width} wide and the pool's {width}: build the stages "
            "embed and prototypes with one CLIP"
        )
    if classes.matrix.shape[1] != width:
        raise ValueError(
            f"the class names' vectors are {classes.matrix.shape[1]} wide and the pool's {width}: "
            "take those of the pool's CLIP"
        )
