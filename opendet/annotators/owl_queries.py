"""OWL-ViT and OWLv2: images and names are embedded apart, and compared.

B images, P patches (one box each), Q names, D width.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opendet.annotators.scored_boxes import ScoredBoxes

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

REMEMBERED = 20_000
"""Names whose embeddings are kept: some 60 MB for the largest model."""
AT_ONCE = 256
"""Names that a GPU embeds at once."""


class Owl:
    """A loaded model, asked for names with every one of its templates."""

    def __init__(self, processor: Any, model: Any, *, templates: Sequence[str]) -> None:
        self._processor, self._model, self._templates = processor, model, tuple(templates)
        self._pads_to_square = model.config.model_type == "owlv2"
        self._embedded: OrderedDict[str, Tensor] = OrderedDict()

    def lists(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The names as one question, without repeats; none where there are none."""
        return [tuple(dict.fromkeys(names))] if names else []

    def together(self, image: "Image") -> None:
        """Images of all sizes may share a batch: each is resized to the same square."""

    def look(
        self, images: "Sequence[Image]", names: Sequence[tuple[str, ...]]
    ) -> list[ScoredBoxes]:
        """Each patch's box with the surest of its image's names."""
        import torch

        from opendet.boxes import xyxy_from_cxcywh

        device, dtype = self._model.device, self._model.dtype
        pixels = self._processor.image_processor(list(images), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            grid = self._model.image_embedder(pixels.to(device, dtype))[0]
            features = grid.flatten(1, 2)  # (B, P, D)
            corners = xyxy_from_cxcywh(self._model.box_predictor(features, grid).float())
            answers = []
            for number, (image, asked) in enumerate(zip(images, names, strict=True)):
                queries = self._queries(asked)[None]  # (1, Q, D)
                logits = self._model.class_predictor(features[number, None], queries)[0][0]
                scores, which = logits.float().sigmoid().max(1)  # (P, Q) -> (P,)
                boxes = corners[number] * self._scale(image, device)
                answers.append(ScoredBoxes(boxes, scores, which))
        return answers

    def _scale(self, image: "Image", device: Any) -> "Tensor":
        """Pixels of a whole side. OWLv2's processor pads to a square, right and below; OWL-ViT's
        squeezes the image into one."""
        import torch

        width, height = image.size
        if self._pads_to_square:
            width = height = max(image.size)
        return torch.tensor([width, height, width, height], device=device)

    def _queries(self, names: Sequence[str]) -> "Tensor":
        """(Q, D), of length at most 1: the mean of a name's embeddings in all templates."""
        import torch

        unknown = [name for name in names if name not in self._embedded]
        # on a CPU one at a time, so that no bit hangs on which names came before or come together
        step = 1 if self._model.device.type == "cpu" else AT_ONCE
        for start in range(0, len(unknown), step):
            some = unknown[start : start + step]
            self._embedded.update(zip(some, self._embed(some), strict=True))
        queries = torch.stack([self._embedded[name] for name in names])
        for name in names:
            self._embedded.move_to_end(name)
        while len(self._embedded) > REMEMBERED:
            self._embedded.popitem(last=False)
        return queries

    def _embed(self, names: Sequence[str]) -> "Tensor":
        """(Q, D). A name that is longer than the model reads is read as far as that goes."""
        import torch

        total = torch.zeros(())
        for template in self._templates:
            tokens = self._processor.tokenizer(
                [template.replace("{}", name) for name in names],
                padding="max_length",
                truncation=True,
                max_length=self._model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(self._model.device)
            # the model inside, whose text side has the same name in both families
            said = self._model.base_model.get_text_features(
                tokens["input_ids"], tokens["attention_mask"]
            )
            total = total + torch.nn.functional.normalize(said.pooler_output.float(), dim=-1)
        return (total / len(self._templates)).to(self._model.dtype)
