"""Fine-tuning by corrections of low rank: what was learned stays, and the way back is their share.

Every linear layer of the chosen parts gets one; nothing else of the detector is trained but a
prototype head, which may be new. The export adds the corrections to the weights, so that a
fine-tuned model has the shape of the one it began as.
"""

import zlib
from collections.abc import Iterator

from torch import nn

from opendet.model.detector import OpenDetector
from opendet.model.lora import LoraLinear
from opendet.model.t5_namer import T5Namer
from opendet.train.config import LoraConfig

UNFIT = ("wo",)
"""T5's feed-forward block looks into this layer for its dtype, and needs a plain one there."""


def adapt(detector: OpenDetector, config: LoraConfig, *, seed: int) -> None:
    """Freeze the detector and give the linear layers of `config.modules` a correction of zero.

    Raises ValueError where those have none, such as a ResNet.
    """
    linears = list(_linears(detector, config))
    if not linears:
        raise ValueError(
            f"train.lora.modules: {', '.join(config.modules)} of this detector has no linear layer"
        )
    for parameter in detector.parameters():
        parameter.requires_grad_(False)
    if detector.prototypes is not None:
        detector.prototypes.requires_grad_()
    for name, parent, child in linears:
        own_seed = seed + zlib.crc32(name.encode())
        adapted = LoraLinear.of(child, rank=config.rank, alpha=config.alpha, seed=own_seed)
        setattr(parent, name.rpartition(".")[2], adapted)
    head = detector.namer.head if isinstance(detector.namer, T5Namer) else None
    if head and head.rank and "namer" in config.modules:  # it has had its own from the start
        head.lora_a.requires_grad_()
        head.lora_b.requires_grad_()


def merge_adapters(detector: OpenDetector) -> None:
    """Add every correction to its weights, the head's too: plain layers with the same outputs."""
    detector.namer.merge_head()
    head = detector.namer.head if isinstance(detector.namer, T5Namer) else None
    for parent in list(detector.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLinear) and child is not head:
                setattr(parent, name, child.merged())


def _linears(
    detector: OpenDetector, config: LoraConfig
) -> Iterator[tuple[str, nn.Module, nn.Linear]]:
    """The dotted name, the parent and the layer of what gets a correction."""
    for path, parent in detector.named_modules():
        # torch's own attention reads its layers' weights and never calls them
        if path.split(".")[0] not in config.modules or isinstance(parent, nn.MultiheadAttention):
            continue
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear) and name not in UNFIT:
                yield f"{path}.{name}", parent, child
