"""The object name generator: a T5 that reads one prompt per object and writes its name.

The head is ours. A T5 of transformers 5 ties `lm_head` to `shared` whatever its config says, and
loading an untied checkpoint into a tied model overwrites the input embeddings in silence
(spec/open_det.md A.2). Our head holds its own matrix under a name, `base`, that nothing else ties,
and a namer is saved and loaded as exactly its own tensors.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.config import NamerConfig
from opendet.model.lora import LoraLinear
from opendet.model.name_search import NEVER, Found, generate_names, join, search_names
from opendet.model.naming import Objects, ScoredName
from opendet.model.tiny_t5 import build_tiny_t5, train_tokenizer
from opendet.pretrained import load_whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

# N objects, D_t the prompts' width, T tokens of a name, V vocabulary

WEIGHTS_FILE = "namer.safetensors"
CONFIG_FILE = "namer.json"
FILES = (CONFIG_FILE, "config.json", "tokenizer.json", "tokenizer_config.json")
"""What a saved folder holds beside the weights. The library makes up some that it does not find."""
IGNORED = -100
"""The label that the library's cross-entropy skips."""
BEAMS_AT_ONCE = 512
"""Beams that are searched together; 0.5 GB of them for a T5 of FLAN-T5-base's size."""


class T5Namer(nn.Module):
    """Prompts in, names out."""

    def __init__(
        self,
        t5: "T5ForConditionalGeneration",
        tokenizer: "PreTrainedTokenizerFast",
        config: NamerConfig,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.t5 = t5
        rank = config.lora_rank if config.head == "lora" else 0
        own_head: Any = LoraLinear(t5.lm_head.weight, rank=rank, alpha=config.lora_alpha, seed=seed)
        t5.lm_head = own_head
        width: int = t5.config.d_model
        self.prompt_width = config.prompt_width or width
        self.project = (
            nn.Identity()
            if self.prompt_width == width
            else nn.Linear(self.prompt_width, width, bias=False)
        )
        # a T5 expects embeddings as long as its own, prompts are unit vectors
        self.scale = nn.Parameter(t5.shared.weight.detach().norm(dim=-1).mean())

    def loss(self, prompts: Tensor, names: Sequence[str]) -> Tensor:
        """Mean cross-entropy of the names' tokens; zero, and connected, for no objects."""
        sums, tokens = self.losses(prompts, names)
        return sums.sum() / tokens.sum().clamp(min=1)

    def losses(
        self, prompts: Tensor, names: Sequence[str], *, longest: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Each object's summed cross-entropy (N,) and its number of tokens (N,), both float32.

        prompts (N, D_t), or (N, K, D_t) where an object has K, of any length; N names, cut after
        `longest` tokens, the config's `max_new_tokens` where none is given. With no objects both
        are empty, and the sums still lead to the prompts and to every trained weight.
        """
        assert len(prompts) == len(names), (prompts.shape, len(names))
        if not names:
            # a rank that has nothing to name must still give every parameter a gradient
            trained = [p for p in self.parameters() if p.requires_grad]
            nothing = torch.stack([p.sum() for p in (prompts, *trained)]).sum() * 0.0
            empty = torch.zeros(0, device=prompts.device)
            return nothing.float() + empty, empty
        labels = self.encode(names, longest=longest).to(prompts.device)
        hidden = self._decode(self.embed(prompts), labels)
        real = labels != IGNORED  # the head is the widest product: padding does not go through it
        logits = self.head(hidden[real]).float()  # (tokens, V)
        each = functional.cross_entropy(logits, labels[real], reduction="none")
        sums = torch.zeros_like(labels, dtype=each.dtype).masked_scatter(real, each).sum(dim=1)
        return sums, real.sum(dim=1).float()

    def _decode(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """What the head reads of (N, K, d_model) where the labels (N, T) are given to it."""
        t5: Any = self.t5
        mask = embeddings.new_ones(embeddings.shape[:2])
        encoded = t5.encoder(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
        hidden: Tensor = t5.decoder(
            input_ids=t5.prepare_decoder_input_ids_from_labels(labels),
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
        return hidden * t5.model_dim**-0.5 if t5.config.scale_decoder_outputs else hidden

    def name(self, prompts: Tensor, beams: int | None = None) -> list[list[str]]:
        """prompts (N, D_t) or (N, K, D_t) -> for each object its names, the likeliest first.

        As many as there are beams; the config's number where none is given. What `generate` in
        transformers says, in a fraction of its time where an object has one token. A name that
        has not ended after `max_new_tokens` is cut there. Raises ValueError where a prompt or a
        weight is not a number.
        """
        return [[name.text for name in names] for names in self.name_scored(prompts, beams)]

    def name_objects(self, objects: Objects, *, count: int | None = None) -> list[list[ScoredName]]:
        """As every namer does; `count` is the number of beams."""
        return self.name_scored(objects.prompts, count)

    @torch.no_grad()
    def name_scored(self, prompts: Tensor, beams: int | None = None) -> list[list[ScoredName]]:
        """As `name`, and how likely each is."""
        beams = beams or self.config.beams
        if not len(prompts):
            return []
        _check_finite(prompts)
        unique, back = torch.unique(prompts.float(), dim=0, return_inverse=True)
        found = self._search(self.embed(unique), beams)
        if not (found.log_probs > NEVER).all():  # which NaN is not either
            raise ValueError(
                "the namer's weights give NaN for a prompt that is a number: "
                "load the checkpoint before, or export the model again"
            )
        texts = self.tokenizer.batch_decode(found.tokens.flatten(0, 1), skip_special_tokens=True)
        flat = zip(texts, found.log_probs.flatten().tolist(), strict=True)
        scored = [ScoredName(" ".join(text.split()), log_prob) for text, log_prob in flat]
        return [scored[beams * i : beams * (i + 1)] for i in back.tolist()]

    def _search(self, embeddings: Tensor, beams: int) -> Found:
        """The names of (N, K, d_model), in pieces that fit into memory."""
        steps = self.config.max_new_tokens
        pieces = torch.split(embeddings, max(1, BEAMS_AT_ONCE // beams))
        if embeddings.shape[1] > 1:
            return join([generate_names(self.t5, it, beams=beams, steps=steps) for it in pieces])
        return join([search_names(self.t5, it[:, 0], beams=beams, steps=steps) for it in pieces])

    def embed(self, prompts: Tensor) -> Tensor:
        """(N, D_t) or (N, K, D_t) -> what the encoder reads, (N, K, d_model), K = 1 by default."""
        unit = functional.normalize(prompts.float(), dim=-1)
        embeddings: Tensor = self.scale * self.project(unit)
        return embeddings[:, None] if prompts.dim() == 2 else embeddings

    def encode(self, names: Sequence[str], *, longest: int | None = None) -> Tensor:
        """Labels (N, T) int64 with the end token, `IGNORED` where padded."""
        encoded = self.tokenizer(
            list(names),
            padding=True,
            truncation=True,
            max_length=longest or self.config.max_new_tokens,
            return_tensors="pt",
        )
        ids: Tensor = encoded["input_ids"]
        mask: Tensor = encoded["attention_mask"]
        return ids.masked_fill(mask == 0, IGNORED)

    @property
    def head(self) -> LoraLinear:
        """Hidden states (..., d_model) -> logits (..., V)."""
        head: Any = self.t5.lm_head
        assert isinstance(head, LoraLinear)
        return head

    def unfreeze_head(self) -> None:
        """Train all of the head from here on; call it again after loading a checkpoint of later.

        Nothing changes in what the namer says or in the names of its tensors.
        """
        self.head.unfreeze()

    def merge_head(self) -> None:
        """Make the head one plain matrix, for the export: the config says `full` then."""
        self.head.merge()
        self.config = self.config.model_copy(update={"head": "full"})

    def save(self, folder: Path) -> None:
        """Write weights, T5 config, tokenizer and the namer's config into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        # a tied checkpoint scales the decoder's output; the flag is all that the config keeps of it
        self.t5.config.tie_word_embeddings = self.t5.config.scale_decoder_outputs
        self.t5.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / CONFIG_FILE).write_text(self.config.model_dump_json(indent=2), "utf-8")
        save_file(_own_tensors(self), folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, folder: Path) -> "T5Namer":
        """A namer that `save` wrote, equal to it bit for bit."""
        if not (folder / WEIGHTS_FILE).is_file():
            raise ValueError(f"{folder}: no namer there, {WEIGHTS_FILE} is missing")
        namer = cls.empty(folder)
        with _damage_named(folder):
            namer.load_own(load_file(folder / WEIGHTS_FILE))
        return namer

    @classmethod
    def empty(cls, folder: Path) -> "T5Namer":
        """The namer of a saved folder with fresh weights, for a checkpoint that has its own.

        Raises ValueError, in one line that names the folder, for a damaged one.
        """
        from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

        with _damage_named(folder):
            if missing := [name for name in FILES if not (folder / name).is_file()]:
                raise FileNotFoundError(f"{missing[0]} is missing")
            # a folder of before there were adapters does not tell its head
            told = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
            config = NamerConfig(**{"head": "full", **told})
            t5_config = T5Config.from_pretrained(folder)
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            return cls(T5ForConditionalGeneration(t5_config), tokenizer, config)

    def load_own(self, tensors: dict[str, Tensor]) -> None:
        """Copy every parameter, all of them and nothing else."""
        own = _own_tensors(self)
        if own.keys() != tensors.keys():
            odd = sorted(own.keys() ^ tensors.keys())
            raise ValueError(f"namer weights do not fit: {odd[0]} and {len(odd) - 1} more differ")
        with torch.no_grad():
            for name, tensor in self.named_parameters():
                tensor.copy_(tensors[name])

    @classmethod
    def tiny(cls, texts: Sequence[str], config: NamerConfig, *, seed: int = 0) -> "T5Namer":
        """A small untrained T5 whose tokenizer is made from `texts`, the same for the same seed."""
        tokenizer = train_tokenizer(texts, size=config.tiny_vocabulary)
        t5 = build_tiny_t5(config, tokens=len(tokenizer), seed=seed)
        return cls(t5, tokenizer, config, seed=seed)

    @classmethod
    def from_pretrained(cls, path: str, config: NamerConfig) -> "T5Namer":
        """A T5 of the Hugging Face hub, at `t5_revision`, or a folder of one."""
        from transformers import AutoTokenizer, T5ForConditionalGeneration

        revision = config.t5_revision or "main"
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(
                path, revision=revision, trust_remote_code=False
            )
            t5 = load_whole(T5ForConditionalGeneration, path, revision=revision)
        except (OSError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
            # the library meets another model's folder with whatever its loading stumbles over
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"namer.t5: no T5 at `{path}`; give `tiny`, a folder or a hub name "
                f"(which needs the network once): {reason}"
            ) from error
        return cls(t5, tokenizer, config)


@contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    """What the block stumbles over in a saved folder, in one line that names it."""
    try:
        yield
    except Exception as error:  # the libraries meet a damaged file with errors of every kind
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{folder} is damaged ({reason}): take the model from its source again"
        ) from error


def _check_finite(prompts: Tensor) -> None:
    finite = prompts.flatten(1).isfinite().all(dim=1)
    if not finite.all():
        first = int((~finite).nonzero()[0, 0])
        raise ValueError(
            f"prompt {first} of {len(prompts)} is not finite: its image or the detector's weights "
            "hold NaN"
        )


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Each parameter once: T5's embedding goes by three names."""
    return {name: value.detach().contiguous() for name, value in module.named_parameters()}
