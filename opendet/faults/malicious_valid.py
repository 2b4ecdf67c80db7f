"""Models that are valid but for one thing: their weights are a pickle, or their tokenizer is code.

Nothing else of them is refused before: what is unknown, or broken, would hide what is not guarded.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from opendet.faults.malicious_attack import Attack, Fires
from opendet.faults.malicious_models import CODE, LOADERS
from opendet.faults.refusals import refused

_TEXT = "a red star on a blue ground"


def _tokenizer(folder: Path) -> Any:
    from opendet.annotators.tiny_clip import write_tokenizer

    write_tokenizer(folder, [_TEXT], 300)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _configured(name: str, folder: Path) -> None:
    """A configuration of transformers, and a tokenizer; its weights are all that is missing."""
    import transformers

    getattr(transformers, name)().save_pretrained(folder)
    _tokenizer(folder)


def _llava(folder: Path) -> None:
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaProcessor

    LlavaConfig().save_pretrained(folder)
    pictures, told = CLIPImageProcessor(), {"patch_size": 14, "chat_template": "{{ messages }}"}
    processor: Any = LlavaProcessor
    processor(pictures, _tokenizer(folder), **told).save_pretrained(folder)


def _grounding_dino(folder: Path) -> None:
    from transformers import (
        GroundingDinoConfig,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    GroundingDinoConfig().save_pretrained(folder)
    processor: Any = GroundingDinoProcessor
    processor(GroundingDinoImageProcessor(), _tokenizer(folder)).save_pretrained(folder)


def _sam(folder: Path) -> None:
    from transformers import SamConfig, SamImageProcessor, SamProcessor

    SamConfig().save_pretrained(folder)
    processor: Any = SamProcessor
    processor(SamImageProcessor()).save_pretrained(folder)


def _sam3(folder: Path) -> None:
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Processor

    Sam3Config().save_pretrained(folder)
    processor: Any = Sam3Processor
    processor(Sam3ImageProcessor(), _tokenizer(folder)).save_pretrained(folder)


def _clip(folder: Path) -> None:
    from opendet.annotators.tiny_clip import TinyShape, save_weights, start_clip

    shape = TinyShape(image_size=32, tower="test_resnet", width=16, text_layers=1, vocabulary=300)
    save_weights(start_clip(folder, [_TEXT], shape)[0], folder)


def _own(folder: Path) -> None:
    from opendet.faults.toy_training import DETECTOR, NAMER
    from opendet.model.detector import OpenDetector
    from opendet.model.t5_namer import T5Namer
    from opendet.train.export import Resize, export_model

    detector = OpenDetector(DETECTOR, T5Namer.tiny([_TEXT], NAMER))
    resize = Resize(shortest=32, longest=64, multiple=32)
    weights = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    export_model(folder / "model", detector, weights, resize=resize, training={})


_VALID: dict[str, Callable[[Path], None]] = {
    "a captioner": _llava,
    "a zero-shot detector": _grounding_dino,
    "a detector of fixed classes": partial(_configured, "DetrConfig"),
    "a model that writes boxes": _llava,
    "SAM 3": _sam3,
    "SAM": _sam,
    "a CLIP": _clip,
    "a text tower": partial(_configured, "CLIPTextConfig"),
    "T5": partial(_configured, "T5Config"),
    "Grounding DINO's weights": _grounding_dino,
    "VL-SAM's speaker": _llava,
}
"""By the name of the loader; but for our own detector's, which knows no other weights."""


def _weights(name: str, folder: Path, canary: Path) -> str:
    """The safetensors are gone, and a pickle lies where the library would look next."""
    import torch

    _VALID[name](folder)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    for file in ("pytorch_model.bin", "open_clip_pytorch_model.bin"):
        torch.save({"weights": Fires(canary)}, folder / file)
    return refused(partial(LOADERS[name], str(folder)), folder)


def _code(name: str, make: Callable[[Path], None], folder: Path, canary: Path) -> str:
    """Its tokenizer names a class of a file beside it. Who takes the model without is right, too:
    the canary tells."""
    make(folder)
    (told,) = folder.rglob("tokenizer_config.json")
    _bring_code(told, canary)
    model = told.parent.parent if name == "our own detector" else folder
    problem = refused(partial(LOADERS[name], str(model)), model)
    return "" if problem == "it was taken" else problem


def _bring_code(told: Path, canary: Path) -> None:
    """Let a JSON file of a tokenizer or a model name a class of a file beside it."""
    brought = {"auto_map": {"AutoTokenizer": ["evil.Evil", None], "AutoConfig": "evil.Evil"}}
    before = json.loads(told.read_text()) if told.exists() else {}
    told.write_text(json.dumps({**before, **brought, "tokenizer_class": "Evil"}))
    (told.parent / "evil.py").write_text(CODE.replace("CANARY", repr(str(canary))))


def _clip_that_asks_for_it(text: dict[str, Any], folder: Path, canary: Path) -> str:
    """A CLIP's own configuration asks for the code: of its tokenizer, or of its text tower."""
    _clip(folder)
    path = folder / "open_clip_config.json"
    told = json.loads(path.read_text())
    told["model_cfg"]["text_cfg"] |= text
    if "hf_model_name" in text:
        told["model_cfg"]["text_cfg"]["hf_model_name"] = str(folder)
    path.write_text(json.dumps(told))
    for name in ("tokenizer_config.json", "config.json"):
        _bring_code(folder / name, canary)
    return refused(partial(LOADERS["a CLIP"], str(folder)), folder)


VALID = (
    *(Attack(f"a pickle for the weights of {name}", partial(_weights, name)) for name in _VALID),
    Attack("code for the tokenizer of a CLIP", partial(_code, "a CLIP", _clip)),
    Attack("code for the tokenizer of our own", partial(_code, "our own detector", _own)),
    Attack(
        "code that a CLIP's configuration lets through",
        partial(_clip_that_asks_for_it, {"tokenizer_kwargs": {"trust_remote_code": True}}),
    ),
    Attack(
        "code for the text tower of a CLIP",
        partial(_clip_that_asks_for_it, {"hf_model_name": "", "hf_model_pretrained": False}),
    ),
)
