"""A CLIP of half a million weights, made from nothing: its tokenizer, its towers, its folder.

A convolutional picture tower: from scratch and in a minute, a transformer learns colours only.
The folder is open_clip's local-dir form, so whatever loads a published model loads this one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opendet.files import write_durably, write_json_durably

if TYPE_CHECKING:
    from torch.nn import Module

NAME = "opendet-tiny"
SPARE_TOKENS = 4
"""How much longer than the longest text that was learned a text may be before it is cut."""


@dataclass(frozen=True, slots=True)
class TinyShape:
    """The measures of a small CLIP."""

    image_size: int
    tower: str
    width: int
    text_layers: int
    vocabulary: int


def start_clip(folder: Path, texts: Sequence[str], shape: TinyShape) -> "tuple[Module, Any]":
    """Write config and tokenizer to `folder`; returns the model with random weights, and the
    tokenizer. Torch's global generator decides the weights.

    Raises ValueError for a tower that timm does not know.
    """
    import open_clip
    import timm

    if not timm.is_model(shape.tower):
        raise ValueError(f"timm has no model {shape.tower!r}: set `clip.tower` to one that it has")

    tokens, context_length = write_tokenizer(folder, texts, shape.vocabulary)
    config = _config(shape, tokens, context_length)
    write_json_durably(folder / "open_clip_config.json", config)
    model = open_clip.CLIP(**config["model_cfg"])
    return model, open_clip.get_tokenizer(f"local-dir:{folder}")


def save_weights(model: "Module", folder: Path) -> None:
    from safetensors.torch import save

    state = {name: tensor.contiguous() for name, tensor in sorted(model.state_dict().items())}
    write_durably(folder / "open_clip_model.safetensors", save(state))


def write_tokenizer(folder: Path, texts: Sequence[str], vocabulary: int) -> tuple[int, int]:
    """A byte-level BPE of the texts; returns its number of tokens, and that of the longest text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 2,
        initial_alphabet=alphabet,
        special_tokens=["<pad>"],
        show_progress=False,
    )
    bpe.train_from_iterator(sorted(texts), trainer)
    bpe.add_special_tokens(["<s>", "</s>"])  # last, for open_clip pools at the highest id
    ends = [(token, bpe.token_to_id(token)) for token in ("<s>", "</s>")]
    bpe.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    context_length = max(len(bpe.encode(text).ids) for text in texts) + SPARE_TOKENS
    wrapped: Any = PreTrainedTokenizerFast  # its constructor has no types
    wrapped(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=context_length,
    ).save_pretrained(folder)
    return int(bpe.get_vocab_size()), context_length


def _config(shape: TinyShape, tokens: int, context_length: int) -> dict[str, Any]:
    half = [0.5, 0.5, 0.5]
    return {
        "name": NAME,
        "model_cfg": {
            "embed_dim": shape.width,
            "vision_cfg": {
                "image_size": shape.image_size,
                "timm_model_name": shape.tower,
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": "linear",
            },
            "text_cfg": {
                "context_length": context_length,
                "vocab_size": tokens,
                "width": shape.width,
                "heads": max(1, shape.width // 16),
                "layers": shape.text_layers,
                "hf_tokenizer_name": NAME,
            },
        },
        "preprocess_cfg": {"mean": half, "std": half, "interpolation": "bicubic"},
    }
