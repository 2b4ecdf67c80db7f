"""A folder of weights may hold pickles and code: neither is ever run, whoever loads it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_closed_set import save_tiny_detr
from tiny_llava import save_tiny_llava

from opendet.annotators.clip import Clip
from opendet.annotators.closed_set import ClosedSet, ClosedSetConfig
from opendet.annotators.tiny_clip import TinyShape, save_weights, start_clip
from opendet.annotators.vision_language import VisionLanguage, VisionLanguageConfig
from opendet.model.backbone import build_backbone
from opendet.model.config import BackboneConfig
from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.llmdet_start import _loaded

CLIP = TinyShape(image_size=32, tower="test_resnet", width=16, text_layers=1, vocabulary=300)

TRAPPED = (".bin", ".pt", ".pth")


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def set_trap(folder: Path, mark: Path, *names: str) -> None:
    """Put pickles in the place of the safetensors."""
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    for name in names:
        torch.save({"weights": Trap(mark)}, folder / name)


def open_clip_folder(folder: Path, mark: Path) -> None:
    folder.mkdir()
    save_weights(start_clip(folder, ["red star"], CLIP)[0], folder)
    names = ("open_clip_pytorch_model.bin", "pytorch_model.bin", "open_clip_model.pt")
    set_trap(folder, mark, *names)
    Clip.load(str(folder))


def llava_folder(folder: Path, mark: Path) -> None:
    set_trap(save_tiny_llava(folder), mark, "pytorch_model.bin")
    VisionLanguage(VisionLanguageConfig(model=str(folder), device="cpu"))


def detr_folder(folder: Path, mark: Path) -> None:
    set_trap(save_tiny_detr(folder), mark, "pytorch_model.bin")
    ClosedSet(ClosedSetConfig(model=str(folder), device="cpu"))


def torchvision_file(folder: Path, mark: Path) -> None:
    folder.mkdir()
    set_trap(folder, mark, "weights.pth")
    config = {"model": str(folder / "weights.pth"), "device": "cpu"}
    ClosedSet(ClosedSetConfig.model_validate({**config, "architecture": "fasterrcnn_resnet50_fpn"}))


def backbone_file(folder: Path, mark: Path) -> None:
    folder.mkdir()
    set_trap(folder, mark, "weights.pth")
    build_backbone(BackboneConfig(name="test_resnet", weights=str(folder / "weights.pth")))


def language_folder(folder: Path, mark: Path) -> None:
    set_trap(save_tiny_llava(folder), mark, "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 1}))
    _loaded(LlmdetConfig(language=str(folder)))


@pytest.mark.parametrize(
    "load",
    [
        *(open_clip_folder, llava_folder, detr_folder, torchvision_file),
        *(backbone_file, language_folder),
    ],
    ids=lambda load: load.__name__,
)
def test_a_pickle_is_refused_and_not_run(
    load: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    with pytest.raises(ValueError, match=r"\S") as refused:
        load(tmp_path / "model", mark)
    assert "\n" not in str(refused.value)
    assert not mark.exists()
    traps = [path for path in (tmp_path / "model").iterdir() if path.suffix in TRAPPED]
    assert traps
    for trap in traps:
        torch.load(trap, weights_only=False)
        assert mark.exists(), "the trap is none"
        mark.unlink()


def test_code_beside_a_model_is_not_imported(tmp_path: Path) -> None:
    """Its configuration asks for a class of a file in the folder, as checkpoints of hubs do."""
    mark, folder = tmp_path / "ran", save_tiny_llava(tmp_path / "model")
    (folder / "trap.py").write_text(f"open({str(mark)!r}, 'w')\nclass Trap: pass\n")
    for name in ("config.json", "processor_config.json", "tokenizer_config.json"):
        told = json.loads((folder / name).read_text())
        kinds = ("AutoConfig", "AutoProcessor", "AutoModelForImageTextToText", "AutoTokenizer")
        told |= {"auto_map": dict.fromkeys(kinds, "trap.Trap"), "model_type": "trap"}
        (folder / name).write_text(json.dumps(told))
    with pytest.raises(ValueError, match="cannot load"):
        VisionLanguage(VisionLanguageConfig(model=str(folder), device="cpu"))
    assert not mark.exists()


def test_the_trap_works(tmp_path: Path) -> None:
    set_trap(tmp_path, tmp_path / "ran", "weights.bin")
    torch.load(tmp_path / "weights.bin", weights_only=False)
    assert (tmp_path / "ran").exists()
