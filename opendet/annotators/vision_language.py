"""Any image-text-to-text model of `transformers`, asked about images with a prompt each.

The model comes from a folder or from the hub. Nothing heavy is imported before one is loaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image


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
    """Images in one call of the model. Answers may differ a little between batch sizes."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens."""


class VisionLanguage:
    """A loaded model. It answers greedily: the same batch gets the same answers."""

    def __init__(self, config: VisionLanguageConfig) -> None:
        """Raises ValueError, in one line, where there is no such model."""
        import torch

        self._config = config
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = wanted if config.device == "auto" else config.device
        if self._device == "cpu":
            torch.set_num_threads(1)  # any number of actors gives the same answers
        self._processor, self._model = _load(config, self._device)

    @property
    def name(self) -> str:
        """What provenance calls the model: its name on the hub, or its folder's name."""
        folder = Path(self._config.model).expanduser()
        return folder.resolve().name if folder.is_dir() else self._config.model

    @property
    def revision(self) -> str:
        """The commit that was loaded, where transformers knows it, else the one asked for."""
        found = getattr(self._model.config, "_commit_hash", None)
        return str(found or self._config.revision or "")

    def ask(self, images: "Sequence[Image]", prompts: Sequence[str]) -> list[str]:
        """One answer for each RGB image and its prompt, in order; an answer may be empty."""
        assert len(images) == len(prompts), f"{len(images)} images, {len(prompts)} prompts"
        pairs = list(zip(images, prompts, strict=True))
        size = self._config.batch_size
        return [
            answer
            for start in range(0, len(pairs), size)
            for answer in self._answers(pairs[start : start + size])
        ]

    def _answers(self, pairs: "Sequence[tuple[Image, str]]") -> list[str]:
        import torch

        inputs = self._processor.apply_chat_template(
            [_conversation(image, prompt) for image, prompt in pairs],
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
        prompt_length = inputs["input_ids"].shape[1]
        answers: list[str] = self._processor.batch_decode(
            tokens[:, prompt_length:], skip_special_tokens=True
        )
        return [answer.strip() for answer in answers]


def _conversation(image: "Image", prompt: str) -> list[dict[str, Any]]:
    content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
    return [{"role": "user", "content": content}]


def _load(config: VisionLanguageConfig, device: str) -> tuple[Any, Any]:
    """The processor and the model, ready to generate."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    path = _checked_path(config.model)
    where: dict[str, Any] = {"revision": config.revision, "trust_remote_code": False}
    try:
        processor: Any = AutoProcessor.from_pretrained(path, **where)  # type: ignore[no-untyped-call]
        model: Any = AutoModelForImageTextToText.from_pretrained(
            path, dtype=getattr(torch, config.dtype), use_safetensors=True, **where
        )
    except (OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(
            f"vision_language.model: cannot load {config.model!r}: {why} (name a folder that holds "
            "an image-text-to-text model, or a hub name while the hub can be reached)"
        ) from error
    if not getattr(processor, "chat_template", None):
        raise ValueError(
            f"vision_language.model: {config.model!r} has no chat template: choose an instruction-"
            "tuned model, or put a chat_template.jinja into its folder"
        )
    processor.tokenizer.padding_side = "left"  # answers must follow their prompts at once
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor, model.to(device).eval()


def _checked_path(model: str) -> str:
    """The folder, where the name looks like a path, so that no hub is asked for a mistyped one."""
    if not model:
        raise ValueError("vision_language.model is empty: name a folder or a model on the hub")
    path = Path(model).expanduser()
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    if looks_local and not path.is_dir():
        raise ValueError(f"vision_language.model: there is no folder {model}")
    return str(path) if path.is_dir() else model
