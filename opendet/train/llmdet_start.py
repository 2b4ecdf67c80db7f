"""What LLMDet's objectives begin with: a language model, and what is trained around it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from opendet.annotators.model_folder import checked_path, one_line
from opendet.annotators.weights import folder_digest
from opendet.model.captioner import Captioner
from opendet.model.causal_language import CausalLanguage
from opendet.model.config import DetectorConfig
from opendet.model.detector import OpenDetector
from opendet.model.image_tokens import Grid
from opendet.model.language_model import LanguageModel
from opendet.model.t5_language import T5Language
from opendet.model.t5_namer import T5Namer
from opendet.pretrained import load_whole
from opendet.train.checkpoint import write_tensors_durably
from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.weights import load_tensors, own_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

CAPTIONER = "captioner.safetensors"
"""Beside the model's own weights, where it is kept."""
LANGUAGE_KEY = "objective.llmdet.language"
LANGUAGE_MEND = (
    "give none, t5, or a causal language model's folder or hub name, which needs the network once"
)


def build_captioner(config: LlmdetConfig, detector: OpenDetector, *, seed: int) -> Captioner:
    """What is trained beside the detector, new, with the language model that it holds.

    The caller's random state stays as it was. `captioner.language.to` moves the language model:
    moving the detector does not. Raises ValueError, in one line, for a language model that is not
    there or does not fit.
    """
    language = _language(config, detector, seed=seed)
    with torch.random.fork_rng(devices=[]), _said_of(config):
        torch.manual_seed(seed)
        return Captioner(
            language,
            detector.config,
            grids=_grids(config, detector.config) if config.image_weight else (),
            look_backs=config.look_back_layers if config.region_weight else None,
        )


def language_content(config: LlmdetConfig) -> str:
    """A version of the language model for a run's identity: of a folder what it holds. A name on
    the hub is pinned by the run itself (`opendet.train.pins`)."""
    folder = Path(config.language).expanduser()
    return folder_digest(folder) if folder.is_dir() else config.language


def save_captioner(folder: Path, captioner: Captioner) -> None:
    """Write all that is trained into the folder; nothing of the language model is in it."""
    write_tensors_durably(folder / CAPTIONER, own_tensors(captioner))


def load_captioner(folder: Path, captioner: Captioner) -> bool:
    """Begin with what a model folder has kept, if it has; what it lacks stays new.

    So a first stage's projectors serve a second one that also looks back. Raises ValueError, in one
    line, for one of another shape.
    """
    path = folder / CAPTIONER
    if not path.is_file():
        return False
    with one_line(str(path), "train.start_from", "take the model from its source again"):
        kept = load_file(path)
    new = {name: it for name, it in own_tensors(captioner).items() if name not in kept}
    load_tensors(captioner, {**new, **kept}, what=f"train.start_from: {path}")
    log.info("beginning with %s: %d tensors of it, %d new ones", path, len(kept), len(new))
    return True


def _language(config: LlmdetConfig, detector: OpenDetector, *, seed: int) -> LanguageModel:
    if config.language == "t5":
        if not isinstance(detector.namer, T5Namer):
            raise ValueError(
                f"{LANGUAGE_KEY}: t5 is the namer's own, and namer.t5 is none: take another"
            )
        return T5Language(detector.namer)
    model, tokenizer = _loaded(config)
    with _said_of(config):
        language = CausalLanguage(model, tokenizer)
        if config.tuning == "lora":
            own = config.lora
            language.correct(own.modules, rank=own.rank, alpha=own.alpha, seed=seed)
    return language


def _loaded(config: LlmdetConfig) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """From safetensors alone; no code of the folder runs."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = checked_path(config.language, LANGUAGE_KEY)
    with torch.random.fork_rng(devices=[]), one_line(config.language, LANGUAGE_KEY, LANGUAGE_MEND):
        revision = config.language_revision or "main"
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=False)
        model = load_whole(AutoModelForCausalLM, path, dtype=config.dtype, revision=revision)
    return model, tokenizer


def _grids(config: LlmdetConfig, detector: DetectorConfig) -> list[Grid]:
    """The maps that captions read, coarse before fine."""
    first = detector.backbone.strides[0]
    strides = [first * 2**level for level in range(detector.levels)]
    if lacking := sorted(set(config.grids) - set(strides)):
        raise ValueError(
            f"objective.llmdet.grids: the detector has no map of stride {lacking[0]}; there are "
            f"{', '.join(map(str, strides))}"
        )
    return [
        Grid(strides.index(stride), config.grids[stride])
        for stride in sorted(config.grids, reverse=True)
    ]


@contextmanager
def _said_of(config: LlmdetConfig) -> Iterator[None]:
    """What a language model lacks, in one line that says which."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith("objective."):
            raise
        raise ValueError(f"{LANGUAGE_KEY}: {config.language}: {error}") from error
