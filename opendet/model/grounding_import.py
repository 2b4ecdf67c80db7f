"""Start from a Grounding DINO: the weights of MM-Grounding-DINO and LLMDet.

Both are deformable DETRs over a Swin, as the detector is, with a text side that it does not have.
Backbone, neck, encoder, proposals and decoder are taken over where shapes agree; what hears of
text is left, and so are the scores, which are likenesses to a text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from opendet.model.detector import OpenDetector
from opendet.model.encoder import Encoder
from opendet.model.grounding_names import our_name, why_nameless
from opendet.pretrained import load_whole

CORNERS = 0.5
"""Their positions are of cells' far corners, ours of centres: half a cell less."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a checkpoint."""

    loaded: tuple[str, ...]
    """Names of the detector's tensors that hold the checkpoint's values now."""
    left: dict[str, str]
    """The checkpoint's other names, and why each was left."""
    kept: tuple[str, ...]
    """Names of the detector's tensors that are as they were, the namer's not among them."""

    def summary(self) -> str:
        """One line: how many of each, and the reasons."""
        counts = {reason: list(self.left.values()).count(reason) for reason in self.left.values()}
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
        return (
            f"{len(self.loaded)} tensors loaded, {len(self.left)} left ({reasons}), "
            f"{len(self.kept)} of the detector's as they were"
        )


def import_grounding_dino(detector: OpenDetector, path: str) -> ImportReport:
    """Copy into `detector`, in place, what a checkpoint's folder (or hub name) has of its shapes.

    ValueError where there is no checkpoint of a Grounding DINO, or nothing in it fits.
    """
    ours = {k: v for k, v in detector.state_dict().items() if not k.startswith("namer.")}
    fitting: dict[str, Tensor] = {}
    left: dict[str, str] = {}
    for names, target, tensor in _renamed(_read(path), detector):
        reason = _misfit(detector, ours, target, tensor) if target else why_nameless(names[0])
        if reason:
            left.update(dict.fromkeys(names, reason))
        else:
            fitting[target] = tensor
    if not fitting:
        raise ValueError(f"{path}: nothing in it fits the detector; give both the same sizes")
    if "encoder.level_embedding" in fitting:
        fitting["encoder.position_shift"] = torch.tensor(CORNERS)
    with torch.no_grad():
        for target, tensor in fitting.items():
            ours[target].copy_(tensor)
    return ImportReport(tuple(fitting), left, tuple(k for k in ours if k not in fitting))


def _read(path: str) -> dict[str, Tensor]:
    from transformers import AutoConfig, AutoModelForZeroShotObjectDetection

    try:
        kind = AutoConfig.from_pretrained(path, trust_remote_code=False).model_type
        if kind in ("mm-grounding-dino", "grounding-dino"):
            return dict(load_whole(AutoModelForZeroShotObjectDetection, path).state_dict())
    except Exception as error:  # whatever a damaged file or a hub out of reach raises
        reason = str(error).split("\n")[0][:160]
        where = "cannot be read" if Path(path).exists() else "is no folder, and no hub has it"
        raise ValueError(f"{path}: {where} as a Grounding DINO ({reason})") from error
    raise ValueError(f"{path}: holds a {kind}, not an MM-Grounding-DINO or LLMDet checkpoint")


def _renamed(
    theirs: dict[str, Tensor], detector: OpenDetector
) -> Iterator[tuple[list[str], str, Tensor]]:
    """Their names, ours ("" where there is none) and the tensor, parts joined."""
    parts: dict[str, dict[str, str]] = {}
    for name in theirs:
        target, _, part = _place(our_name(name), detector).partition("@")
        parts.setdefault(target or f" {name}", {})[part] = name  # a nameless one stays alone
    for target, names in parts.items():
        ordered = sorted(names.items(), key=lambda item: "qkv".find(item[0][:1]))
        tensors = [theirs[name] for _, name in ordered]
        joined = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        yield list(names.values()), target.partition(" ")[0], joined


def _place(name: str, detector: OpenDetector) -> str:
    """The norms and the neck's levels are numbered by what this detector has of them."""
    strides = detector.config.backbone.strides
    if norm := re.match(r"backbone\.norms\.stride(\d+)\.", name):
        stride = int(norm[1])
        index = strides.index(stride) if stride in strides else -1
        return f"backbone.norms.{index}.{name[norm.end() :]}"
    if level := re.match(r"neck\.level(\d+)\.", name):
        index = int(level[1])
        block = f"laterals.{index}" if index < len(strides) else "extra"
        return f"neck.{block}.{name[level.end() :]}" if index < detector.config.levels else ""
    return name


def _misfit(detector: OpenDetector, ours: dict[str, Tensor], target: str, tensor: Tensor) -> str:
    """Why a tensor is not taken; empty where it is."""
    if target.startswith("encoder.") and not isinstance(detector.encoder, Encoder):
        return "the encoder is hybrid"
    if target not in ours:
        return f"no {target} here"
    shape, other = tuple(tensor.shape), tuple(ours[target].shape)
    return "" if shape == other else f"shape {shape}, here {other}"
