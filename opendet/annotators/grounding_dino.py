"""Grounding DINO, MM-Grounding DINO and, of the latter's class, LLMDet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opendet.annotators.grounding_prompt import Prompt, PromptWriter, name_scores
from opendet.annotators.scored_boxes import ScoredBoxes

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class GroundingDino:
    """A loaded model, asked for lists of names that are put into prompts."""

    def __init__(self, processor: Any, model: Any, *, text_threshold: float) -> None:
        """Raises ValueError where the tokenizer is not the model's."""
        self._processor, self._model = processor, model
        self._text_threshold = text_threshold
        self._writer = PromptWriter(
            processor.tokenizer,
            delimiters=model.model.special_tokens.tolist(),
            limit=model.config.max_text_len,
        )

    def lists(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The names as questions that the model can read. A name that is too long: ValueError."""
        return self._writer.lists(names)

    def together(self, image: "Image") -> tuple[int, int]:
        """Images that have it in common may share a batch: their size.

        Images of other sizes would be padded. The pixel mask keeps attention off the padding, but
        the backbone has seen it: an image's scores would hang on its neighbours'.
        """
        return image.size

    def look(
        self, images: "Sequence[Image]", names: Sequence[tuple[str, ...]]
    ) -> list[ScoredBoxes]:
        """Each box with the surest of its image's names; a list's names come from `lists`."""
        import torch

        from opendet.boxes import xyxy_from_cxcywh

        prompts = [self._writer.prompt(asked) for asked in names]
        device = self._model.device
        with torch.inference_mode():
            said = self._model(
                **self._pixels(images),
                **_padded(prompts, self._processor.tokenizer.pad_token_id, device),
            )
        token_scores, corners = said.logits.float().sigmoid(), xyxy_from_cxcywh(said.pred_boxes)
        answers = []
        for number, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
            scores, which = name_scores(
                token_scores[number], prompt.spans, text_threshold=self._text_threshold
            ).max(1)
            scale = torch.tensor([*image.size, *image.size], device=device)
            answers.append(ScoredBoxes(corners[number].float() * scale, scores, which))
        return answers

    def _pixels(self, images: "Sequence[Image]") -> "dict[str, Tensor]":
        """(B, 3, H, W) and, where the processor pads, which of them are the image's."""
        try:
            seen = self._processor.image_processor(list(images), return_tensors="pt")
        except ValueError as error:  # one of its sides would be resized to nothing
            width, height = images[0].size
            raise ValueError(
                f"the detector reads no image as narrow as {width} x {height}: leave it out"
            ) from error
        pixels = {"pixel_values": seen["pixel_values"].to(self._model.device, self._model.dtype)}
        if "pixel_mask" in seen:
            pixels["pixel_mask"] = seen["pixel_mask"].to(self._model.device)
        return pixels


def _padded(prompts: Sequence[Prompt], pad: int, device: Any) -> "dict[str, Tensor]":
    """(B, T) tokens and which of them are none of the padding."""
    import torch

    longest = max(len(prompt.tokens) for prompt in prompts)
    rows = [[*one.tokens, *[pad] * (longest - len(one.tokens))] for one in prompts]
    masks = [[n < len(one.tokens) for n in range(longest)] for one in prompts]
    return {
        "input_ids": torch.tensor(rows, device=device),
        "attention_mask": torch.tensor(masks, device=device).long(),
    }
