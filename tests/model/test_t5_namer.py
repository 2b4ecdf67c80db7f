import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from lacking import lacking
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

from opendet.model.t5_namer import FILES, IGNORED, WEIGHTS_FILE, T5Namer
from opendet.model.tiny_t5 import train_tokenizer
from opendet.train.weights import load_tensors, own_tensors
from tests.model.worlds import NAMES, TINY_NAMER, build_namer

FULL_HEAD = TINY_NAMER.model_copy(update={"head": "full"})


def _prompts(count: int, width: int = 32) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(count, width)


def test_loss_is_the_librarys() -> None:
    namer = build_namer()
    prompts = _prompts(4)
    config = T5Config.from_dict({**namer.t5.config.to_dict(), "tie_word_embeddings": False})
    theirs = T5ForConditionalGeneration(config)
    theirs.lm_head.weight = torch.nn.Parameter(namer.t5.lm_head.base.detach().clone())
    state = {k: v for k, v in namer.t5.state_dict().items() if not k.startswith("lm_head")}
    theirs.load_state_dict(state, strict=False)
    expected = theirs(inputs_embeds=namer.embed(prompts), labels=namer.encode(NAMES)).loss
    torch.testing.assert_close(namer.loss(prompts, NAMES), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(4, 32), (4, 3, 32)])
def test_losses_of_objects_add_up_to_the_loss(shape: tuple[int, ...]) -> None:
    namer, prompts = build_namer(), torch.randn(shape, generator=torch.Generator().manual_seed(5))
    sums, tokens = namer.losses(prompts, NAMES)
    assert tokens.tolist() == [int((namer.encode([name]) != IGNORED).sum()) for name in NAMES]
    torch.testing.assert_close(sums.sum() / tokens.sum(), namer.loss(prompts, NAMES))
    for i, name in enumerate(NAMES):  # neighbours and padding say nothing
        alone, count = namer.losses(prompts[i : i + 1], [name])
        torch.testing.assert_close(alone[0], sums[i])
        assert count[0] == tokens[i]


def test_save_and_load_are_equal_bit_for_bit(tmp_path: Path) -> None:
    namer = build_namer()
    with torch.no_grad():
        namer.t5.shared.weight.add_(1.0)  # head and embedding differ now
    namer.save(tmp_path)
    loaded = T5Namer.load(tmp_path)
    assert torch.equal(loaded.t5.shared.weight, namer.t5.shared.weight)
    assert torch.equal(loaded.t5.lm_head.base, namer.t5.lm_head.base)
    assert not torch.equal(loaded.t5.lm_head.base, loaded.t5.shared.weight)
    assert torch.equal(loaded.t5.decoder.embed_tokens.weight, loaded.t5.shared.weight)
    assert torch.equal(loaded.loss(_prompts(4), NAMES), namer.loss(_prompts(4), NAMES))
    assert loaded.name(_prompts(3)) == namer.name(_prompts(3))
    assert loaded.t5.config.scale_decoder_outputs == namer.t5.config.scale_decoder_outputs


def test_training_the_head_leaves_the_embedding() -> None:
    namer = build_namer()
    before = namer.t5.shared.weight.detach().clone()
    with torch.no_grad():
        namer.t5.lm_head.base.zero_()
    assert torch.equal(namer.t5.shared.weight, before)


@pytest.mark.parametrize("scaled", [True, False])
def test_pretrained_folder_keeps_head_and_scaling(tmp_path: Path, scaled: bool) -> None:
    source = build_namer()
    config = T5Config.from_dict(
        {
            **source.t5.config.to_dict(),
            "tie_word_embeddings": scaled,
            "scale_decoder_outputs": scaled,
        }
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    source.tokenizer.save_pretrained(tmp_path)
    namer = T5Namer.from_pretrained(str(tmp_path), TINY_NAMER)
    assert namer.t5.config.scale_decoder_outputs is scaled
    namer.save(tmp_path / "again")
    again = T5Namer.load(tmp_path / "again")
    assert again.t5.config.scale_decoder_outputs is scaled
    assert torch.equal(again.loss(_prompts(4), NAMES), namer.loss(_prompts(4), NAMES))


def test_names_come_in_beams_and_do_not_depend_on_their_neighbours() -> None:
    namer = build_namer().eval()
    prompts = _prompts(5)
    names = namer.name(prompts)
    assert [len(beams) for beams in names] == [2] * 5
    assert namer.name(prompts[3:4])[0] == names[3]
    assert namer.name(prompts[:0]) == []
    assert [len(beams) for beams in namer.name(prompts, beams=1)] == [1] * 5


@pytest.mark.parametrize("shape", [(0, 32), (0, 10, 32)])
def test_no_objects_cost_nothing_and_stay_connected(shape: tuple[int, ...]) -> None:
    namer, prompts = build_namer(), torch.zeros(shape, requires_grad=True)
    sums, tokens = namer.losses(prompts, [])
    assert sums.shape == tokens.shape == (0,)
    assert namer.loss(prompts, []) == 0
    sums.sum().backward()  # type: ignore[no-untyped-call]
    assert prompts.grad is not None
    for name, parameter in namer.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert not parameter.grad.any(), name


def test_a_few_steps_teach_names() -> None:
    namer = build_namer()
    prompts = _prompts(4)
    optimiser = torch.optim.AdamW(namer.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        namer.loss(prompts, NAMES).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert [beams[0] for beams in namer.name(prompts)] == list(NAMES)


def test_prompts_of_another_width_are_projected() -> None:
    namer = build_namer(TINY_NAMER.model_copy(update={"prompt_width": 20}))
    assert namer.prompt_width == 20
    assert namer.embed(_prompts(3, 20)).shape == (3, 1, 32)


def test_length_of_a_prompt_says_nothing() -> None:
    namer = build_namer()
    torch.testing.assert_close(namer.embed(_prompts(3)), namer.embed(7 * _prompts(3)))


def test_tokenizer_is_the_same_for_texts_in_any_order() -> None:
    first = train_tokenizer(NAMES, size=400).backend_tokenizer.to_str()
    second = train_tokenizer(NAMES[::-1], size=400).backend_tokenizer.to_str()
    assert first == second


def test_words_are_tokens_and_other_text_survives() -> None:
    tokenizer = train_tokenizer(NAMES, size=2048)
    assert len(tokenizer("striped star")["input_ids"]) == 3  # two words and the end
    ids = tokenizer("Müller's 茶")["input_ids"]
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert isinstance(text, str)
    assert text.strip() == "Müller's 茶"


def test_long_names_are_cut() -> None:
    assert build_namer().encode(["red star " * 40]).shape[1] <= TINY_NAMER.max_new_tokens


def test_a_missing_t5_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match=r"namer\.t5"):
        T5Namer.from_pretrained("no/such-model-here", TINY_NAMER)


class _Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def test_a_t5_that_lacks_a_tensor_is_none(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    source = build_namer()
    source.t5.save_pretrained(whole)
    source.tokenizer.save_pretrained(whole)
    T5Namer.from_pretrained(str(whole), TINY_NAMER)
    less = lacking(whole, tmp_path / "less", "encoder.final_layer_norm.weight")
    with pytest.raises(ValueError, match=r"namer\.t5: no T5 at .*its weights lack 1 tensors"):
        T5Namer.from_pretrained(str(less), TINY_NAMER)


def test_pickled_weights_and_code_in_a_folder_are_never_run(tmp_path: Path) -> None:
    mark, folder = tmp_path / "ran", tmp_path / "model"
    namer = build_namer()
    namer.save(folder)
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save({"weights": _Trap(mark)}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"namer\.t5: no T5 at"):
        T5Namer.from_pretrained(str(folder), TINY_NAMER)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told |= {"auto_map": {"AutoTokenizer": ["trap.Trap", None]}, "tokenizer_class": "Trap"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "trap.py").write_text(f"open({str(mark)!r}, 'w')\nclass Trap: pass\n")
    with suppress(ValueError):  # a tokenizer of a kind that is known is read as that
        T5Namer.empty(folder)
    assert not mark.exists()


def _nudge(namer: T5Namer) -> T5Namer:
    """The namer with an adapter that says something and a head that is no longer the embedding."""
    with torch.no_grad():
        namer.t5.shared.weight.add_(1.0)
        namer.head.lora_b.normal_(generator=torch.Generator().manual_seed(2))
    return namer


def _trained(namer: T5Namer) -> set[str]:
    head = namer.head.named_parameters()
    return {name for name, parameter in head if parameter.requires_grad}


def test_head_learns_by_its_adapter_alone() -> None:
    namer = build_namer()
    assert _trained(namer) == {"lora_a", "lora_b"}
    assert _trained(build_namer(FULL_HEAD)) == {"base"}
    hidden = torch.randn(3, 32)
    assert torch.equal(namer.head(hidden), hidden @ namer.head.base.T)  # B begins at zero
    assert torch.equal(namer.head.lora_a, build_namer().head.lora_a)


def test_every_trained_weight_has_a_gradient() -> None:
    namer = _nudge(build_namer())
    namer.loss(_prompts(4), NAMES).backward()  # type: ignore[no-untyped-call]
    for name, parameter in namer.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize("unfrozen", [False, True])
def test_checkpoint_keeps_embedding_and_head_bit_for_bit(tmp_path: Path, unfrozen: bool) -> None:
    namer = _nudge(build_namer())
    names = set(own_tensors(namer))
    if unfrozen:
        namer.unfreeze_head()
    assert set(own_tensors(namer)) == names
    save_file({k: v.detach() for k, v in own_tensors(namer).items()}, tmp_path / "checkpoint")
    again = T5Namer.tiny(NAMES, TINY_NAMER, seed=8)
    load_tensors(again, load_file(tmp_path / "checkpoint"), what="checkpoint")
    assert torch.equal(again.t5.shared.weight, namer.t5.shared.weight)
    for name in ("base", "lora_a", "lora_b"):
        assert torch.equal(getattr(again.head, name), getattr(namer.head, name)), name
    assert torch.equal(again.loss(_prompts(4), NAMES), namer.loss(_prompts(4), NAMES))
    if unfrozen:
        again.unfreeze_head()  # which the trainer does after loading
        assert _trained(again) == {"base"}
        assert torch.equal(again.head.base, namer.head.base)


def test_unfreezing_changes_what_is_trained_and_not_what_is_said() -> None:
    namer, hidden = _nudge(build_namer()), torch.randn(5, 32)
    embedding, before = namer.t5.shared.weight.detach().clone(), namer.head(hidden)
    namer.unfreeze_head()
    torch.testing.assert_close(namer.head(hidden), before, atol=1e-5, rtol=0)
    assert not namer.head.lora_b.any()
    namer.loss(_prompts(4), NAMES).backward()  # type: ignore[no-untyped-call]
    assert namer.head.base.grad is not None
    assert namer.head.lora_b.grad is None
    assert torch.equal(namer.t5.shared.weight, embedding)


def test_merged_head_is_one_matrix_and_says_the_same(tmp_path: Path) -> None:
    namer = _nudge(build_namer()).eval()
    hidden = torch.randn(5, 32)
    before, names = namer.head(hidden), namer.name(_prompts(6))
    namer.merge_head()
    assert namer.config.head == "full"
    assert [name for name, _ in namer.head.named_parameters()] == ["base"]
    torch.testing.assert_close(
        namer.head(hidden), before, atol=1e-6 * before.abs().max().item(), rtol=0
    )
    namer.save(tmp_path)
    loaded = T5Namer.load(tmp_path)
    assert torch.equal(loaded.head.base, namer.head.base)
    assert loaded.name(_prompts(6)) == names


def test_folder_of_before_there_were_adapters_loads(tmp_path: Path) -> None:
    namer = build_namer(FULL_HEAD)
    namer.save(tmp_path)
    told = json.loads((tmp_path / "namer.json").read_text())
    known = {k: v for k, v in told.items() if k != "head" and not k.startswith("lora")}
    (tmp_path / "namer.json").write_text(json.dumps(known))
    assert torch.equal(T5Namer.load(tmp_path).head.base, namer.head.base)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\x00"])
@pytest.mark.parametrize("name", [*FILES, WEIGHTS_FILE])
def test_a_damaged_folder_is_one_line_that_names_it(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = tmp_path / "namer"
    build_namer().save(folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"^{folder}(:| is damaged)") as error:
        T5Namer.load(folder)
    assert "\n" not in str(error.value)


def test_a_folder_of_another_model_is_one_clear_line(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    small["num_attention_heads"] = 2
    config = CLIPConfig(
        text_config={**small, "vocab_size": 50},
        vision_config={**small, "image_size": 32, "patch_size": 16},
    )
    CLIPModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no T5 at") as refusal:
        T5Namer.from_pretrained(str(tmp_path), TINY_NAMER)
    assert "\n" not in str(refusal.value)
