"""A device by the name that a configuration gives it."""

import torch


def named_device(name: str) -> torch.device:
    """`auto` takes the first GPU where there is one, else the CPU.

    Raises ValueError for a name that torch does not know, and for a GPU that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name}: no such device; auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {name}: torch sees {torch.cuda.device_count()} GPUs here; take `auto` or `cpu`"
        )
    return device
