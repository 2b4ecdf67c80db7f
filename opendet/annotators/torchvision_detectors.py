"""torchvision's Faster R-CNN, RetinaNet and FCOS, from the weights that a .safetensors file holds.

N boxes of one image; the sizes of the heads are read from the weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opendet.annotators.closed_set import KEY, ClosedSetConfig
from opendet.annotators.model_folder import one_line
from opendet.annotators.scored_boxes import ScoredBoxes
from opendet.annotators.weights import file_digest

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

MEND = (
    "it must hold the state dict of torchvision's model of that architecture: save it with "
    "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
)


class TorchvisionDetector:
    """A loaded model, on its device."""

    class_names: tuple[str, ...] = ()

    def __init__(self, model: Any, *, outputs: int, revision: str, device: str, dtype: str) -> None:
        import torch

        self._model, self._device, self._dtype = model, device, getattr(torch, dtype)
        self.outputs, self.revision = outputs, revision
        # torchvision leaves out boxes that are no numbers without a word: look before it does
        for head in _heads(model):
            head.register_forward_hook(_must_be_numbers)

    def together(self, image: "Image") -> tuple[int, int]:
        """Images of one size: others would be padded, and their answers hang on the padding."""
        return image.size

    def look(self, images: "Sequence[Image]") -> list[ScoredBoxes]:
        """Each image's boxes; a value that is no number is a ValueError."""
        import torch

        pixels = [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images]
        narrow = self._dtype is not torch.float32  # the weights stay wide, as torchvision has it
        with (
            torch.inference_mode(),
            torch.autocast(self._device, self._dtype, enabled=narrow),
        ):
            said = self._model(
                [one.to(self._device) / 255 for one in pixels]
            )  # (3, H, W) in [0, 1]
        return [ScoredBoxes(one["boxes"], one["scores"], one["labels"]) for one in said]


def load_torchvision(config: ClosedSetConfig, device: str) -> TorchvisionDetector:
    """The model; ValueError, in one line, where the file does not hold it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = _weights_file(config.model)
    with one_line(config.model, KEY, MEND):
        try:
            weights = load_file(file)
        except SafetensorError as error:
            raise ValueError(f"it is no .safetensors file: {error}") from error
        outputs = _outputs(config.architecture, weights)
        model = _built(config, outputs)
        model.load_state_dict(weights)
    return TorchvisionDetector(
        model.to(device).eval(),
        outputs=outputs,
        revision=file_digest(file),
        device=device,
        dtype=config.dtype,
    )


def _weights_file(model: str) -> Path:
    if not model:
        raise ValueError(f"{KEY} is empty: name a .safetensors file, or a folder that holds one")
    path = Path(model).expanduser()
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{KEY}: there is no file {file}: name a .safetensors file ({MEND})")
    if file.suffix != ".safetensors":
        raise ValueError(
            f"{KEY}: {model!r} is no .safetensors file: no other kind is read ({MEND})"
        )
    return file


def _outputs(architecture: str, weights: "Mapping[str, Tensor]") -> int:
    """How many classes the head tells apart."""
    if architecture.startswith("fasterrcnn"):
        return len(_tensor(weights, "roi_heads.box_predictor.cls_score.bias"))
    scores = len(_tensor(weights, "head.classification_head.cls_logits.bias"))
    # at each place one box of four numbers for each anchor, and every class for each anchor
    anchors = len(_tensor(weights, "head.regression_head.bbox_reg.bias")) // 4
    if anchors == 0 or scores % anchors:
        raise ValueError(f"its head has {scores} scores for {anchors} anchors")
    return scores // anchors


def _tensor(weights: "Mapping[str, Tensor]", key: str) -> "Tensor":
    if key not in weights:
        raise ValueError(f"its weights lack {key}")
    return weights[key]


def _built(config: ClosedSetConfig, outputs: int) -> Any:
    """The architecture, with weights yet to come, and its own limits set to the section's."""
    from torch import nn
    from torchvision.models import detection

    prefix = "box_" if config.architecture.startswith("fasterrcnn") else ""
    knobs: dict[str, Any] = {
        f"{prefix}score_thresh": config.floor,
        f"{prefix}nms_thresh": config.nms_iou,
        f"{prefix}detections_per_img": config.most,
    }
    sides = {"min_size": config.shortest_side, "max_size": config.longest_side}
    knobs |= {key: side for key, side in sides.items() if side is not None}
    model: Any = getattr(detection, config.architecture)(
        weights=None, weights_backbone=None, num_classes=outputs, **knobs
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = config.norm_eps
    return model


def _heads(model: Any) -> list[Any]:
    if hasattr(model, "rpn"):
        return [model.rpn.head, model.roi_heads.box_predictor]
    return [model.head]


def _must_be_numbers(module: Any, inputs: Any, outputs: Any) -> None:  # noqa: ARG001
    if not all(bool(tensor.isfinite().all()) for tensor in _tensors(outputs)):
        raise ValueError(
            "the detector gave a score or a box that is no number: its weights are damaged, or its "
            "numbers overflow (take dtype float32)"
        )


def _tensors(outputs: Any) -> "Iterator[Tensor]":
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs, list | tuple):
        for one in outputs:
            yield from _tensors(one)
    else:
        yield outputs
