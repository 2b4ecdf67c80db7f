"""Vision-language models of random weights that can be taught one answer, saved as users' are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    Florence2VisionConfig,
    Kosmos2Config,
    Kosmos2ForConditionalGeneration,
    Kosmos2Processor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_MARKS = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"),
    "<|video_pad|>",
]
BART_MARKS = ["<s>", "<pad>", "</s>", "<unk>"]


def save_tiny_speaker(folder: Path, dialect: str) -> Path:
    """Write a checkpoint that speaks nonsense; the same weights each time."""
    torch.manual_seed(0)
    match dialect:
        case "qwen2" | "qwen2_5" | "qwen3":
            model, processor = _qwen(dialect)
        case "florence2":
            model, processor = _florence2()
        case "kosmos2":
            model, processor = _kosmos2()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def taught(
    source: Path, folder: Path, told: Sequence[tuple[Image.Image, str, str]], *, chat: bool
) -> Path:
    """Teach a checkpoint some answers to an image and a prompt each by heart, and write it."""
    processor = AutoProcessor.from_pretrained(source)
    model = AutoModelForImageTextToText.from_pretrained(source)
    lessons = [_lesson(processor, model, *one, chat=chat) for one in told]
    learning = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        losses = torch.stack([model(**lesson).loss for lesson in lessons])
        learning.zero_grad()
        losses.sum().backward()
        learning.step()
        if losses.max().item() < 0.01:
            break
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _lesson(
    processor: Any, model: Any, image: Image.Image, prompt: str, answer: str, *, chat: bool
) -> dict[str, torch.Tensor]:
    if chat:
        content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
    else:
        inputs = processor(images=[image], text=[prompt], return_tensors="pt")
    writer = getattr(model, "text_model", model)
    tokens = processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
    said = torch.tensor([[*tokens, writer.generation_config.eos_token_id]])
    if model.config.is_encoder_decoder:
        return {**inputs, "labels": said}
    lesson = dict(inputs)
    for key, filling in (
        ("attention_mask", 1),
        ("mm_token_type_ids", 0),
        ("image_embeds_position_mask", 0),
    ):
        if key in lesson:
            lesson[key] = torch.cat((lesson[key], torch.full_like(said, filling)), 1)
    lesson["labels"] = torch.cat((torch.full_like(inputs["input_ids"], -100), said), 1)
    lesson["input_ids"] = torch.cat((inputs["input_ids"], said), 1)
    return lesson


def _qwen(dialect: str) -> tuple[Any, Any]:
    tokenizer = _tokenizer(QWEN_MARKS, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    token = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2]}
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rope_parameters": rope,
        "bos_token_id": token("<|endoftext|>"),
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": token("<|endoftext|>"),
    }
    eyes: dict[str, Any] = {"depth": 2, "hidden_size": 16, "num_heads": 2, "intermediate_size": 32}
    side, watcher = 14, Qwen2VLVideoProcessor()
    classes: tuple[Any, Any, Any]
    match dialect:
        case "qwen2":
            eyes = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2}
            classes = Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor
        case "qwen2_5":
            eyes |= {"out_hidden_size": 32, "window_size": 56, "fullatt_block_indexes": [1]}
            classes = Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor
        case _:
            side, watcher = 16, Qwen3VLVideoProcessor()
            text |= {"head_dim": 16, "rope_parameters": {**rope, "mrope_interleaved": True}}
            eyes |= {"out_hidden_size": 32, "patch_size": side, "deepstack_visual_indexes": [0]}
            classes = Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
    config_class, model_class, processor_class = classes
    config = config_class(
        text_config=text,
        vision_config=eyes,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    limits = {"shortest_edge": (4 * side) ** 2, "longest_edge": (8 * side) ** 2}
    images = Qwen2VLImageProcessor(size=limits, patch_size=side)
    processor = processor_class(images, tokenizer, watcher, chat_template=CHAT)
    return model_class(config), processor


def _florence2() -> tuple[Any, Any]:
    tokenizer = _tokenizer(
        [*BART_MARKS, "<image>"],
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    tokenizer.add_tokens([f"<loc_{number}>" for number in range(1000)])
    config = Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_position_embeddings": 256,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 2,
        },
        vision_config=Florence2VisionConfig(
            depths=(1, 1),
            patch_size=(7, 3),
            patch_stride=(4, 2),
            patch_padding=(3, 1),
            patch_prenorm=(False, True),
            embed_dim=(8, 16),
            num_heads=(2, 2),
            num_groups=(2, 2),
            window_size=4,
            projection_dim=32,
        ),
        image_token_id=tokenizer.image_token_id,
    )
    images = CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    images.image_seq_length = 17  # 4 x 4 and their mean
    return Florence2ForConditionalGeneration(config), Florence2Processor(images, tokenizer)


def _kosmos2() -> tuple[Any, Any]:
    # the ids after <unk> stand for the image
    tokenizer = _tokenizer(
        [*BART_MARKS, *(f"<unused_{number}>" for number in range(64))],
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    images = CLIPImageProcessor(
        size={"height": 28, "width": 28}, crop_size={"height": 28, "width": 28}
    )
    processor = Kosmos2Processor(images, tokenizer)
    config = Kosmos2Config(
        text_config={
            "vocab_size": len(tokenizer),
            "embed_dim": 32,
            "layers": 2,
            "ffn_dim": 64,
            "attention_heads": 2,
            "max_position_embeddings": 512,
            "dropout": 0.0,
            "attention_dropout": 0.0,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        latent_query_num=64,
    )
    return Kosmos2ForConditionalGeneration(config), processor


def _tokenizer(marks: Sequence[str], **named: Any) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(marks),
        show_progress=False,
    )
    texts = ["Locate every instance of these categories", '[{"bbox_2d": [28, 56], "label": "dog"}]']
    bpe.train_from_iterator(texts * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, **{"extra_special_tokens": list(marks), **named}
    )
