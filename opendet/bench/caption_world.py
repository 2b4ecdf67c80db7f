"""Captions of the small world's scenes, and a language model that has learned to write such.

A caption goes through a scene as one reads a page, on a grid of G x G cells: "a red circle left of
a blue square above a green star". N texts of a step, K = G * G slots, H the language model's width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from opendet.bench.synthetic import LEAST_OBJECTS, MOST_OBJECTS, NAMES, SIDE, SceneSet
from opendet.data.batch import Batch
from opendet.model.causal_language import CausalLanguage
from opendet.model.tiny_t5 import train_tokenizer

GRID = 6
"""G: cells of 16 pixels."""
PROMPT = "Describe the image in detail."
TEXTS_IN_STEP = 32
LEARNING_RATE = 2e-3
NOISE = 0.3
"""Deviation of what the model reads, in units of its word embeddings' own."""
LONGEST = 48
"""Tokens: eight objects of five words and the end have 45 at most."""

_SIZES: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}


@dataclass(frozen=True)
class CaptionedScenes(SceneSet):
    """Scenes with a caption each."""

    captions: tuple[str, ...] = ()

    def batch(self, rows: Sequence[int]) -> Batch:
        plain = super().batch(rows)
        told = zip(plain.targets, rows, strict=True)
        targets = tuple(replace(target, caption=self.captions[row]) for target, row in told)
        return replace(plain, targets=targets)


def captioned(scenes: SceneSet) -> CaptionedScenes:
    """The scenes with captions made from the truth."""
    captions = tuple(
        caption_of(names, cells_of(boxes))
        for names, boxes in zip(scenes.names, scenes.boxes_xyxy, strict=True)
    )
    return CaptionedScenes(
        scenes.split, scenes.images, scenes.boxes_xyxy, scenes.names, captions=captions
    )


def cells_of(boxes_xyxy: NDArray[np.float32]) -> list[int]:
    """The cell of each box's centre, counted row by row."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    columns, rows = (centres * GRID / SIDE).astype(int).clip(0, GRID - 1).T
    return [int(cell) for cell in rows * GRID + columns]


def caption_of(names: Sequence[str], cells: Sequence[int]) -> str:
    """Objects in the order of their cells; those of one row are left of one another."""
    order = sorted(range(len(names)), key=lambda number: (cells[number], names[number]))
    said = ""
    for last, number in zip([None, *order], order, strict=False):
        if last is not None:
            same_row = cells[last] // GRID == cells[number] // GRID
            said += " left of " if same_row else " above "
        said += f"a {names[number]}"
    return said


def teach_writer(*, seed: int, lessons: int) -> CausalLanguage:
    """A tiny Llama that has met no picture. It has learned to write a caption from a grid of slots
    that hold an object's two words at once, or nothing: as a large model tells what a list says.

    All 64 names are equally frequent there: it knows as text what detection never shows.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer: Any = train_tokenizer(
        [*NAMES, f"a {NAMES[0]} left of a {NAMES[1]} above", f"\n{PROMPT}\n"], size=400
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LlamaConfig.from_dict({**_SIZES, "vocab_size": len(tokenizer)})
        model: Any = LlamaForCausalLM(config)
    language = CausalLanguage(model, tokenizer)
    _learn(language, model.requires_grad_(requires_grad=True), tokenizer, seed, lessons)
    return CausalLanguage(model, tokenizer)


def _learn(language: CausalLanguage, model: Any, tokenizer: Any, seed: int, lessons: int) -> None:
    rng = np.random.default_rng([seed, 1])
    told = tokenizer(list(NAMES), add_special_tokens=False)["input_ids"]
    words = torch.tensor(told)  # (64, 2): colour and shape have one token each
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    for step in range(lessons):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / lessons)
        drawn = [_text_scene(rng) for _ in range(TEXTS_IN_STEP)]
        read = _slots(model, words, drawn)
        deviation = NOISE * model.get_input_embeddings().weight.detach().std()
        noise = torch.from_numpy(rng.standard_normal(read.shape, dtype=np.float32))
        captions = [caption_of([NAMES[kind] for kind in kinds], cells) for kinds, cells in drawn]
        sums, counts = language.losses(read + deviation * noise, PROMPT, captions, longest=LONGEST)
        (sums.sum() / counts.sum()).backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _text_scene(rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Numbers of names and the cells that they are in, no cell twice."""
    count = int(rng.integers(LEAST_OBJECTS, MOST_OBJECTS, endpoint=True))
    kinds = rng.integers(len(NAMES), size=count)
    return kinds.tolist(), rng.permutation(GRID**2)[:count].tolist()


def _slots(model: Any, words: Tensor, scenes: Sequence[tuple[list[int], list[int]]]) -> Tensor:
    """(N, K, H) the mean of an object's words where there is one, padding elsewhere."""
    embed = model.get_input_embeddings()
    objects = embed(words).mean(1)  # (64, H)
    nothing = embed(torch.zeros(1, dtype=torch.int64))  # the padding's
    slots = torch.full((len(scenes), GRID**2), len(NAMES))
    for row, (kinds, cells) in zip(slots, scenes, strict=True):
        row[cells] = torch.tensor(kinds)
    return torch.cat((objects, nothing))[slots]
