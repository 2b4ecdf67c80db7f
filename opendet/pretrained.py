"""Loading what transformers saved: from safetensors alone, whole, and without running its code."""

from typing import Any


def load_whole(
    model_class: Any, path: str, *, dtype: str = "float32", revision: str | None = None, **how: Any
) -> Any:
    """What `model_class.from_pretrained` makes of a folder or a hub name, computing in `dtype`.

    Raises ValueError where the checkpoint lacks a tensor of the model: transformers would draw it
    at random and say so in its log alone. Whatever else goes wrong is raised as transformers does.
    """
    import torch

    model, report = model_class.from_pretrained(
        path,
        dtype=getattr(torch, dtype),
        revision=revision,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        **how,
    )
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"its weights lack {len(missing)} tensors, as {missing[0]}")
    return model
