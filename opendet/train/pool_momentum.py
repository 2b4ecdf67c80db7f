"""How the prototypes follow the crops that training sees (spec/deco_detr.md B.2).

N crops of a step, M prototypes, D_c the width of the pool's CLIP, k nearest prototypes of a crop.
"""

import torch
from torch import Tensor
from torch.nn import functional

from opendet.train.deco_config import DecoConfig


@torch.no_grad()
def moved_prototypes(prototypes: Tensor, crops: Tensor, config: DecoConfig) -> Tensor:
    """The prototypes (M, D_c) after a step that saw crops (N, D_c), unit rows, in any order.

    As they were where none was seen or `update` is off. The same arguments give the same bits on
    one kind of device, for nothing is added up by chance.
    """
    if config.update == "off" or not len(crops):
        return prototypes
    if config.update == "paper":
        return _as_printed(prototypes, crops, config)
    return _sparse(prototypes, crops, config)


def _as_printed(prototypes: Tensor, crops: Tensor, config: DecoConfig) -> Tensor:
    """A_j <- gamma A_j + (1 - gamma) LayerNorm(sum_i D_ij e_i), D = softmax_j(cos(e_i, A_j) / tau).

    All prototypes absorb nearly the same mean, whatever is near them: in time they are one.
    """
    shares = (_cosines(crops, prototypes) / config.update_temperature).softmax(dim=1)  # (N, M)
    absorbed = functional.layer_norm(shares.T @ crops, crops.shape[1:])
    return config.momentum * prototypes + (1 - config.momentum) * absorbed


def _sparse(prototypes: Tensor, crops: Tensor, config: DecoConfig) -> Tensor:
    """Each crop moves its k nearest prototypes alone, each by as much as it is asked to.

    D is the softmax over those k, m_j = sum_i D_ij, gamma_j = 1 - (1 - gamma) min(1, m_j), and
    A_j <- unit(gamma_j A_j + (1 - gamma_j) unit(sum_i D_ij e_i)).
    """
    nearest = min(config.update_nearest, len(prototypes))
    best = _cosines(crops, prototypes).topk(nearest, dim=1)
    own = (best.values / config.update_temperature).softmax(dim=1)  # (N, k)
    # a full matrix, and its product: adding by index is not deterministic on a GPU
    shares = crops.new_zeros(len(crops), len(prototypes)).scatter(1, best.indices, own)
    mass = shares.sum(0)[:, None]  # (M, 1)
    target = functional.normalize(shares.T @ crops, dim=1)
    rate = (1 - config.momentum) * mass.clamp(max=1.0)
    moved = functional.normalize((1 - rate) * prototypes + rate * target, dim=1)
    return torch.where(mass > 0, moved, prototypes)


def _cosines(crops: Tensor, prototypes: Tensor) -> Tensor:
    return crops @ functional.normalize(prototypes, dim=1).T
