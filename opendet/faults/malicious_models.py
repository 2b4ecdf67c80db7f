"""Models that bring code along, or a pickle for weights, through everything that loads one."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from opendet.faults.malicious_attack import Attack, Fires, pickled
from opendet.faults.refusals import refused

KINDS = (
    "evil",
    "t5",
    "llava",
    "owlv2",
    "grounding-dino",
    "clip",
    "detr",
    "sam",
    "florence2",
    "qwen2",
)
"""What a config.json calls the model: one that needs its own code, and those that are known."""
_CLASSES = (
    *("AutoConfig", "AutoModel", "AutoModelForSeq2SeqLM", "AutoModelForImageTextToText"),
    *("AutoModelForZeroShotObjectDetection", "AutoModelForObjectDetection", "AutoModelForCausalLM"),
    *("AutoTokenizer", "AutoProcessor", "AutoImageProcessor", "AutoModelForMaskGeneration"),
)
CODE = """
open(CANARY, "w")
from transformers import PretrainedConfig, PreTrainedModel
class Evil(PretrainedConfig):
    model_type = "evil"
class EvilModel(PreTrainedModel):
    config_class = Evil
"""


def _folder(kind: str, folder: Path, canary: Path) -> Path:
    """A model's folder as the hub gives it, with code beside it and a pickle for weights."""
    import torch

    brought = {name: "evil.Evil" if name == "AutoConfig" else "evil.EvilModel" for name in _CLASSES}
    told = {"auto_map": brought, "model_type": kind, "architectures": ["EvilModel"]}
    tokens = {**told, "auto_map": {"AutoTokenizer": ["evil.EvilModel", None], **brought}}
    for name, content in (
        ("config.json", told),
        ("tokenizer_config.json", tokens),
        ("preprocessor_config.json", told),
        ("processor_config.json", told),
    ):
        (folder / name).write_text(json.dumps(content))
    (folder / "evil.py").write_text(CODE.replace("CANARY", repr(str(canary))))
    for name in ("pytorch_model.bin", "model.bin", "open_clip_pytorch_model.bin"):
        torch.save({"weights": Fires(canary)}, folder / name)
    (folder / "model.safetensors").write_bytes(pickled(canary))
    return folder


def _vision_language(model: str) -> object:
    from opendet.annotators.vision_language import VisionLanguage, VisionLanguageConfig

    return VisionLanguage(VisionLanguageConfig(model=model))


def _zero_shot(model: str) -> object:
    from opendet.annotators.zero_shot import ZeroShot, ZeroShotConfig

    return ZeroShot(ZeroShotConfig(model=model))


def _closed_set(model: str) -> object:
    from opendet.annotators.closed_set import ClosedSet, ClosedSetConfig

    return ClosedSet(ClosedSetConfig(model=model))


def _boxes_in_text(model: str) -> object:
    from opendet.annotators.box_speaker import BoxSpeaker, BoxSpeakerConfig

    # a dialect that any family may speak
    return BoxSpeaker(BoxSpeakerConfig(model=model, dialect="qwen2"))


def _concepts(model: str) -> object:
    from opendet.annotators.concepts import Concepts, ConceptsConfig

    return Concepts(ConceptsConfig(model=model))


def _segment(model: str) -> object:
    from opendet.annotators.segment import SegmentConfig, Segmenter

    return Segmenter(SegmentConfig(model=model), "masks")


def _clip(model: str) -> object:
    from opendet.annotators.clip import Clip

    return Clip.load(model)


def _clip_text(model: str) -> object:
    from opendet.annotators.clip_text import ClipText

    return ClipText.load(model)


def _t5(model: str) -> object:
    from opendet.model.config import NamerConfig
    from opendet.model.t5_namer import T5Namer

    return T5Namer.from_pretrained(model, NamerConfig(t5=model))


def _grounding_dino(model: str) -> object:
    from torch.nn import Linear

    from opendet.model.grounding_import import import_grounding_dino

    # the file is read before anything of it is given to a detector
    return import_grounding_dino(cast(Any, Linear(1, 1)), model)


def _vl_sam(model: str) -> object:
    from opendet.vl_sam.config import VlSamConfig
    from opendet.vl_sam.speaker import Speaker

    return Speaker(VlSamConfig(model=model))


def _own(model: str) -> object:
    from opendet.open_det import OpenDet

    return OpenDet.from_pretrained(model)


LOADERS: dict[str, Callable[[str], object]] = {
    "a captioner": _vision_language,
    "a zero-shot detector": _zero_shot,
    "a detector of fixed classes": _closed_set,
    "a model that writes boxes": _boxes_in_text,
    "SAM 3": _concepts,
    "SAM": _segment,
    "a CLIP": _clip,
    "a text tower": _clip_text,
    "T5": _t5,
    "Grounding DINO's weights": _grounding_dino,
    "VL-SAM's speaker": _vl_sam,
    "our own detector": _own,
}


def _every_kind(load: Callable[[str], object], folder: Path, canary: Path) -> str:
    for kind in KINDS:
        place = folder / kind
        place.mkdir()
        problem = refused(partial(load, str(_folder(kind, place, canary))), place)
        if problem or canary.exists():
            return f"a {kind}: {problem}"
    return ""


def _checkpoint(folder: Path, canary: Path) -> str:
    """The tensors of a checkpoint are exchanged for a pickle, and its record vouches for them."""
    import torch

    from opendet.manifest import FileStamp
    from opendet.train import checkpoint

    checkpoint.save(folder, checkpoint.Checkpoint(1, {"model.a": torch.zeros(2)}, {}), keep=1)
    (tensors,) = folder.rglob("*.safetensors")
    before = FileStamp.of(tensors)
    tensors.write_bytes(pickled(canary))
    after = FileStamp.of(tensors)
    for record in folder.rglob("*.json"):
        text = record.read_text().replace(before.sha256, after.sha256)
        record.write_text(text.replace(f'"bytes": {before.bytes}', f'"bytes": {after.bytes}'))
    return refused(partial(checkpoint.load_latest, folder), folder)


def _file(load: Callable[[Path], object], name: str, folder: Path, canary: Path) -> str:
    path = folder / name
    path.write_bytes(pickled(canary))
    return refused(partial(load, path), path.name, folder)


def _onnx(path: Path) -> object:
    from opendet.annotators.onnx_session import open_network

    return open_network(str(path), "cpu")


def _torchvision(path: Path) -> object:
    from opendet.annotators.closed_set import ClosedSet, ClosedSetConfig

    asked: Any = {"architecture": "fcos_resnet50_fpn", "class_names": ("", "cat")}
    return ClosedSet(ClosedSetConfig(model=str(path), **asked))


def _pool(path: Path) -> object:
    from opendet.curate.pool import read_pool

    return read_pool(path.parent)


MODELS = (
    *(Attack(f"code for {name}", partial(_every_kind, load)) for name, load in LOADERS.items()),
    Attack("a pickle for a checkpoint", _checkpoint),
    Attack("a pickle for ONNX", partial(_file, _onnx, "model.onnx")),
    Attack("a pickle for torchvision's weights", partial(_file, _torchvision, "model.safetensors")),
    Attack("a pickle by torchvision's own suffix", partial(_file, _torchvision, "model.pth")),
    Attack("a pickle for a pool", partial(_file, _pool, "pool.safetensors")),
)
