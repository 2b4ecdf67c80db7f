"""The language model of the small world."""

import torch

from opendet.bench.arms import namer_config
from opendet.bench.language import teach_language
from opendet.model.t5_namer import T5Namer

FEW = ["red circle", "blue circle", "red star", "blue star"]


def own(namer: T5Namer) -> dict[str, torch.Tensor]:
    return {name: value for name, value in namer.state_dict().items() if "lora" not in name}


def test_it_learns_to_put_words_in_order() -> None:
    namer = teach_language(FEW, namer_config(head="full"), seed=0, lessons=30).eval()
    ids = namer.encode(FEW)[:, :2].flip(1)  # the noun first
    assert [names[0] for names in namer.name(namer.t5.shared(ids).detach())] == FEW


def test_every_arm_begins_with_the_same_bytes_whatever_its_head() -> None:
    full, lora = (
        own(teach_language(FEW, namer_config(head=head), seed=3, lessons=2))  # type: ignore[arg-type]
        for head in ("full", "lora")
    )
    assert full.keys() == lora.keys()
    assert all(torch.equal(full[name], lora[name]) for name in full)


def test_a_frozen_head_is_what_was_taught() -> None:
    namer = teach_language(FEW, namer_config(head="lora"), seed=0, lessons=2)
    trained = {name for name, p in namer.named_parameters() if p.requires_grad}
    assert "t5.lm_head.base" not in trained
    assert {"t5.lm_head.lora_a", "t5.lm_head.lora_b", "t5.shared.weight"} <= trained
