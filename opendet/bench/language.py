"""The small world's "pretrained" language model: a tiny T5 that knows all names as text.

It has met no picture and no text vector. It mends names whose words were dropped or exchanged, the
names that detection training never shows among them: what it knows is what noisy supervision can
damage (../shared/spec/evidence.md, G.2).
"""

from collections.abc import Sequence

import torch
from torch.nn.utils import clip_grad_norm_

from opendet.model.config import NamerConfig
from opendet.model.t5_namer import T5Namer
from opendet.model.tiny_t5 import PAD

# N names of a step, K words of a name

LESSONS = 400
"""Steps."""
NAMES_IN_STEP = 48
LEARNING_RATE = 2e-3
DROPPED = 0.15
"""How many of the words are missing."""


def teach_language(
    names: Sequence[str], config: NamerConfig, *, seed: int, lessons: int = LESSONS
) -> T5Namer:
    """A namer of that config whose T5 has learned the names; of equal names, sizes and seed the
    same bytes, whatever the head. All names have the same number of words."""
    learner = T5Namer.tiny(names, config.model_copy(update={"head": "full"}), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(learner.parameters(), weight_decay=0.0)
    learner.train()
    for step in range(lessons):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / lessons)
        drawn = torch.randint(len(names), (NAMES_IN_STEP,), generator=generator).tolist()
        asked = [names[row] for row in drawn]
        loss = learner.loss(_corrupted(learner, asked, generator), asked)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    learner.t5.lm_head = learner.t5.lm_head.merged()  # a plain layer, as a loaded T5 has
    return T5Namer(learner.t5, learner.tokenizer, config, seed=seed)


def _corrupted(learner: T5Namer, names: Sequence[str], generator: torch.Generator) -> torch.Tensor:
    """Names -> what the T5 reads of them, (N, K, d_model): half of them in another order, and some
    words replaced by padding."""
    ids = learner.encode(names)[:, :-1]  # (N, K) without the end
    order = torch.rand(ids.shape, generator=generator).argsort(1)
    moved = torch.rand(len(ids), 1, generator=generator) < 0.5
    ids = torch.where(moved, ids.gather(1, order), ids)
    dropped = torch.rand(ids.shape, generator=generator) < DROPPED
    pad = int(learner.tokenizer.vocab[PAD])
    embeddings: torch.Tensor = learner.t5.shared(ids.masked_fill(dropped, pad))
    return embeddings
