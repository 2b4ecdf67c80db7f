"""A saved model that lacks a tensor, which transformers would draw at random."""

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file


def lacking(checkpoint: Path, folder: Path, name: str) -> Path:
    """`folder`, a copy of the checkpoint without the tensor of that name."""
    shutil.copytree(checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
