"""LLaVA-NeXT, LLaVA-OneVision and Qwen2.5-VL of random weights, saved as users' checkpoints are."""

from pathlib import Path
from typing import Any

import torch
from tiny_llava import TEMPLATE, tiny_tokenizer
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    SiglipVisionConfig,
)

FAMILIES = ("llava_next", "llava_onevision", "qwen2_5_vl")
PINPOINTS = [[28, 56], [56, 28], [56, 56]]  # height, width of what an image is laid out on
QWEN_TEMPLATE = TEMPLATE.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2}
LOUD = {"initializer_range": 0.2}  # an untrained model then answers each question otherwise


def save_tiny_family(
    folder: Path, family: str, *, chat_template: bool = True, speaks: str = ""
) -> Path:
    """Write the checkpoint's files into a folder; the same weights each time.

    `speaks`: a token that it says for ever, `</s>` to say nothing at all; empty: whatever it says.
    """
    torch.manual_seed(0)
    match family:
        case "llava_next":
            model, processor = _llava_next()
        case "llava_onevision":
            model, processor = _llava_onevision()
        case _:
            model, processor = _qwen2_5_vl()
    if not chat_template:
        processor.chat_template = None
    if speaks:
        always(model, processor.tokenizer.convert_tokens_to_ids(speaks))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def always(model: Any, token: int) -> None:
    """Leave the model one thing to say: its layers add nothing to a token's embedding, whose first
    number is the largest, and the head answers to that number alone."""
    writer = model.get_decoder()
    with torch.no_grad():
        for layer in writer.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.get_input_embeddings().weight[:, 0] = 10.0
        head = model.get_output_embeddings().weight
        head.zero_()
        head[token, 0] = 1.0


def _llava_next() -> tuple[Any, Any]:
    tokenizer = tiny_tokenizer()
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, image_size=28, patch_size=14, **SMALL, **LOUD
        ),
        text_config=LlamaConfig(num_key_value_heads=2, **_writer(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_layer=-1,
        image_seq_length=4,
    )
    images = LlavaNextImageProcessor(
        size={"shortest_edge": 28},
        crop_size={"height": 28, "width": 28},
        image_grid_pinpoints=PINPOINTS,
    )
    processor = LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # CLIP's class token
        chat_template=TEMPLATE,
    )
    return LlavaNextForConditionalGeneration(config), processor


def _llava_onevision() -> tuple[Any, Any]:
    tokenizer = tiny_tokenizer("<video>")
    size = {"height": 28, "width": 28}
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            image_size=28,
            patch_size=14,
            vision_use_head=False,
            **SMALL,
        ),
        text_config=Qwen2Config(num_key_value_heads=2, **_writer(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=PINPOINTS,
    )
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=PINPOINTS),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )
    return LlavaOnevisionForConditionalGeneration(config), processor


def _qwen2_5_vl() -> tuple[Any, Any]:
    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = tiny_tokenizer(*marks)
    token = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "mrope_section": [6, 3, 3], "rope_theta": 10_000.0}
    config = Qwen2_5_VLConfig(
        text_config={"num_key_value_heads": 2, "rope_parameters": rope, **_writer(tokenizer)},
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "num_heads": 2,
            "intermediate_size": 32,
            "out_hidden_size": 48,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            **LOUD,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    pixels = {"shortest_edge": 28 * 28, "longest_edge": 112 * 112}
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=pixels),
        tokenizer,
        Qwen2VLVideoProcessor(),
        chat_template=QWEN_TEMPLATE,
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


def _writer(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The text model's sizes and marks."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 48,
        "intermediate_size": 96,
        "max_position_embeddings": 512,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **SMALL,
        **LOUD,
    }
