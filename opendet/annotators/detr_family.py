"""Object detection checkpoints of `transformers`: DETR, Deformable DETR, RT-DETR, D-FINE, ..."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opendet.annotators.closed_set import KEY, ClosedSetConfig
from opendet.annotators.model_folder import checked_path, one_line, weights_of
from opendet.annotators.scored_boxes import ScoredBoxes
from opendet.pretrained import load_whole

if TYPE_CHECKING:
    from PIL.Image import Image

MEND = (
    "name a folder that holds an object detection checkpoint of transformers and its image "
    "processor's settings, or a hub name while the hub can be reached"
)


class DetrFamily:
    """A loaded model and its image processor."""

    def __init__(
        self, processor: Any, model: Any, *, revision: str, config: ClosedSetConfig
    ) -> None:
        import torch

        self._processor, self._model = processor, model
        # the weights stay wide: not all of the family take narrow ones
        self._dtype: torch.dtype = getattr(torch, config.dtype)
        self.revision = revision
        self.outputs: int = model.config.num_labels
        self.class_names = _own_names(model.config.id2label)
        # every image becomes as large as the others, whatever size it was
        self._one_size = bool(processor.size.height) and not processor.size.shortest_edge
        self._limits: dict[str, Any] = {"threshold": config.floor}
        taken = inspect.signature(processor.post_process_object_detection).parameters
        if "top_k" in taken:  # its default may be less than what is to be remembered
            self._limits["top_k"] = config.most

    def together(self, image: "Image") -> tuple[int, int] | None:
        """Images of one size, where others would be padded: the backbone sees the padding."""
        return None if self._one_size else image.size

    def look(self, images: "Sequence[Image]") -> list[ScoredBoxes]:
        """Each image's boxes as the processor reads them; no number: ValueError."""
        import torch

        inputs = self._processor(images=list(images), return_tensors="pt").to(self._model.device)
        narrow = self._dtype is not torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(self._model.device.type, self._dtype, enabled=narrow),
        ):
            said = self._model(**inputs)
        said.logits, said.pred_boxes = said.logits.float(), said.pred_boxes.float()
        if not (said.logits.isfinite().all() and said.pred_boxes.isfinite().all()):
            raise ValueError(
                "the detector gave a score or a box that is no number: its weights are damaged, or "
                "its numbers overflow (take dtype float32)"
            )
        sizes_hw = [(image.height, image.width) for image in images]
        read = self._processor.post_process_object_detection(
            said, target_sizes=sizes_hw, **self._limits
        )
        return [ScoredBoxes(one["boxes"], one["scores"], one["labels"]) for one in read]


def load_detr(config: ClosedSetConfig, device: str) -> DetrFamily:
    """The model; ValueError, in one line, where the folder or the hub does not hold it."""
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    path = checked_path(config.model, KEY)
    where: dict[str, Any] = {"revision": config.revision, "trust_remote_code": False}
    with one_line(config.model, KEY, MEND):
        model = load_whole(AutoModelForObjectDetection, path, revision=config.revision)
        processor: Any = AutoImageProcessor.from_pretrained(path, **where)  # type: ignore[no-untyped-call]
        if not hasattr(processor, "post_process_object_detection"):
            raise ValueError(f"its image processor, {type(processor).__name__}, reads no boxes")
        model.to(device).eval()
    revision = weights_of(config.model, config.revision, model)
    return DetrFamily(processor, model, revision=revision, config=config)


def _own_names(id2label: dict[int, str]) -> tuple[str, ...]:
    """The checkpoint's names; none where transformers made them up."""
    names = tuple(id2label[number] for number in sorted(id2label))
    made_up = all(name == f"LABEL_{number}" for number, name in enumerate(names))
    return () if made_up else names
