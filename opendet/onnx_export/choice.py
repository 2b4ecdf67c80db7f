"""Which namer names, as far as the graphs have the parts for it: `opendet.namer_choice` without
torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from opendet.onnx_export.card import PREDICTOR, START, STEP, TOKENIZER, VECTORS, OnnxCard
from opendet.onnx_export.namers import (
    Aligner,
    Cascade,
    Cosines,
    ListNames,
    Namer,
    Predictor,
    PrototypeNames,
    WrittenNames,
)
from opendet.onnx_export.session import open_graph
from opendet.onnx_export.word_list import WordList, read_word_list
from opendet.predict_config import CERTAINTY_TEMPERATURE, PredictConfig

Kind = Literal["t5", "prototypes", "vocabulary", "cascade"]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ChosenNamer:
    """A namer, and what it makes of scores and prompts."""

    namer: Namer
    shows_prompts: bool
    """Whether names are read from prompts, so that they are given along."""
    joins_score: bool
    """Whether the first name's probability is part of the object's score."""


def choose_namer(folder: Path, card: OnnxCard, config: PredictConfig) -> ChosenNamer:
    """Raises ValueError, in one line, where the model lacks a part."""
    kind = _kind(card, config)
    parts = _Parts(folder, card, config)
    namer: Namer
    match kind:
        case "t5":
            namer = parts.writer()
        case "prototypes":
            namer = parts.prototypes(only=config.names)
        case "cascade":
            first, then = parts.prototypes(temperature=CERTAINTY_TEMPERATURE), parts.writer()
            namer = Cascade(first, then, unsure_below=config.unsure_below)
        case "vocabulary":
            namer = parts.listed()
    by_prompts = kind == "vocabulary" and parts.comparison() == "prompts"
    joins = config.score == "named"
    if config.score == "auto":
        joins = kind in ("prototypes", "vocabulary")
    return ChosenNamer(namer, kind == "t5" or by_prompts, joins)


def _kind(card: OnnxCard, config: PredictConfig) -> Kind:
    if config.namer != "auto":
        return config.namer
    if config.vocabulary is not None:
        return "vocabulary"
    if config.names and card.prototypes is None:
        raise ValueError(_NO_VECTORS)
    return "prototypes" if config.names or card.writer is None else "t5"


_NO_VECTORS = (
    "names: their text vectors are missing, and an ONNX model has no text encoder: write them once "
    "with `opendet vocabulary NAMES --build BUILD --out FILE`, and give FILE as vocabulary"
)


class _Parts:
    """What the folder can name by."""

    def __init__(self, folder: Path, card: OnnxCard, config: PredictConfig) -> None:
        self._folder, self._card, self._config = folder, card, config
        self._vectors: dict[str, Floats] = load_file(folder / VECTORS)

    def prototypes(
        self, only: tuple[str, ...] = (), temperature: float | None = None
    ) -> PrototypeNames:
        if self._card.prototypes is None:
            raise ValueError(
                "the model has no prototypes to name by: take namer vocabulary, or t5 where it has "
                "one"
            )
        return PrototypeNames(self._vectors["prototypes"], self._card.prototypes, only, temperature)

    def writer(self) -> WrittenNames:
        card = self._card.writer
        if card is None:
            raise ValueError(
                "the model has no T5 that could write names: take namer prototypes or vocabulary"
            )
        from tokenizers import Tokenizer

        start, step = (self._open(name) for name in (START, STEP))
        tokenizer = Tokenizer.from_file(str(self._folder / TOKENIZER))
        bias = self._vectors["bias"]
        return WrittenNames(start, step, bias, tokenizer, card, beams=self._card.beams)

    def comparison(self) -> Literal["prototypes", "alignment", "prompts"]:
        """How a list is compared: the first that the model has, where none is asked for."""
        asked = self._config.vocabulary_by
        if asked == "auto":
            if self._card.prototypes is not None:
                return "prototypes"
            return "alignment" if self._card.aligner else "prompts"
        there = {"prototypes": self._card.prototypes, "alignment": self._card.aligner}
        if not there.get(asked, True):
            raise ValueError(f"the model has no {asked} to compare a vocabulary by: take prompts")
        return asked

    def listed(self) -> ListNames:
        if self._config.vocabulary is None:
            raise ValueError(_NO_VECTORS)
        words = read_word_list(self._config.vocabulary).only(self._config.names)
        self._require_fit(words)
        by = self.comparison()
        compare: Predictor | Aligner | Cosines
        match by:
            case "prototypes":
                compare = Predictor(self._open(PREDICTOR), words.vectors)
            case "alignment":
                compare = Aligner(self._vectors, words.vectors)
            case "prompts":
                compare = Cosines(words.vectors)

        return ListNames(words.names, compare, alone=by == "alignment")

    def _require_fit(self, words: WordList) -> None:
        trained = self._card.clip.partition(" ")[0]
        if trained not in ("none", words.tower):
            raise ValueError(
                f"the vocabulary was written with the text tower {words.tower}, the model was "
                f"trained with {trained}: write it with the tower of the model's build"
            )
        by, width = self.comparison(), self._card.prompt_width
        if by == "prototypes":
            width = self._vectors["prototypes"].shape[1]
        if words.vectors.shape[1] != width:
            raise ValueError(
                f"the vocabulary's vectors are {words.vectors.shape[1]} wide, the model compares "
                f"{width} by its {by}: write it with the text tower of the model's training"
            )

    def _open(self, name: str) -> Any:
        return open_graph(self._folder / name, self._config.device)
