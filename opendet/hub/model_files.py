"""What belongs to a model's folder: nothing else is fetched, copied or published."""

import shutil
from pathlib import Path

from opendet.model.t5_namer import FILES
from opendet.train.export import CONFIG, NAMER, PROTOTYPES, WEIGHTS, read_card
from opendet.train.llmdet_start import CAPTIONER

MODEL_FILES = (CONFIG, WEIGHTS, PROTOTYPES, CAPTIONER, *(f"{NAMER}/{name}" for name in FILES))
"""Relative to the folder; a model without prototypes, a captioner or a T5 lacks theirs."""
MODEL_CARD = "README.md"


def model_files(folder: Path) -> list[str]:
    """Those of MODEL_FILES that are there. Raises ValueError, in one line, for a folder that is no
    whole model."""
    read_card(folder)
    return [name for name in MODEL_FILES if (folder / name).is_file()]


def copy_model(folder: Path, into: Path) -> None:
    """Copy a whole model byte for byte into a folder that is there, and write its card anew."""
    from opendet.cards.model_card import model_card_text

    for name in model_files(folder):
        place = into / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, place)
    (into / MODEL_CARD).write_text(model_card_text(folder), "utf-8")
