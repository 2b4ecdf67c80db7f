"""What is trained around a language model: what it holds, what it reaches, what has no lesson."""

from typing import Literal

import pytest
import torch

from opendet.model.captioner import Captioner
from opendet.model.image_tokens import Grid
from opendet.model.look_back import View
from opendet.model.outputs import DetectorOutput
from opendet.model.t5_language import T5Language
from tests.model.language_worlds import WIDTH, tiny_language
from tests.model.worlds import TINY_DETECTOR, build_detector, build_namer

GRIDS = (Grid(2, 2), Grid(1, 3))
PROMPT = "Describe the image in detail."
Kind = Literal["causal", "t5"]


def captioner_of(
    kind: Kind = "causal", *, look_backs: int | None = 1, lora: bool = False
) -> Captioner:
    language = tiny_language() if kind == "causal" else T5Language(build_namer())
    if lora:
        language.correct(("q_proj",), rank=2, alpha=4, seed=0)  # type: ignore[union-attr]
    torch.manual_seed(0)
    return Captioner(language, TINY_DETECTOR, grids=GRIDS, look_backs=look_backs)


def seen(images: int = 2) -> DetectorOutput:
    detector = build_detector().train()
    torch.manual_seed(1)
    output: DetectorOutput = detector(
        torch.rand(images, 3, 64, 64), torch.tensor([[64, 64], [40, 64]])[:images]
    )
    output.memory.tokens.retain_grad()
    return output


def images(captioner: Captioner, output: DetectorOutput, texts: list[str]) -> torch.Tensor:
    places = list(range(len(texts)))
    sums, _ = captioner.describe_images(output.memory, places, texts, prompt=PROMPT, longest=9)
    return sums


def regions(captioner: Captioner, output: DetectorOutput) -> torch.Tensor:
    places = torch.tensor([0, 1, 1])
    boxes = output.boxes_cxcywh[places, torch.tensor([0, 0, 1])]
    queries = output.queries[places, torch.tensor([0, 0, 1])]
    view = View(output.memory, places, boxes)
    texts = ["a red star", "a ring", "a disc"]
    sums, _ = captioner.describe_regions(view, queries, texts, prompt=PROMPT, longest=9)
    return sums


def test_its_state_has_nothing_of_the_language_model() -> None:
    names = captioner_of(lora=True).state_dict().keys()
    parts = {name.split(".")[0] for name in names}
    assert parts == {"image", "region", "look_backs", "corrections"}
    assert all("lora_" in name for name in names if name.startswith("corrections"))
    assert {name.split(".")[0] for name in captioner_of("t5").state_dict()} == parts - {
        "corrections"
    }
    assert captioner_of(look_backs=None).region is None
    bare = captioner_of(look_backs=0)
    assert not any(name.startswith("look_backs") for name in bare.state_dict())


@pytest.mark.parametrize("kind", ["causal", "t5"])
def test_both_objectives_teach_the_detector_and_all_of_their_own(kind: Kind) -> None:
    captioner, output = captioner_of(kind, lora=kind == "causal"), seen()
    images(captioner, output, ["a red star left of a ring", "a disc"]).sum().backward(
        retain_graph=True
    )
    gradient = output.memory.tokens.grad
    assert gradient is not None
    assert (gradient.abs().sum((1, 2)) > 0).all()
    assert {name.split(".")[0] for name, p in captioner.named_parameters() if p.grad is None} == {
        "region",
        "look_backs",
    }
    regions(captioner, output).sum().backward()
    assert all(p.grad is not None for p in captioner.parameters())
    assert all(p.grad.isfinite().all() for p in captioner.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", ["causal", "t5"])
def test_a_region_without_the_look_back_costs_the_same_at_the_start(kind: Kind) -> None:
    with_looks, without, output = captioner_of(kind), captioner_of(kind, look_backs=0), seen()
    without.region.load_state_dict(with_looks.region.state_dict())  # type: ignore[union-attr]
    plain, looking = regions(without, output), regions(with_looks, output)
    assert torch.equal(plain, looking)
    torch.nn.init.normal_(with_looks.look_backs[0].widen.weight)
    assert not torch.equal(plain, regions(with_looks, output))


def test_without_a_text_all_of_a_part_is_still_reached() -> None:
    captioner, output = captioner_of(lora=True), seen()
    sums, counts = captioner.describe_images(output.memory, [], [], prompt=PROMPT, longest=9)
    assert (sums.shape, counts.shape, sums.sum().item()) == ((0,), (0,), 0)
    sums.sum().backward()
    none = torch.zeros(0, dtype=torch.int64)
    view = View(output.memory, none, torch.zeros(0, 4))
    sums, _ = captioner.describe_regions(view, torch.zeros(0, 32), [], prompt=PROMPT, longest=9)
    sums.sum().backward()
    for parameter in captioner.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_a_caption_is_of_its_own_image() -> None:
    captioner, output = captioner_of(), seen()
    texts = ["a red star", "a red star"]
    sums = images(captioner, output, texts).detach()
    assert abs(sums[0] - sums[1]) > 1e-4
    second, _ = captioner.describe_images(
        output.memory, [1], ["a red star"], prompt=PROMPT, longest=9
    )
    torch.testing.assert_close(second[0].detach(), sums[1])


def test_the_projectors_are_what_is_between_detector_and_language_model() -> None:
    captioner = captioner_of(lora=True)
    own = {id(parameter) for parameter in captioner.projectors()}
    named = {name.split(".")[0] for name, p in captioner.named_parameters() if id(p) in own}
    others = {name.split(".")[0] for name, p in captioner.named_parameters() if id(p) not in own}
    assert (named, others) == ({"image", "region"}, {"look_backs", "corrections"})


def test_a_t5_reads_the_prompt_and_trains_as_the_namer_does() -> None:
    namer = build_namer()
    language = T5Language(namer)
    asked = len(namer.tokenizer(PROMPT)["input_ids"])
    assert language.room(5, PROMPT, most=300) == 300 - 5 - asked
    read = torch.randn(1, 5, WIDTH, requires_grad=True)
    sums, counts = language.losses(read, PROMPT, ["red plain star"], longest=20)
    labels = namer.encode(["red plain star"], longest=20)
    asked_ids = namer.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    embeddings = torch.cat((read, namer.t5.shared(asked_ids)), 1)
    expected = namer.t5(inputs_embeds=embeddings, labels=labels).loss
    assert counts.tolist() == [labels.shape[1]]
    torch.testing.assert_close(sums / counts, expected[None])
    other, _ = language.losses(read, "Describe it.", ["red plain star"], longest=20)
    assert not torch.equal(sums, other)
    sums.sum().backward()
    assert read.grad is not None
    assert namer.t5.shared.weight.grad is not None
    assert namer.head.base.grad is None  # a LoRA head's
