"""The small world as DeCo-DETR meets it: a CLIP, crops' vectors, proposals with captions, a pool.

The CLIP is simulated. Its text tower is the world's; an image vector is unit(0.6 T + G + noise) of
the crop's name, T its text vector and G one direction of all images, the modality gap, which is
orthogonal to all texts, as CLIP's nearly is. A crop that shows no object has no T. Nothing here
reads a pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from opendet.annotators.hash_text import HashTextEncoder
from opendet.bench.arms import TEXT_WIDTH
from opendet.bench.imperfect import Errors, annotate
from opendet.bench.synthetic import NAMES, TIERS, SceneSet
from opendet.curate.pool import Member, Pool
from opendet.curate.prototypes import PrototypesConfig
from opendet.data.batch import RegionRef
from opendet.evaluation.ap import Truth
from opendet.evaluation.match import match_boxes
from opendet.model.prototype_set import PrototypeSet
from opendet.train.text_vectors import TextVectors

# N crops, C names, D_c width of the CLIP

TEXTS = HashTextEncoder(TEXT_WIDTH)
"""The frozen text tower."""
TEXT_SHARE = 0.6
NOISE = 0.4
"""Length of a crop's noise; that of the gap is 1."""
LEAST_AGREEMENT = 0.3
"""delta: a proposal's crop and its caption go into the pool from this cosine on."""
SEEN_IOU = 0.5
"""A proposal shows an object that it overlaps so much."""
POOL = PrototypesConfig(coarse=32)
"""Half as many coarse prototypes as the world has names. Two crops of one name have a distance of
0.1, DBSCAN's `eps`; those of two names that share a word of 0.24."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SimulatedClip:
    """The image tower of a seed."""

    seed: int

    def see(self, names: Sequence[str | None], rng: Generator) -> Floats:
        """(N, D_c) unit rows of crops that show these names; None shows no object."""
        rows = np.tile(self._gap(), (len(names), 1))
        known = [place for place, name in enumerate(names) if name]
        rows[known] += TEXT_SHARE * TEXTS.encode_texts([names[place] or "" for place in known])
        rows += NOISE * rng.standard_normal(rows.shape) / TEXT_WIDTH**0.5
        units: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return units

    def _gap(self) -> NDArray[np.float64]:
        """(D_c,) unit; there is room for it, for there are fewer names than dimensions."""
        drawn = np.random.default_rng([self.seed, 7]).standard_normal(TEXT_WIDTH)
        texts, _ = np.linalg.qr(TEXTS.encode_texts(NAMES).T.astype(np.float64))  # (D_c, C)
        gap: NDArray[np.float64] = drawn - texts @ (texts.T @ drawn)
        return gap / np.linalg.norm(gap)


@dataclass(frozen=True)
class SceneCrops:
    """The vectors of labelled objects, by scene and number."""

    rows: dict[RegionRef, int]
    vectors: Tensor
    """(N, D_c) fp32 unit rows."""

    @property
    def width(self) -> int:
        return self.vectors.shape[1]

    def of(self, refs: Sequence[RegionRef]) -> tuple[Tensor, Tensor]:
        """(N, D_c) and (N,): every object of a training scene has one."""
        places = [self.rows[ref] for ref in refs]
        return self.vectors[places], torch.ones(len(refs), dtype=torch.bool)


def crops_of(scenes: SceneSet, *, seed: int) -> SceneCrops:
    """What the CLIP sees in each labelled box."""
    refs = [
        RegionRef(f"{scenes.split}-{row}", number)
        for row, names in enumerate(scenes.names)
        for number in range(len(names))
    ]
    shown = [name for names in scenes.names for name in names]
    vectors = SimulatedClip(seed).see(shown, np.random.default_rng([seed, 8]))
    return SceneCrops({ref: row for row, ref in enumerate(refs)}, torch.from_numpy(vectors))


def pool_crops(
    labelled: SceneSet, crops: SceneCrops, unlabelled: SceneSet, *, seed: int
) -> tuple[Floats, list[Member]]:
    """What a pool is made of: labelled crops by their names, and proposals of other scenes by their
    captions, (N, D_c) and N members.

    Proposals and captions are an imperfect annotator's (`imperfect`), who sees all 64 names; those
    whose crop does not look like its caption are left out.
    """
    members = [
        Member(ref.key, ref.region, labelled.names[int(ref.key.split("-")[1])][ref.region])
        for ref in crops.rows
    ]
    vectors, captioned = _proposals(unlabelled, seed=seed)
    return np.concatenate((crops.vectors.numpy(), vectors)), members + captioned


def flat(config: PrototypesConfig, pool: Pool) -> PrototypesConfig:
    """As many prototypes, all of them coarse: is it their number, or the second level?"""
    return config.model_copy(update={"coarse": len(pool.coarse) + len(pool.fine)})


def prototypes_of(pool: Pool) -> PrototypeSet:
    """Both levels."""
    vectors = np.concatenate((pool.coarse, pool.fine)).astype(np.float32)
    return PrototypeSet(
        tuple(prototype.medoid.name for prototype in pool.prototypes),
        tuple(prototype.level for prototype in pool.prototypes),
        torch.from_numpy(vectors),
    )


def class_vectors() -> TextVectors:
    """Of all 64 names, those without a box in training too."""
    return TextVectors(NAMES, torch.from_numpy(TEXTS.encode_texts(NAMES)))


def base_vectors() -> TextVectors:
    """Of the names that training may show."""
    names = tuple(name for name, tier in TIERS.items() if tier != "unseen")
    return TextVectors(names, torch.from_numpy(TEXTS.encode_texts(names)))


def _proposals(scenes: SceneSet, *, seed: int) -> tuple[Floats, list[Member]]:
    """(N, D_c) and the N captions of those that look like them."""
    shown: list[str | None] = []
    members: list[Member] = []
    for row, said in enumerate(annotate(scenes, Errors(), seed=seed)):
        kinds = np.array([NAMES.index(name) for name in scenes.names[row]], np.int64)
        truth = Truth(str(row), scenes.boxes_xyxy[row].astype(np.float64), kinds,
                      np.zeros(len(kinds), np.bool_))  # fmt: skip
        there = dict(match_boxes(truth, said.boxes_xyxy, SEEN_IOU))
        for number, caption in enumerate(said.classes.tolist()):
            shown.append(scenes.names[row][there[number]] if number in there else None)
            members.append(Member(f"proposals-{row}", number, NAMES[caption]))
    vectors = SimulatedClip(seed).see(shown, np.random.default_rng([seed, 9]))
    agreement = (vectors * TEXTS.encode_texts([one.name for one in members])).sum(1)
    like = np.flatnonzero(agreement >= LEAST_AGREEMENT)
    return vectors[like], [members[place] for place in like.tolist()]
