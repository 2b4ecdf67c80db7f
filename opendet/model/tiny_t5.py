"""A T5 and a tokenizer made on the spot, for builds that have nothing else offline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from opendet.model.config import NamerConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

PAD, END = "<pad>", "</s>"


def train_tokenizer(texts: Sequence[str], *, size: int) -> "PreTrainedTokenizerFast":
    """Byte-pair encoding of the texts' own words; any other text still has its bytes.

    The same texts in whatever order give the same tokenizer. Frequent words become one token.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[PAD, END],
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(texts), trainer)
    end = tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, end)]
    )
    make: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = make(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)
    return made


def build_tiny_t5(config: NamerConfig, *, tokens: int, seed: int) -> "T5ForConditionalGeneration":
    """Random weights from the seed; the caller's random state stays as it was."""
    from transformers import T5Config, T5ForConditionalGeneration

    t5_config = T5Config.from_dict(
        {
            "vocab_size": tokens,
            "d_model": config.tiny_width,
            "d_kv": config.tiny_width // config.tiny_heads,
            "d_ff": config.tiny_feedforward,
            "num_layers": config.tiny_layers,
            "num_decoder_layers": config.tiny_layers,  # `generate` fails with fewer encoder layers
            "num_heads": config.tiny_heads,
            "feed_forward_proj": "gated-gelu",
            "dropout_rate": 0.0,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "decoder_start_token_id": 0,
            "tie_word_embeddings": False,  # FLAN-T5's kind: the decoder's output is not scaled
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        t5 = T5ForConditionalGeneration(t5_config)
    # the library ties the head to embeddings of deviation 1, whose logits begin at a loss of 30
    t5.lm_head.weight = nn.Parameter(t5.shared.weight.detach() * config.tiny_width**-0.5)
    return t5
