"""Where a model comes from: a folder, or the hub. What goes wrong there is told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opendet.annotators.weights import folder_digest


def checked_path(model: str, key: str) -> str:
    """What `from_pretrained` takes: the folder, or the name on the hub.

    A name that looks like a path must be a folder, so that no hub is asked for a mistyped one.
    `key` is the config key that names the model; every ValueError begins with it.
    """
    if not model:
        raise ValueError(f"{key} is empty: name a folder or a model on the hub")
    path = Path(model).expanduser()
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    if looks_local and not path.is_dir():
        raise ValueError(f"{key}: there is no folder {model}")
    return str(path) if path.is_dir() else model


@contextmanager
def one_line(model: str, key: str, mend: str) -> Iterator[None]:
    """Around the loading of a model: what goes wrong becomes one ValueError of one line.

    `mend` says what to do about it. A GPU's errors, out of memory among them, are the machine's
    and pass through.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    kinds = (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, AttributeError)
    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except (*kinds, SafetensorError, StrictDataclassError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{key}: cannot load {model!r}: {why} ({mend})") from error


def called(model: str) -> str:
    """What provenance calls the model: its name on the hub, or its folder's name."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model


def weights_of(model: str, revision: str | None, loaded: Any) -> str:
    """The version of the weights: of a folder what it holds, else the hub's commit.

    `loaded` is a model of transformers, which knows the commit that it was loaded from.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder_digest(folder)
    return str(getattr(loaded.config, "_commit_hash", None) or revision or "")


def hub_commit(model: str, revision: str | None, *, key: str, mend: str) -> str:
    """The commit of a name on the hub that loading would take now: of its cache where there is no
    network. Raises ValueError, in one line, where there is neither."""
    import huggingface_hub

    with one_line(model, key, mend):
        config = Path(huggingface_hub.hf_hub_download(model, "config.json", revision=revision))
        return config.parent.name  # snapshots/<commit>/config.json


def chosen_device(wanted: str) -> str:
    """`cpu` or `cuda`; on a CPU, one thread, so that any number of actors answers alike."""
    import torch

    device = wanted
    if wanted == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    return device
