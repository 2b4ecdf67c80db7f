"""Models of published shapes with random weights, saved as users' are: speed needs no learning."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opendet.annotators.tiny_clip import save_weights
from opendet.files import write_json_durably

TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} assistant:{% endif %}"
)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
PATCH = 14


@dataclass(frozen=True, slots=True)
class LlavaShape:
    """What of a LLaVA costs time."""

    image_side: int
    vision: Mapping[str, int]
    """As `CLIPVisionConfig` calls them."""
    text: Mapping[str, int]
    """As `LlamaConfig` calls them."""


LLAVA_1_5_7B = LlavaShape(
    336,
    {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
    {
        "vocab_size": 32064,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
    },
)


def save_llava(folder: Path, shape: LlavaShape, *, dtype: str, device: str) -> None:
    """Random weights, drawn on the device. An answer never ends before it has all its tokens."""
    import torch
    import transformers

    library: Any = transformers  # whose constructors have no types
    processor = _processor(shape)
    ids = {name: processor.tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    special = {"pad_token_id": ids["<pad>"], "bos_token_id": ids["<s>"]}
    config = library.LlavaConfig(
        vision_config=library.CLIPVisionConfig(
            image_size=shape.image_side, patch_size=PATCH, **shape.vision
        ),
        text_config=library.LlamaConfig(**shape.text, **special, eos_token_id=ids["</s>"]),
        image_token_index=ids["<image>"],
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = library.LlavaForConditionalGeneration._from_config(
            config, dtype=getattr(torch, dtype)
        )
    model.generation_config = library.GenerationConfig(**special)  # without an end of its own
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _processor(shape: LlavaShape) -> Any:
    import transformers

    library: Any = transformers
    side = shape.image_side
    return library.LlavaProcessor(
        image_processor=library.CLIPImageProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        ),
        tokenizer=_tokenizer(shape.text["vocab_size"]),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )


def _tokenizer(size: int) -> Any:
    """So many words, none of which the prompts hold."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = (*SPECIAL, *(f"w{number}" for number in range(size - len(SPECIAL))))
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    library: Any = transformers
    return library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )


def save_open_clip(folder: Path, shape: Mapping[str, Any]) -> None:
    """An open_clip folder of that model configuration."""
    import open_clip
    import torch

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(open_clip.CLIP(**dict(shape)), folder)
    write_json_durably(
        folder / "open_clip_config.json", {"model_cfg": dict(shape), "preprocess_cfg": {}}
    )
