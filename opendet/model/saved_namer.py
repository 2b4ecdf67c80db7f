"""The namer of a saved folder: a T5, or nothing in its place."""

import json
from pathlib import Path
from typing import Any

from opendet.model.config import NamerConfig
from opendet.model.no_namer import CONFIG_FILE, NoNamer
from opendet.model.t5_namer import T5Namer


def begin_namer(folder: Path, *, written_names: bool = True) -> T5Namer | NoNamer:
    """With fresh weights, for a checkpoint to fill; without `written_names` never a T5.

    Raises ValueError, in one line, for a folder that is damaged.
    """
    try:
        told: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
        config = NamerConfig(**{"head": "full", **told})
        if config.t5 == "none":
            return NoNamer(config, config.prompt_width)
        if not written_names:
            own = json.loads((folder / "config.json").read_text())["d_model"]
            return NoNamer(config, config.prompt_width or int(own))
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{folder} is damaged ({reason}): take the model from its source again"
        ) from error
    return T5Namer.empty(folder)
