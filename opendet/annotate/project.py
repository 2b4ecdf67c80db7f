"""A data set as a small project of its own, so that all other commands work in its folder."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opendet.annotate.detectors import detector_section
from opendet.annotate.texts import config_text, project_texts
from opendet.annotate.wish import KEPT, Wish, require_same
from opendet.config import load_config
from opendet.files import require_folder_place
from opendet.imports.writing import write_together

SMALL = 200
"""Photographs up to which one process is done before Ray has started."""


def begin(wish: Wish, dataset: Path) -> str:
    """Write the project, or find it as it was begun; gives the build's name.

    What is there is never written anew: people change configurations. Raises ValueError, in one
    line, for a folder that holds something else, and for what another call has begun.
    """
    require_folder_place(dataset)
    _require_apart(Path(wish.photographs), dataset)
    build = build_name(dataset)
    kept = dataset / KEPT
    if kept.is_file():
        require_same(wish, kept, dataset)
    elif dataset.is_dir() and any(dataset.iterdir()):
        raise ValueError(
            f"{dataset} is there and was not made by `opendet annotate`: name another --out"
        )
    config = dataset / "configs" / f"{build}.yaml"
    if not config.is_file():
        section = detector_section(wish.detector, wish.names)
        text = config_text(wish, build, section, _run_section(Path(wish.photographs)))
        wish.keep(kept)
        texts = project_texts(wish, dataset, build, text)
        write_together({path: text for path, text in texts.items() if not path.exists()})
    load_config(config)  # says at once what somebody has mistyped in it
    return build


def build_name(dataset: Path) -> str:
    """The folder's own name, as far as a build can be called so."""
    return re.sub(r"[^0-9A-Za-z_-]+", "-", dataset.absolute().name).strip("-") or "photographs"


def _require_apart(photographs: Path, dataset: Path) -> None:
    """What is made there would be listed as photographs by the next call."""
    if dataset.resolve().is_relative_to(photographs.resolve()):
        raise ValueError(f"--out {dataset} lies among the photographs: name a place beside them")


def _run_section(photographs: Path) -> Mapping[str, Any]:
    import torch

    from opendet.media.inputs import expand

    if torch.cuda.is_available():
        return {"actors": 1, "gpus": 1}
    few = len(expand([str(photographs)]).shown) <= SMALL
    return {"actors": 0 if few else 2}
