"""SAM 3's concept prompts as a finder: a noun phrase -> boxes and masks of all its instances.

An image is looked at once, whatever the number of its names; each name is a question of its own.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from opendet.annotators.batching import in_batches
from opendet.annotators.detection import FinderSection, Found
from opendet.annotators.model_folder import (
    called,
    checked_path,
    chosen_device,
    one_line,
    weights_of,
)
from opendet.annotators.scored_boxes import LEAST_SIDE
from opendet.annotators.segment import mask_codes
from opendet.pretrained import load_whole

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

KEY = "regions.detectors"
FAMILIES = ("sam3", "sam3_video")
"""What a checkpoint's config.json calls itself; SAM 3's own folder names its video model, whose
detector is wanted here."""
ALL_NAMES = 1_000_000
LONGEST_TEXT = 32
"""Tokens of a name that SAM 3 reads."""
MASKS_AT_ONCE = 16
"""Masks that are brought to the image's size in one go, which takes 4 bytes a pixel."""


class ConceptsConfig(FinderSection):
    """SAM 3, asked for every name by itself."""

    annotator: Literal["concepts"] = "concepts"
    """Which detector this is."""
    names_per_call: int = Field(default=8, ge=1)
    """Names of an image that are asked for at once, each a question of its own; halved for as long
    as a GPU's memory does not hold them."""

    @property
    def names_per_question(self) -> int:
        """All of an image's, as it is looked at once for all of them."""
        return ALL_NAMES


class Concepts:
    """A loaded SAM 3."""

    def __init__(self, config: ConceptsConfig) -> None:
        """Raises ValueError, in one line, where there is no such model."""
        self._config = config
        self._device = chosen_device(config.device)
        self._processor, self._model = _load(config, self._device)
        self.name = called(config.model)
        self.revision = weights_of(config.model, config.revision, self._model)

    def find(
        self, images: "Sequence[Image]", names: Sequence[tuple[str, ...]]
    ) -> list[list[Found]]:
        """Every instance of each image's names, the surest first. See `detection.Finder`."""
        assert len(images) == len(names), f"{len(images)} images, {len(names)} lists of names"
        asked = [place for place, wanted in enumerate(names) if wanted]
        found: list[list[Found]] = [[] for _ in images]
        for start in range(0, len(asked), self._config.batch_size):
            batch = asked[start : start + self._config.batch_size]
            seen = in_batches([images[place] for place in batch], len(batch), self._see)
            for place, features in zip(batch, seen, strict=True):
                found[place] = self._find_one(images[place], features, names[place])
        return found

    def _see(self, images: "Sequence[Image]") -> list[Any]:
        """What the vision encoder makes of each image, a batch of one each."""
        import torch

        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            features = self._model.get_vision_features(pixels.to(self._device, self._model.dtype))
        return [
            _changed(features, lambda level, row=row: level[row : row + 1])  # type: ignore[misc]
            for row in range(len(images))
        ]

    def _find_one(self, image: "Image", features: Any, names: Sequence[str]) -> list[Found]:
        def ask(batch: Sequence[str]) -> list[list[Found]]:
            return self._instances(image, features, batch)

        answers = in_batches(names, self._config.names_per_call, ask)
        everything = [one for answer in answers for one in answer]
        everything.sort(key=lambda one: -one.score)  # stable: the names' order decides a draw
        return everything[: self._config.most]

    def _instances(self, image: "Image", features: Any, names: Sequence[str]) -> list[list[Found]]:
        """The instances of each of N names, Q queries a name."""
        import torch

        text = self._processor.tokenizer(
            list(names),
            return_tensors="pt",
            padding="max_length",
            max_length=LONGEST_TEXT,
            truncation=True,
        ).to(self._device)
        with torch.inference_mode():
            seen = self._model(
                vision_embeds=_changed(
                    features, lambda level: level.expand(len(names), -1, -1, -1)
                ),
                input_ids=text["input_ids"],
                attention_mask=text["attention_mask"],
            )
            presence = seen.presence_logits.float().sigmoid()  # (N, 1): is there any at all?
            scores = seen.pred_logits.float().sigmoid() * presence  # (N, Q)
            boxes_xyxy = seen.pred_boxes.float()  # (N, Q, 4) of the image, in and around [0, 1]
            if not bool(scores.isfinite().all() and boxes_xyxy.isfinite().all()):
                raise ValueError(
                    f"{KEY}: the score or a box of {self.name!r} is no number: try dtype float32, "
                    "or another model"
                )
            return [
                self._kept(image, name, *row)
                for name, *row in zip(names, scores, boxes_xyxy, seen.pred_masks, strict=True)
            ]

    def _kept(
        self, image: "Image", name: str, scores: "Tensor", boxes: "Tensor", masks: "Tensor"
    ) -> list[Found]:
        """(Q) scores, (Q, 4) boxes and (Q, h, w) logits of masks -> what is remembered of them."""
        width, height = image.size
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] >= self._config.floor][: self._config.most]
        pixels_xyxy = boxes[order].clamp(0, 1) * boxes.new_tensor([width, height, width, height])
        thick = (pixels_xyxy[:, 2:] - pixels_xyxy[:, :2] >= LEAST_SIDE).all(1)
        order, pixels_xyxy = order[thick], pixels_xyxy[thick]
        codes = [
            code
            for start in range(0, len(order), MASKS_AT_ONCE)
            for code in mask_codes(
                _enlarged(masks[order[start : start + MASKS_AT_ONCE]], height, width) > 0.5
            )
        ]
        return [
            Found((x0, y0, x1, y1), name, score, code)
            for (x0, y0, x1, y1), score, code in zip(
                pixels_xyxy.tolist(), scores[order].tolist(), codes, strict=True
            )
        ]


def _enlarged(logits: "Tensor", height: int, width: int) -> "Tensor":
    """(N, h, w) logits -> (N, H, W) probabilities of a mask, as SAM 3's own processor has it."""
    import torch

    chances = logits.float().sigmoid()[None]  # (1, N, h, w)
    if not chances.numel():
        return chances.new_zeros(0, height, width)
    return torch.nn.functional.interpolate(
        chances, size=(height, width), mode="bilinear", align_corners=False
    )[0]


def _changed(features: Any, change: "Callable[[Tensor], Tensor]") -> Any:
    """The vision encoder's features, every level of them (B, D, h, w) changed alike."""
    return type(features)(
        fpn_hidden_states=tuple(map(change, features.fpn_hidden_states)),
        fpn_position_encoding=tuple(map(change, features.fpn_position_encoding)),
    )


def _load(config: ConceptsConfig, device: str) -> tuple[Any, Any]:
    """The processor and the model, ready to be asked."""
    from transformers import AutoConfig, Sam3Model, Sam3Processor

    path = checked_path(config.model, KEY)
    where: dict[str, Any] = {"revision": config.revision, "trust_remote_code": False}
    mend = "name a folder that holds a SAM 3, or a hub name while the hub answers"
    with one_line(config.model, KEY, mend):
        family = AutoConfig.from_pretrained(path, **where).model_type
        if family not in FAMILIES:
            raise ValueError(f"it is a {family}, not one of {', '.join(FAMILIES)}")
        processor: Any = Sam3Processor.from_pretrained(path, **where)
        model = load_whole(Sam3Model, path, dtype=config.dtype, revision=config.revision)
    return processor, model.to(device).eval()
