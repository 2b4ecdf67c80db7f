"""Two models of one shape averaged weight by weight (WiSE-FT, Wortsman et al. 2022).

Of a model and one fine-tuned from it the average often keeps most of what either can do: the share
of the fine-tuned one is how much may be forgotten for what was learned.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from opendet.files import require_folder_place
from opendet.model.saved_namer import keeps_t5
from opendet.train.export import (
    NAMER,
    WEIGHTS,
    ModelCard,
    export_model,
    known_prototypes,
    load_detector,
    read_card,
)
from opendet.train.weights import load_tensors, own_tensors

TOKENS = "tokenizer.json"


def blend(first: Path, second: Path, *, share: float, out: Path) -> None:
    """Write the model (1 - share) * first + share * second, for a share in [0, 1].

    The folder `out` appears whole or not at all. Raises ValueError, in one line, where it is there
    already, where a folder holds no whole model, and for two models that do not fit.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share {share} must be between 0 (the first) and 1 (the second)")
    if out.exists():
        raise ValueError(f"{out} is there already: name a folder that is not")
    require_folder_place(out)
    cards = read_card(first), read_card(second)
    _require_fit(first, second, cards)
    detector = load_detector(first)
    what = f"{second} does not fit {first}: it"
    other = load_file(second / WEIGHTS)
    own = {name: tensor.detach().clone() for name, tensor in own_tensors(detector).items()}
    load_tensors(detector, other, what=what)  # says what does not fit
    blended = {name: _between(tensor, other[name], share) for name, tensor in own.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    export_model(
        out,
        detector,
        blended,
        resize=cards[0].resize,
        training={
            "blend.share": share,
            "blend.first": cards[0].weights.sha256,
            "blend.second": cards[1].weights.sha256,
        },
    )


def _between(first: Tensor, second: Tensor, share: float) -> Tensor:
    """At either end the tensor itself, to the bit; counters are the first's."""
    return torch.lerp(first, second, share) if first.is_floating_point() else first


def _require_fit(first: Path, second: Path, cards: tuple[ModelCard, ModelCard]) -> None:
    one, other = (card.detector.model_dump() for card in cards)
    odd = [name for name in one if one[name] != other[name] and name != "backbone"]
    if one["backbone"]["name"] != other["backbone"]["name"]:
        odd.append("backbone.name")
    if odd:
        raise ValueError(
            f"{second} does not fit {first}: their detectors differ in {', '.join(sorted(odd))}"
        )
    if _prototypes(first, cards[0]) != _prototypes(second, cards[1]):
        raise ValueError(
            f"{second} does not fit {first}: their prototypes are of two pools; fine-tune the "
            "second from the first (train.start_from) with the first's pool"
        )
    if _tokens(first) != _tokens(second):
        raise ValueError(
            f"{second} does not fit {first}: their namers know other tokens; fine-tune the second "
            "from the first (train.start_from)"
        )


def _prototypes(model: Path, card: ModelCard) -> tuple[str, ...]:
    """Their names, in their order."""
    known = known_prototypes(model, card.detector)
    return known.names if known else ()


def _tokens(model: Path) -> bytes:
    """Empty where nothing is written."""
    if not keeps_t5(model / NAMER):
        return b""
    path = model / NAMER / TOKENS
    if not path.is_file():
        raise ValueError(f"{path} is missing: take the model from its source again")
    return path.read_bytes()
