"""What a caption costs, against the library's own loss; padding, cuts, frames and corrections."""

import copy
from typing import Any

import pytest
import torch

from opendet.model.causal_language import CausalLanguage
from tests.model.language_worlds import CHAT, WIDTH, Family, tiny_language, tiny_tokenizer

PROMPT = "Describe the image in detail."
TEXT = "a red star left of a blue ring"


def tokens_of(count: int, length: int = 3) -> torch.Tensor:
    return torch.randn(count, length, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("chat_template", [None, CHAT], ids=["plain", "chat"])
def test_it_is_the_library_s_own_loss(family: Family, chat_template: str | None) -> None:
    """With the library's labels over one sequence that this test writes out."""
    language = tiny_language(family, chat_template=chat_template)
    model: Any = language._model
    tokenizer: Any = language._tokenizer
    before = "<s>user\n" if chat_template else "<s>" if family == "llama" else ""
    after = f"\n{PROMPT}</s>\n<s>assistant\n" if chat_template else f"\n{PROMPT}\n"
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, after, TEXT)]
    head, tail, words = (torch.tensor(it, dtype=torch.int64) for it in ids)
    words = torch.cat((words, torch.tensor([tokenizer.eos_token_id])))
    embed, read = model.get_input_embeddings(), tokens_of(1)
    embeddings = torch.cat((embed(head), read[0], embed(tail), embed(words)))[None]
    labels = torch.full(embeddings.shape[:2], -100)
    labels[:, -len(words) :] = words
    expected = model(inputs_embeds=embeddings, labels=labels).loss
    sums, counts = language.losses(read, PROMPT, [TEXT], longest=50)
    assert counts.tolist() == [len(words)]
    torch.testing.assert_close(sums / counts, expected[None])
    assert language.room(3, PROMPT, most=200) == 200 - 3 - len(head) - len(tail)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_costs_the_same_in_any_company(side: str) -> None:
    language = tiny_language()
    language._tokenizer.padding_side = side
    read = tokens_of(3)
    texts = [TEXT, "a green disc", "a"]
    sums, counts = language.losses(read, PROMPT, texts, longest=50)
    for number, text in enumerate(texts):
        alone, count = language.losses(read[number : number + 1], PROMPT, [text], longest=50)
        torch.testing.assert_close(sums[number], alone[0])
        assert counts[number] == count[0]


def test_a_cut_text_does_not_end_and_costs_what_its_beginning_does() -> None:
    language = tiny_language()
    read = tokens_of(1)
    whole = language._labels([TEXT], 50)[0].tolist()
    assert whole[-1] == 2
    assert language._labels([TEXT], 4)[0].tolist() == whole[:4]
    _, counts = language.losses(read, PROMPT, [TEXT], longest=4)
    assert counts.tolist() == [4]
    end = language._labels([TEXT], len(whole))[0]
    assert end[-1] == 2  # the end fits in just so


def test_what_is_read_matters_and_gets_the_gradient_the_weights_none() -> None:
    language = tiny_language()
    read = tokens_of(1).requires_grad_()
    sums, _ = language.losses(read, PROMPT, [TEXT], longest=50)
    other, _ = language.losses(read.detach() + 1, PROMPT, [TEXT], longest=50)
    assert (sums - other).abs().item() > 1e-3
    sums.sum().backward()
    assert read.grad is not None
    assert (read.grad.abs().sum(-1) > 0).all()
    assert all(p.grad is None and not p.requires_grad for p in language._model.parameters())
    assert not language._model.training


def test_corrections_begin_at_nothing_and_are_all_that_is_trained() -> None:
    language = tiny_language()
    read = tokens_of(1)
    before, _ = language.losses(read, PROMPT, [TEXT], longest=50)
    language.correct(("q_proj", "down_proj"), rank=2, alpha=4, seed=0)
    assert len(language.corrections) == 3 * 2 * 2  # layers, names, A and B
    after, _ = language.losses(read, PROMPT, [TEXT], longest=50)
    assert torch.equal(before, after)
    after.sum().backward()
    trained = {id(p) for p in language._model.parameters() if p.requires_grad}
    assert trained == {id(p) for p in language.corrections.values()}
    assert all(p.grad is not None for p in language.corrections.values())
    with torch.no_grad():
        for parameter in language.corrections.values():
            parameter += 0.1
    changed, _ = language.losses(read, PROMPT, [TEXT], longest=50)
    assert (changed - before).abs().item() > 1e-3  # the registered tensors are the model's


def test_corrections_stay_the_model_s_when_both_move_or_are_copied() -> None:
    language = tiny_language()
    language.correct(("q_proj",), rank=2, alpha=4, seed=0)
    twin = copy.deepcopy(language)
    for one in (language, twin):
        one.corrections.to(torch.float64)
        own = {id(p) for p in one._model.parameters() if p.requires_grad}
        assert own == {id(p) for p in one.corrections.values()}
        assert {p.dtype for p in one._model.parameters() if p.requires_grad} == {torch.float64}
    shared = zip(language.corrections.values(), twin.corrections.values(), strict=True)
    assert not any(one is other for one, other in shared)


def test_weights_in_bfloat16_learn_corrections_in_float32() -> None:
    language = tiny_language()
    language._model.to(torch.bfloat16)
    language.correct(("q_proj", "up_proj"), rank=2, alpha=4, seed=0)
    assert {p.dtype for p in language.corrections.values()} == {torch.float32}
    read = tokens_of(2).requires_grad_()
    sums, _ = language.losses(read, PROMPT, [TEXT, "a green disc"], longest=50)
    assert sums.dtype == torch.float32
    sums.sum().backward()
    assert read.grad is not None
    assert read.grad.isfinite().all()
    exact, _ = tiny_language().losses(read, PROMPT, [TEXT, "a green disc"], longest=50)
    torch.testing.assert_close(sums, exact, rtol=0.03, atol=0)


def test_a_language_model_that_does_not_serve_is_one_line() -> None:
    language = tiny_language()
    with pytest.raises(ValueError, match=r"no linear layer called proj_q or proj_k$"):
        language.correct(("proj_q", "proj_k"), rank=2, alpha=4, seed=0)
    with pytest.raises(ValueError, match=r"reads at most 256 tokens, not 257$"):
        language.room(3, PROMPT, most=257)
    with pytest.raises(ValueError, match=r"chat template leaves the user's words out$"):
        tiny_language(chat_template="<s>assistant").room(3, PROMPT, most=100)
    plain = torch.nn.Linear(2, 2)
    plain.config = object()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"^a Linear shows no layers"):
        CausalLanguage(plain, tiny_tokenizer(None, begin=True))  # type: ignore[arg-type]
    endless = tiny_tokenizer(None, begin=True)
    endless.eos_token = None
    with pytest.raises(ValueError, match="no end token"):
        CausalLanguage(language._model, endless)
