"""Image-text-to-text models of `transformers`: loading one, ready to generate, and asking it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from opendet.annotators.model_folder import checked_path, one_line
from opendet.pretrained import load_whole

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageTextConfig(Protocol):
    """What a config says of such a model."""

    @property
    def model(self) -> str: ...

    @property
    def revision(self) -> str | None: ...

    @property
    def dtype(self) -> str: ...


def load_image_text(
    config: ImageTextConfig,
    device: str,
    *,
    key: str,
    mend: str,
    check_family: Callable[[str], None] = lambda _: None,
    check_processor: Callable[[Any], None],
) -> tuple[Any, Any]:
    """The processor and the model.

    The checks are asked of the family (its config's `model_type`) and of the processor before the
    weights are read; what they raise, and what goes wrong in loading, is a ValueError of one line
    that begins with `key` and ends with `mend`.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    path = checked_path(config.model, key)
    where: dict[str, Any] = {"revision": config.revision, "trust_remote_code": False}
    with one_line(config.model, key, mend):
        check_family(AutoConfig.from_pretrained(path, **where).model_type)
        processor: Any = AutoProcessor.from_pretrained(path, **where)  # type: ignore[no-untyped-call]
        check_processor(processor)
        model = load_whole(
            AutoModelForImageTextToText, path, dtype=config.dtype, revision=config.revision
        )
    if not getattr(model.config, "is_encoder_decoder", False):
        processor.tokenizer.padding_side = "left"  # answers must follow their prompts at once
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor, model.to(device).eval()


def require_chat_template(processor: Any) -> None:
    """ValueError where a conversation could not be put into the model's words."""
    if not getattr(processor, "chat_template", None):
        raise ValueError(
            "it has no chat template: choose an instruction-tuned model, or put a "
            "chat_template.jinja into its folder"
        )


def conversation(image: "Image | None", words: str) -> list[dict[str, Any]]:
    """One question of a user, as chat templates take it: the RGB image, where there is one, and
    then the words."""
    content: list[dict[str, Any]] = [{"type": "text", "text": words}]
    if image is not None:
        content.insert(0, {"type": "image", "image": image})
    return [{"role": "user", "content": content}]
