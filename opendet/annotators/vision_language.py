"""Any image-text-to-text model of `transformers`, asked about images with a prompt each.

The model comes from a folder or from the hub. Nothing heavy is imported before one is loaded.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from opendet.annotators.batching import in_batches
from opendet.annotators.chat import CutAnswer
from opendet.annotators.image_text import conversation, load_image_text, require_chat_template
from opendet.annotators.model_folder import called, chosen_device, weights_of
from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image

KEY = "vision_language.model"
MEND = (
    "name a folder that holds an image-text-to-text model, or a hub name while the hub can be "
    "reached"
)


class VisionLanguageConfig(Section):
    """Which vision-language model is asked, and how."""

    model: str = ""
    """A folder that holds the model, or its name on the hub."""
    revision: str | None = None
    """Commit, branch or tag on the hub; pin a commit, so that a build can be repeated."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Numbers that the model computes in."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; `auto` takes a GPU where there is one."""
    batch_size: int = Field(default=8, ge=1)
    """Images in one call of the model, halved for as long as a GPU's memory does not hold them.
    Answers may differ a little between batch sizes."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens."""


class VisionLanguage:
    """A loaded model. It answers greedily: the same batch gets the same answers."""

    def __init__(self, config: VisionLanguageConfig) -> None:
        """Raises ValueError, in one line, where there is no such model."""
        self._config = config
        self._device = chosen_device(config.device)
        self._processor, self._model = load_image_text(
            config, self._device, key=KEY, mend=MEND, check_processor=require_chat_template
        )
        self.name = called(config.model)
        self.revision = weights_of(config.model, config.revision, self._model)
        ends = self._model.generation_config.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else set(ends or ())

    def ask(self, images: "Sequence[Image]", prompts: Sequence[str]) -> list[str]:
        """One answer for each RGB image and its prompt, in order.

        An answer may be empty; one that ran into `max_new_tokens` is a `CutAnswer`.
        """
        assert len(images) == len(prompts), f"{len(images)} images, {len(prompts)} prompts"
        pairs = list(zip(images, prompts, strict=True))
        return in_batches(pairs, self._config.batch_size, self._answers)

    def _answers(self, pairs: "Sequence[tuple[Image, str]]") -> list[str]:
        import torch

        inputs = self._processor.apply_chat_template(
            [conversation(image, prompt) for image, prompt in pairs],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            # a fresh dictionary each time, as transformers 5 changes the one it gets
            processor_kwargs={"padding": True},
        ).to(self._device, self._model.dtype)
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs, max_new_tokens=self._config.max_new_tokens, do_sample=False
            )
        said = tokens[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self._processor.batch_decode(said, skip_special_tokens=True)
        return [
            text.strip() if self._ends.intersection(row) else CutAnswer(text.strip())
            for text, row in zip(texts, said.tolist(), strict=True)
        ]
