"""Zero-shot detectors of random weights, saved as users' checkpoints are; the same each time."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTImageProcessor,
    OwlViTProcessor,
    PreTrainedTokenizerFast,
    SwinConfig,
)

WORDS = """
a photo of the cat dog bird car red blue green circle square st bernard 7 up wine glass x ray
machine traffic light ' - , / ( ) ! :
"""


def save_tiny_owl(folder: Path, *, version: int) -> Path:
    """OWL-ViT where `version` is 1, OWLv2 where it is 2."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,-' "
    vocabulary = {letter: n + 1 for n, letter in enumerate(letters)}
    # the end has the highest number: that is where these models look for the whole text
    vocabulary |= {"<pad>": 0, "<unk>": 60, "<s>": 62, "</s>": 63}
    bare = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    ends = [(end, vocabulary[end]) for end in ("<s>", "</s>")]
    bare.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=32,
    )
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    settings: dict[str, Any] = {
        "text_config": {
            **small,
            "num_attention_heads": 2,
            "vocab_size": 64,
            "max_position_embeddings": 32,
            "pad_token_id": 0,
            "bos_token_id": 62,
            "eos_token_id": 63,
        },
        "vision_config": {**small, "num_attention_heads": 2, "image_size": 48, "patch_size": 8},
        "projection_dim": 32,
    }
    side = {"height": 48, "width": 48}
    torch.manual_seed(version)
    if version == 1:
        model: Any = OwlViTForObjectDetection(OwlViTConfig(**settings))
        images: Any = OwlViTImageProcessor(size=side, crop_size=side)
        processor: Any = OwlViTProcessor(images, tokenizer)
    else:
        model = Owlv2ForObjectDetection(Owlv2Config(**settings))
        processor = Owlv2Processor(Owlv2ImageProcessor(size=side), tokenizer)
    return _save(folder, _spread(model, 0.2), processor)


def save_tiny_grounding_dino(folder: Path, *, mm: bool, stop: int = 1012) -> Path:
    """MM-Grounding DINO, LLMDet's class too, where `mm`; else Grounding DINO.

    `stop` is the number of the full stop; the model parts names at BERT's, 1012.
    """
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}),
        BertTokenizer(vocab=_bert_vocabulary(stop)),
    )
    swin = SwinConfig(
        embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4, image_size=64
    )
    swin.set_output_features_output_indices(out_indices=[2, 3, 4], out_features=None)
    text = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=1200,
    )
    settings: dict[str, Any] = {
        "backbone_config": swin,
        "text_config": text,
        "d_model": 64,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "num_queries": 12,
    }
    torch.manual_seed(int(mm))
    if mm:
        model: Any = MMGroundingDinoForObjectDetection(MMGroundingDinoConfig(**settings))
    else:
        model = GroundingDinoForObjectDetection(GroundingDinoConfig(**settings))
    return _save(folder, _spread(model, 0.2), processor)


def _bert_vocabulary(stop: int) -> dict[str, int]:
    """The numbers of BERT's own special tokens are written into the model's code."""
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    return special | {".": stop, "?": 1029} | {w: 1030 + n for n, w in enumerate(WORDS.split())}


def _spread(model: Any, deviation: float) -> Any:
    """Larger weights than usual, so that an untrained model tells things apart."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=deviation)
    return model


def _save(folder: Path, model: Any, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
