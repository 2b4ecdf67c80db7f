"""Causal language models of a few thousand random weights, saved as users' are."""

from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from opendet.model.causal_language import CausalLanguage

CAPTIONS = (
    "a red star left of a blue ring",
    "a green disc",
    "Describe the image in detail. Describe the region in a phrase.",
)
CHAT = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>\n"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
Family = Literal["llama", "qwen2"]
WIDTH = 32


def tiny_tokenizer(chat_template: str | None, *, begin: bool) -> PreTrainedTokenizerFast:
    """Letters and a few words; with `begin` a text begins with `<s>`, as Llama's do."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<pad>", "<s>", "</s>"],
        show_progress=False,
    )
    bpe.train_from_iterator(CAPTIONS, trainer)
    if begin:
        bpe.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def tiny_model(family: Family, vocabulary: int, *, layers: int = 3) -> torch.nn.Module:
    """Weights large enough that each context gives other logits."""
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        if family == "llama":
            return LlamaForCausalLM(LlamaConfig(**sizes))
        return Qwen2ForCausalLM(Qwen2Config(**sizes, tie_word_embeddings=True))


def save_tiny_language(
    folder: Path, family: Family = "llama", *, chat_template: str | None = None
) -> Path:
    tokenizer = tiny_tokenizer(chat_template, begin=family == "llama")
    tiny_model(family, len(tokenizer)).save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save_pretrained(folder)
    return folder


def tiny_language(
    family: Family = "llama", *, chat_template: str | None = None, layers: int = 3
) -> CausalLanguage:
    tokenizer = tiny_tokenizer(chat_template, begin=family == "llama")
    return CausalLanguage(tiny_model(family, len(tokenizer), layers=layers), tokenizer)  # type: ignore[arg-type]
