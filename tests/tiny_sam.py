"""SAM, SAM 2 and SAM 3 with a hundred thousand random weights each, saved as users' are."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2ImageProcessor,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2Processor,
    Sam2PromptEncoderConfig,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VisionConfig,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
    Sam3TrackerConfig,
    Sam3TrackerModel,
    Sam3TrackerProcessor,
    Sam3VideoConfig,
    Sam3VideoModel,
    Sam3VisionConfig,
    Sam3ViTConfig,
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

DECODER = {"mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}


def save_tiny_sam(folder: Path, family: str) -> Path:
    """Write the checkpoint of one of the families; the same weights each time."""
    torch.manual_seed(0)
    makers = {
        "sam": _sam,
        "sam2": _sam2,
        "sam2_video": _sam2_video,
        "sam3_tracker": _sam3_tracker,
    }
    model, processor = makers[family]()
    head = model.mask_decoder.iou_prediction_head.proj_out
    with torch.no_grad():  # predicted IoU around a half
        head.weight.mul_(0.05)
        head.bias.fill_(0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_tiny_sam3(folder: Path) -> Path:
    """Write a detector of concepts that answers each name otherwise; the same weights each time."""
    torch.manual_seed(0)
    model = Sam3Model(_sam3_detector())
    with torch.no_grad():  # weights larger than usual: images and names then make a difference
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "norm" not in name:
                weight.mul_(6)
    model.save_pretrained(folder)
    _sam3_processor().save_pretrained(folder)
    return folder


def _sam3_detector() -> Sam3Config:
    layers: dict[str, Any] = {
        "hidden_size": 16,
        "num_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    return Sam3Config(
        vision_config=_sam3_vision(),
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": 300,
            "hidden_size": 16,
            "intermediate_size": 32,
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config={**layers, "num_layers": 2, "num_queries": 7},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )


def _sam3_processor() -> Sam3Processor:
    images = Sam3ImageProcessor(
        size={"height": 56, "width": 56}, mask_size={"height": 16, "width": 16}
    )
    return Sam3Processor(images, _tokenizer())


def save_tiny_sam3_video(folder: Path) -> Path:
    """Write both of SAM 3's models in one, as its own folder has them."""
    torch.manual_seed(0)
    tracker = _sam3_tracker()[0].config
    config = Sam3VideoConfig(
        detector_config=_sam3_detector().to_dict(),
        tracker_config={
            "vision_config": tracker.vision_config.to_dict(),
            "prompt_encoder_config": tracker.prompt_encoder_config.to_dict(),
            "mask_decoder_config": tracker.mask_decoder_config.to_dict(),
            **_memory(56, 16),
        },
    )
    config.save_pretrained(folder)
    # Not by `save_pretrained`, which in transformers 5.23 writes the tracker's prefix twice.
    save_file(Sam3VideoModel(config).state_dict(), folder / "model.safetensors", {"format": "pt"})
    _sam3_processor().save_pretrained(folder)
    return folder


def _sam() -> tuple[Any, Any]:
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16,
            output_channels=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=64,
            patch_size=8,
            window_size=4,
            global_attn_indexes=[1],
            num_pos_feats=8,
            initializer_range=0.5,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=SamMaskDecoderConfig(hidden_size=16, **DECODER),
        initializer_range=0.3,
    )
    processor = SamProcessor(
        SamImageProcessor(
            size={"longest_edge": 64},
            pad_size={"height": 64, "width": 64},
            mask_size={"longest_edge": 16},
            mask_pad_size={"height": 16, "width": 16},
        )
    )
    return SamModel(config), processor


def _sam2() -> tuple[Any, Any]:
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[64, 64],
        num_attention_heads=1,
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        blocks_per_stage=[1, 2, 1, 1],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[2],
        window_positional_embedding_background_size=[4, 4],
    )
    config = Sam2Config(
        vision_config=Sam2VisionConfig(
            backbone_config=backbone,
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
            fpn_hidden_size=32,
        ),
        prompt_encoder_config=Sam2PromptEncoderConfig(
            hidden_size=32, image_size=64, patch_size=16, mask_input_channels=4
        ),
        mask_decoder_config=Sam2MaskDecoderConfig(hidden_size=32, **DECODER),
        initializer_range=0.3,
    )
    images = Sam2ImageProcessor(
        size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16}
    )
    return Sam2Model(config), Sam2Processor(images)


def _sam2_video() -> tuple[Any, Any]:
    """SAM 2.1's folders hold the video model."""
    model, processor = _sam2()
    parts = {
        key: getattr(model.config, key).to_dict()
        for key in ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    }
    return Sam2VideoModel(Sam2VideoConfig(**parts, **_memory(64, 32))), processor


def _memory(image_size: int, width: int) -> dict[str, Any]:
    """What a video model has beyond an image model."""
    return {
        "image_size": image_size,
        "memory_attention_hidden_size": width,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 16,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_encoder_hidden_size": width,
        "memory_encoder_output_channels": 8,
        "mask_downsampler_embed_dim": width,
        "memory_fuser_num_layers": 1,
        "memory_fuser_embed_dim": width,
        "memory_fuser_intermediate_dim": 16,
    }


def _sam3_tracker() -> tuple[Any, Any]:
    config = Sam3TrackerConfig(
        vision_config=_sam3_vision(),
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 56,
            "patch_size": 14,
            "mask_input_channels": 4,
        },
        mask_decoder_config={"hidden_size": 16, **DECODER},
        initializer_range=0.3,
    )
    images = Sam2ImageProcessor(
        size={"height": 56, "width": 56}, mask_size={"height": 16, "width": 16}
    )
    return Sam3TrackerModel(config), Sam3TrackerProcessor(images)


def _sam3_vision() -> Sam3VisionConfig:
    backbone = Sam3ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        window_size=2,
        global_attn_indexes=[1],
        pretrain_image_size=56,
    )
    return Sam3VisionConfig(
        backbone_config=backbone,
        fpn_hidden_size=16,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<pad>", "<s>", "</s>", "<unk>"],
        show_progress=False,
    )
    bpe.train_from_iterator(["a red dog", "blue squares"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )
