"""What a run begins with: new weights, those of a model folder, or another project's."""

import hashlib
import logging
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from opendet.annotators.weights import folder_digest
from opendet.files import sha256_of, write_json_durably
from opendet.model.captioner import Captioner
from opendet.model.detector import OpenDetector
from opendet.model.grounding_import import import_grounding_dino
from opendet.model.lora import LoraLinear
from opendet.model.no_namer import NoNamer
from opendet.model.prototype_set import PrototypeSet, empty_prototypes
from opendet.model.saved_namer import keeps_t5
from opendet.model.t5_namer import T5Namer
from opendet.train.export import NAMER, PROTOTYPES, WEIGHTS, read_card
from opendet.train.llmdet_start import build_captioner, load_captioner
from opendet.train.recipe import Recipe
from opendet.train.text_vectors import TextVectors
from opendet.train.weights import load_tensors, own_tensors

HEAD = "prototypes"
"""What the detector calls its prototype head."""

log = logging.getLogger(__name__)


def content_of(start_from: str) -> str:
    """The hash of all files of the folder to begin with; `nothing` where none is named."""
    if not start_from:
        return "nothing"
    folder = Path(start_from)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise ValueError(f"train.start_from: {folder} is no folder with a model")
    lines = [f"{path.relative_to(folder).as_posix()} {sha256_of(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_own(start_from: str) -> bool:
    """Whether the folder holds a model that this project exported."""
    return bool(start_from) and (Path(start_from) / NAMER).is_dir()


def writes_names(start_from: str) -> bool:
    """Whether such a model has a T5. Raises ValueError, in one line, for a damaged one."""
    return is_own(start_from) and keeps_t5(Path(start_from) / NAMER)


def namer_content(recipe: Recipe) -> str:
    """A version of the T5 that new namers begin with, where that is a folder: what it holds."""
    folder = Path(recipe.namer.t5).expanduser()
    begins = folder.is_dir() and not writes_names(recipe.train.start_from)
    return folder_digest(folder) if begins else ""


def begin_namer(recipe: Recipe, names: list[str], text: TextVectors | None) -> T5Namer | NoNamer:
    """The namer of the folder to begin with, else the one that the section `namer` says.

    Raises ValueError where prompts would be as wide as nothing that is known.
    """
    config = recipe.namer
    torch.manual_seed(recipe.train.seed)  # of the projection, where there is one
    namer: T5Namer | NoNamer
    if config.t5 == "none":
        width = config.prompt_width or (text.matrix.shape[1] if text is not None else 0)
        if not width:
            raise ValueError(
                "namer.t5: none leaves prompts without a width: set namer.prompt_width"
            )
        namer = NoNamer(config, width)
    elif writes_names(recipe.train.start_from):
        namer = _kept_namer(recipe)
    elif config.t5 == "tiny":
        namer = T5Namer.tiny(names, config, seed=recipe.train.seed)
    else:
        namer = T5Namer.from_pretrained(config.t5, config)
    if text is not None and text.matrix.shape[1] != namer.prompt_width:
        raise ValueError(
            f"namer.prompt_width is {namer.prompt_width}, but the CLIP's text vectors have "
            f"{text.matrix.shape[1]}: set it to that"
        )
    return namer


def warn_of_cut_names(namer: T5Namer, names: list[str]) -> None:
    """Say in one line which names the namer cannot learn whole."""
    most = namer.config.max_new_tokens
    told = zip(names, namer.tokenizer(names)["input_ids"], strict=True) if names else ()
    cut = [name for name, tokens in told if len(tokens) > most]
    if cut:
        log.warning(
            "%d of %d names are longer than namer.max_new_tokens, %d, and are cut, such as `%s`",
            *(len(cut), len(names), most, cut[0]),
        )


def begin_detector(
    recipe: Recipe, namer: T5Namer | NoNamer, known: PrototypeSet | None = None
) -> OpenDetector:
    """A detector around the namer, with the weights of the folder to begin with.

    `known`: the pool, for a detector with a prototype head. A head or a T5 that the folder's model
    lacks begins anew, and so does a head of another pool. Raises ValueError, in one line, for a
    model of another shape.
    """
    torch.manual_seed(recipe.train.seed)
    detector = OpenDetector(recipe.detector, namer, known)
    if is_own(recipe.train.start_from):
        folder = Path(recipe.train.start_from)
        read_card(folder)  # says what is wrong with a damaged one
        kept = load_file(folder / WEIGHTS)
        new = {**_new_adapters(detector), **_new_head(detector, folder)}
        if not writes_names(recipe.train.start_from):
            new |= _tensors_of(detector.namer, NAMER)
        wanted = {name: tensor for name, tensor in kept.items() if _is_wanted(name, detector)}
        load_tensors(detector, {**wanted, **new}, what=f"train.start_from: {folder}")
        log.info("beginning with the weights of %s", folder)
    return detector


def begin_captioner(recipe: Recipe, detector: OpenDetector, device: torch.device) -> Captioner:
    """What LLMDet's objectives train, with what the folder to begin with has kept of it.

    Raises ValueError, in one line, for a language model that is not there.
    """
    captioner = build_captioner(recipe.objective.llmdet, detector, seed=recipe.train.seed)
    if is_own(recipe.train.start_from):
        load_captioner(Path(recipe.train.start_from), captioner)
    captioner.language.to(device)
    return captioner.to(device)


def import_weights(detector: OpenDetector, start_from: str, report_file: Path) -> None:
    """Take over what fits of another project's detector; which that was is kept in a file.

    Raises ValueError, in one line, where there is nothing that fits.
    """
    report = import_grounding_dino(detector, start_from)
    write_json_durably(report_file, asdict(report))
    log.info(
        "of %s %d tensors were taken and %d left, %d of the detector's are new: %s says which",
        start_from,
        len(report.loaded),
        len(report.left),
        len(report.kept),
        report_file,
    )


def _kept_namer(recipe: Recipe) -> T5Namer:
    """The T5 and the tokens of the folder, with the head that this run asks for."""
    kept = T5Namer.empty(Path(recipe.train.start_from) / NAMER)
    kept.t5.lm_head = kept.head.merged()
    return T5Namer(kept.t5, kept.tokenizer, recipe.namer, seed=recipe.train.seed)


def _new_head(detector: OpenDetector, folder: Path) -> "dict[str, torch.Tensor]":
    """The prototype head's own tensors, where the folder's model has none, or one of another pool:
    its prototypes are called otherwise."""
    if detector.prototypes is None:
        return {}
    path = folder / PROTOTYPES
    if path.is_file() and empty_prototypes(path).names == detector.prototypes.names:
        return {}
    return _tensors_of(detector.prototypes, HEAD)


def _tensors_of(part: nn.Module, called: str) -> "dict[str, torch.Tensor]":
    """A copy of a part's own tensors, by their names in the detector."""
    own = own_tensors(part)
    return {f"{called}.{name}": tensor.detach().clone() for name, tensor in own.items()}


def _is_wanted(name: str, detector: OpenDetector) -> bool:
    """Whether a tensor of the folder's model has a part here: a model that shall write no names
    leaves the T5, one without a prototype head leaves that."""
    if isinstance(detector.namer, NoNamer) and name.startswith(f"{NAMER}."):
        return False
    return detector.prototypes is not None or not name.startswith(f"{HEAD}.")


def _new_adapters(detector: OpenDetector) -> "dict[str, torch.Tensor]":
    """Corrections that begin at zero: no model folder holds any, they are merged at the export."""
    adapted = [name for name, part in detector.named_modules() if isinstance(part, LoraLinear)]
    own = own_tensors(detector)
    return {
        name: tensor.detach().clone()
        for name, tensor in own.items()
        if name.rpartition(".")[0] in adapted and name.rpartition(".")[2] in ("lora_a", "lora_b")
    }
