"""The namer of a saved folder: a T5, or nothing in its place."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opendet.model.config import NamerConfig
from opendet.model.no_namer import CONFIG_FILE, NoNamer
from opendet.model.t5_namer import T5Namer


def begin_namer(folder: Path, *, written_names: bool = True) -> T5Namer | NoNamer:
    """With fresh weights, for a checkpoint to fill; without `written_names` never a T5.

    Raises ValueError, in one line, for a folder that is damaged.
    """
    with _damage_named(folder):
        config = _config_of(folder)
        if config.t5 == "none":
            return NoNamer(config, config.prompt_width)
        if not written_names:
            own = json.loads((folder / "config.json").read_text("utf-8"))["d_model"]
            return NoNamer(config, config.prompt_width or int(own))
    return T5Namer.empty(folder)


def keeps_t5(folder: Path) -> bool:
    """Whether it is a T5's. Raises ValueError, in one line, for a folder that is damaged."""
    with _damage_named(folder):
        return _config_of(folder).t5 != "none"


def _config_of(folder: Path) -> NamerConfig:
    told: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    return NamerConfig(**{"head": "full", **told})


@contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{folder} is damaged ({reason}): take the model from its source again"
        ) from error
