"""Masks for boxes and points: SAM, SAM 2 and the tracker of SAM 3, through `transformers`.

An image is embedded once, whatever the number of its boxes; a mask is COCO's compressed run-length
code in the image's own size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from opendet.annotators.batching import in_batches
from opendet.annotators.model_folder import (
    called,
    checked_path,
    chosen_device,
    one_line,
    weights_of,
)
from opendet.pretrained import load_whole
from opendet.record import BoxXYXY
from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

FAMILIES = {
    "sam": ("SamModel", "SamProcessor"),
    "sam2": ("Sam2Model", "Sam2Processor"),
    "sam2_video": ("Sam2Model", "Sam2Processor"),
    "sam3_tracker": ("Sam3TrackerModel", "Sam3TrackerProcessor"),
    "sam3_video": ("Sam3TrackerModel", "Sam3TrackerProcessor"),
}
"""Classes of `transformers` for what a checkpoint's config.json calls itself. SAM 2.1's and SAM 3's
folders name their video models, whose image parts are wanted here."""

SIZES = ("original_sizes", "reshaped_input_sizes")
"""What a processor tells of an image's sizes, as its `post_process_masks` takes it; SAM's has two,
the later ones one."""


class SegmentConfig(Section):
    """Which model draws a mask for every box, and how."""

    model: str = ""
    """A folder that holds the model, or its name on the hub; empty for no masks."""
    revision: str | None = None
    """Commit, branch or tag on the hub; pin a commit, so that a build can be repeated."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Numbers that the model computes in."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; `auto` takes a GPU where there is one."""
    batch_size: int = Field(default=16, ge=1)
    """Boxes in one call of the model; halved for as long as a GPU's memory does not hold them."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """Least IoU with the true mask that the model predicts for a mask of its own."""


@dataclass(frozen=True, slots=True)
class PointPair:
    """A prompt of two points: pixels, counted from the middle of the image's first one."""

    inside_xy: tuple[float, float]
    """In the thing."""
    outside_xy: tuple[float, float]
    """Beside it."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A mask, and what asks the model to draw it once more."""

    code: str
    """COCO's compressed run-length code in the image's size; never of an empty mask."""
    score: float
    """The IoU with the true mask that the model predicts, in [0, 1]."""
    prompt: "Tensor"
    """(h, w) logits, on the model's device and of its own size."""


@dataclass(frozen=True, slots=True)
class Looked:
    """An image that the model has looked at, to be asked about as often as one likes."""

    size_wh: tuple[int, int]
    """Pixels of the image."""
    features: tuple["Tensor", ...]
    """(1, D, h, w) of each level, the coarsest last."""
    sizes: tuple[Any, ...]
    """What the processor needs to bring masks to the image's size."""
    scale_xy: tuple[float, float]
    """Pixels of the model's input for one of the image."""


class Segmenter:
    """A loaded model. It knows boxes and points, no names."""

    def __init__(
        self, config: SegmentConfig, key: str = "regions.masks", *, knob: str = ""
    ) -> None:
        """`key` is the config's place, `knob` that of the model's name if it is no `<key>.model`;
        raises ValueError, in one line, where there is no model."""
        self._config = config
        self._device = chosen_device(config.device)
        self._processor, self._model = _load(config, self._device, knob or f"{key}.model")
        self.name = called(config.model)
        self.revision = weights_of(config.model, config.revision, self._model)

    def segment(
        self, image: "Image", boxes_xyxy: Sequence[BoxXYXY]
    ) -> list[tuple[str, float] | None]:
        """A mask's code and its predicted IoU in [0, 1] for each box in pixels, in order.

        None where the mask is empty or scores below `min_score`, and in an image so narrow that the
        model would see less than a pixel of it. A score that is no number is a ValueError.
        """
        prompts = {"input_boxes": [[list(map(float, box)) for box in boxes_xyxy]]}
        return self._masks(image, prompts, len(boxes_xyxy), several=False)

    def segment_points(
        self, image: "Image", points: Sequence[tuple[float, float]]
    ) -> list[tuple[str, float] | None]:
        """The same for points in pixels, each inside a thing of its own.

        A point may mean a thing, its part or what holds it: the model draws all three, and the one
        that it is surest of is taken.
        """
        prompts: dict[str, Any] = {
            "input_points": [[[list(map(float, point))] for point in points]],
            "input_labels": [[[1] for _ in points]],
        }
        return self._masks(image, prompts, len(points), several=True)

    def look(self, image: "Image") -> Looked:
        """An RGB image, embedded."""
        import torch

        inputs = self._processor(images=image, return_tensors="pt")
        with torch.inference_mode():
            pixels = inputs["pixel_values"].to(self._device, self._model.dtype)
            features = self._model.get_image_embeddings(pixels)
        # SAM fits the longer side and pads; the later ones stretch the image to a square.
        square = [self._processor.target_size] * 2
        height, width = inputs.get("reshaped_input_sizes", [square])[0]
        return Looked(
            image.size,
            (features,) if isinstance(features, torch.Tensor) else tuple(features),
            tuple(inputs[key] for key in SIZES if key in inputs),
            (float(width) / image.width, float(height) / image.height),
        )

    def draw(
        self, looked: Looked, pairs: Sequence[PointPair], again: "Sequence[Tensor]" = ()
    ) -> list[Drawn | None]:
        """A mask for each pair of points, in order, as `segment` has them; of three readings of a
        pair the surest.

        `again` are the prompts of masks that were drawn for the same pairs: each is drawn anew.
        Raises ValueError where one of them has another size than the model draws.
        """
        import torch

        side = 4 * looked.features[-1].shape[-1]
        for mask in again:
            if mask.shape != (side, side):
                raise ValueError(
                    f"a mask of {' x '.join(map(str, mask.shape))} is no prompt: {self.name} takes "
                    f"{side} x {side}, as the prompts of what it draws are"
                )
        assert not again or len(again) == len(pairs), f"{len(again)} masks, {len(pairs)} pairs"
        if not pairs:
            return []
        points = torch.tensor([[one.inside_xy, one.outside_xy] for one in pairs])  # (N, 2, 2)
        points = (points * torch.tensor(looked.scale_xy)).to(self._device)

        def draw(batch: Sequence[int]) -> list[Drawn | None]:
            span = slice(batch[0], batch[-1] + 1)
            masks = torch.stack(list(again[span]))[:, None] if again else None
            return self._drawn_at_once(looked, points[span], masks)

        with torch.inference_mode():
            return in_batches(range(len(pairs)), self._config.batch_size, draw)

    def _drawn_at_once(
        self, looked: Looked, points: "Tensor", masks: "Tensor | None"
    ) -> list[Drawn | None]:
        """(N, 2, 2) points of the model's input and (N, 1, h, w) masks -> N answers.

        Each pair is an image of its own to the model, which takes one mask an image.
        """
        count = len(points)
        features = [one.expand(count, -1, -1, -1) for one in looked.features]
        drawn = self._model(
            image_embeddings=features if len(features) > 1 else features[0],
            input_points=points[:, None],
            input_labels=points.new_tensor([1, 0]).int().expand(count, 1, 2),
            input_masks=masks,
            multimask_output=masks is None,  # a mask and a pair leave one reading
        )
        best, scores = _surest(drawn.pred_masks[:, 0], drawn.iou_scores[:, 0])
        kept = self._kept(best, looked.sizes, scores)
        return [
            None if one is None else Drawn(*one, logits)
            for one, logits in zip(kept, best[:, 0], strict=True)
        ]

    def _masks(
        self, image: "Image", prompts: dict[str, Any], count: int, *, several: bool
    ) -> list[tuple[str, float] | None]:
        """`prompts` is what the processor takes; `several` masks are drawn for each, or one."""
        import torch

        if not count or self._is_narrow(image):
            return [None] * count
        inputs = self._processor(images=image, return_tensors="pt", **prompts)
        # Coordinates keep their own type: bfloat16 would round those above 256 to even pixels.
        scaled = {key: inputs[key].to(self._device) for key in prompts}  # (1, N, ...)
        with torch.inference_mode():
            pixels = inputs["pixel_values"].to(self._device, self._model.dtype)
            embeddings = self._model.get_image_embeddings(pixels)

            def draw(batch: Sequence[int]) -> list[tuple[str, float] | None]:
                span = slice(batch[0], batch[-1] + 1)
                drawn = self._model(
                    image_embeddings=embeddings,
                    multimask_output=several,
                    **{key: value[:, span] for key, value in scaled.items()},
                )
                masks, scores = _surest(drawn.pred_masks[0], drawn.iou_scores[0])
                sizes = tuple(inputs[key] for key in SIZES if key in inputs)
                return self._kept(masks, sizes, scores)

            return in_batches(range(count), self._config.batch_size, draw)

    def _is_narrow(self, image: "Image") -> bool:
        """Whether its shorter side is 0 pixels where the longer one fits the model's input."""
        return bool(2 * self._processor.target_size * min(image.size) < max(image.size))

    def _enlarged(self, masks: "Tensor", sizes: tuple[Any, ...]) -> "Tensor":
        """(N, 1, h, w) logits -> (N, H, W) bool of the image's own size."""
        full: list[Tensor] = self._processor.post_process_masks([masks.float()], *sizes)
        return full[0][:, 0]

    def _kept(
        self, masks: "Tensor", sizes: tuple[Any, ...], scores: "Tensor"
    ) -> list[tuple[str, float] | None]:
        """(N, 1, h, w) logits and (N) scores -> the codes of those that are sure enough, enlarged
        one by one: a batch of them in the size of a large photograph takes gigabytes."""
        kept: list[tuple[str, float] | None] = []
        for logits, score in zip(masks[:, None], scores.tolist(), strict=True):
            sure = score >= self._config.min_score
            [code] = mask_codes(self._enlarged(logits, sizes)) if sure else [""]
            kept.append((code, score) if code else None)
        return kept


def mask_codes(masks: "Tensor") -> list[str]:
    """(N, H, W) bool -> COCO's compressed codes of them; an empty text for an empty mask."""
    import numpy as np
    from faster_coco_eval.core.mask import encode

    pixels = masks.to("cpu").numpy().astype(np.uint8)
    return [
        encode(np.asfortranarray(one))["counts"].decode() if one.any() else "" for one in pixels
    ]


def _surest(masks: "Tensor", scores: "Tensor") -> tuple["Tensor", "Tensor"]:
    """(N, M, h, w) masks and (N, M) predicted IoU -> (N, 1, h, w) and (N) of the best of the M."""
    if not bool(scores.isfinite().all()):
        raise ValueError("the segmenter's score is no number: try dtype float32, or another model")
    best = scores.argmax(1, keepdim=True)  # (N, 1)
    rows = best[:, :, None, None].expand(-1, -1, *masks.shape[-2:])
    # A regressed IoU may leave its range by a little.
    return masks.gather(1, rows), scores.float().gather(1, best)[:, 0].clamp(0, 1)


def _load(config: SegmentConfig, device: str, knob: str) -> tuple[Any, Any]:
    """The processor and the model, ready to draw."""
    import transformers

    path = checked_path(config.model, knob)
    where: dict[str, Any] = {"revision": config.revision, "trust_remote_code": False}
    mend = "name a folder that holds a SAM, SAM 2 or SAM 3, or a hub name while the hub answers"
    with one_line(config.model, knob, mend):
        family = transformers.AutoConfig.from_pretrained(path, **where).model_type
        if family not in FAMILIES:
            raise ValueError(f"it is a {family}, not one of {', '.join(FAMILIES)}")
        model_class, processor_class = (getattr(transformers, name) for name in FAMILIES[family])
        processor = processor_class.from_pretrained(path, **where)
        model = load_whole(model_class, path, dtype=config.dtype, revision=config.revision)
    return processor, model.to(device).eval()
