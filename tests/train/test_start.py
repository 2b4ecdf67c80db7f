"""Beginning with our own model's weights, with another project's, and with what does not fit."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from trainee import RECIPE, changed, publish_even_shards, run
from transformers import BertConfig, MMGroundingDinoConfig, SwinConfig
from transformers import MMGroundingDinoForObjectDetection as GroundingDino

from opendet.train.config import LoraConfig, TrainConfig
from opendet.train.export import load_detector, read_card
from opendet.train.recipe import Recipe
from opendet.train.run import train
from opendet.train.start import warn_of_cut_names
from opendet.train.weights import own_tensors
from tests.model.worlds import TINY_NAMER, build_namer

VALUES = "model.encoder.layers.0.deformable_layer.self_attn.value_proj.weight"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "shards"
    publish_even_shards(folder)
    return folder


@pytest.fixture(scope="module")
def general(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model's folder."""
    return run(shards, tmp_path_factory.mktemp("general"), changed(steps=4))


def _frozen(**values: object) -> Recipe:
    """One step with a learning rate of nearly nothing: what it began with is what it exports."""
    return changed(steps=1, learning_rate=1e-12, weight_decay=0.0, **values)


def test_a_run_begins_with_our_own_model(general: Path, shards: Path, tmp_path: Path) -> None:
    model = run(shards, tmp_path, _frozen(start_from=str(general)))
    before, after = own_tensors(load_detector(general)), own_tensors(load_detector(model))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-5, atol=1e-7, msg=name)
    assert json.loads((tmp_path / "metrics.json").read_text())["train"]["warmup"] == {}


def test_a_start_may_lie_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/at/home")
    assert TrainConfig(start_from="~/model").start_from == "/at/home/model"
    assert TrainConfig(start_from="other/~model").start_from == "other/~model"


def test_what_it_began_with_is_part_of_the_run(general: Path, shards: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(general, moved)
    work = tmp_path / "work"
    run(shards, work, _frozen(start_from=str(general)))
    run(shards, work, _frozen(start_from=str(moved)))  # the same bytes elsewhere: nothing to do
    (moved / "notes.txt").write_text("other bytes")
    with pytest.raises(ValueError, match="start_from was"):
        run(shards, work, _frozen(start_from=str(moved)))


def test_a_model_of_another_shape_is_one_line(general: Path, shards: Path, tmp_path: Path) -> None:
    wider = replace(
        _frozen(start_from=str(general)),
        detector=RECIPE.detector.model_copy(update={"feedforward": 48}),
    )
    with pytest.raises(ValueError, match=r"start_from: .* the model wants \(48.*another") as error:
        run(shards, tmp_path, wider)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="is no folder with a model"):
        run(shards, tmp_path, _frozen(start_from=str(tmp_path / "nowhere")))


def test_fine_tuning_by_corrections_moves_what_it_may_and_keeps_the_shape(
    general: Path, shards: Path, tmp_path: Path
) -> None:
    recipe = changed(
        start_from=str(general),
        finetune="lora",
        lora=LoraConfig(rank=2, alpha=4.0, modules=("encoder", "namer")),
    )
    model = run(shards, tmp_path, recipe)
    before, after = own_tensors(load_detector(general)), own_tensors(load_detector(model))
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in moved} == {"encoder", "namer"}
    assert "namer.t5.lm_head.base" in moved
    assert not any("norm" in name or "bias" in name or name.endswith("wo.weight") for name in moved)
    state = load_file(tmp_path / "checkpoints" / f"step-{recipe.train.steps:08d}.safetensors")
    learned = {name.split(".")[-1] for name in state if name.startswith("optimizer.")}
    assert learned == {"step", "exp_avg", "exp_avg_sq"}
    trained = [name for name in state if name.endswith("exp_avg")]
    corrections = [name for name in state if name.startswith("model.") and ".lora_" in name]
    assert len(trained) == len(corrections)


def test_corrections_and_an_unfreezing_head_exclude_each_other(
    shards: Path, tmp_path: Path
) -> None:
    recipe = changed(finetune="lora")
    both = replace(recipe, namer=recipe.namer.model_copy(update={"unfreeze_head_at": 0.5}))
    with pytest.raises(ValueError, match=r"leave namer\.unfreeze_head_at out"):
        run(shards, tmp_path, both)


def test_corrections_need_weights_to_correct(general: Path, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"set train\.start_from"):
        run(shards, tmp_path, changed(finetune="lora"))
    convolutions = LoraConfig(modules=("backbone",))
    recipe = changed(finetune="lora", lora=convolutions, start_from=str(general))
    with pytest.raises(ValueError, match="backbone of this detector has no linear layer"):
        run(shards, tmp_path, recipe)


def test_a_full_head_is_not_unfrozen(shards: Path, tmp_path: Path) -> None:
    namer = RECIPE.namer.model_copy(update={"head": "full", "unfreeze_head_at": 0.5})
    with pytest.raises(ValueError, match="a full head is never frozen"):
        run(shards, tmp_path, replace(RECIPE, namer=namer))


@pytest.mark.parametrize(("share", "steps"), [(0.99, 8), (0.5, 1)])
def test_a_head_that_would_never_unfreeze_is_refused(
    shards: Path, tmp_path: Path, share: float, steps: int
) -> None:
    namer = RECIPE.namer.model_copy(update={"unfreeze_head_at": share})
    says = rf"unfreeze_head_at: {share} of train.steps, {steps}, .* at most {steps - 1}/{steps},"
    with pytest.raises(ValueError, match=says):
        run(shards, tmp_path, replace(changed(steps=steps), namer=namer))
    assert not (tmp_path / "checkpoints").exists()


def test_what_the_caller_has_read_is_not_read_again(
    general: Path, shards: Path, tmp_path: Path
) -> None:
    recipe = _frozen(start_from=str(general))
    model = train(recipe, shards, tmp_path, clip=None, start_content="read before")
    assert read_card(model).training["start_from"] == "read before"


def test_names_that_are_cut_are_said(caplog: pytest.LogCaptureFixture) -> None:
    namer = build_namer(TINY_NAMER.model_copy(update={"max_new_tokens": 5}))
    with caplog.at_level(logging.WARNING, logger="opendet"):
        warn_of_cut_names(namer, ["star", "star " * 9])
        warn_of_cut_names(namer, ["star"])
        warn_of_cut_names(namer, [])
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("1 of 2 names are longer than namer.max_new_tokens, 5, and are cut")


@pytest.fixture(scope="module")
def grounding_dino(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """A small MM-Grounding-DINO of our width, and one of its weights."""
    torch.manual_seed(0)
    swin = SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=3)
    swin.set_output_features_output_indices(out_indices=[2, 3, 4], out_features=None)
    text = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                      intermediate_size=16, vocab_size=64)  # fmt: skip
    config = MMGroundingDinoConfig(backbone_config=swin, text_config=text, d_model=32,
                                   encoder_attention_heads=4, decoder_attention_heads=4,
                                   encoder_n_points=2, decoder_n_points=2,
                                   encoder_ffn_dim=32, decoder_ffn_dim=32,
                                   encoder_layers=1, decoder_layers=2, num_queries=5)  # fmt: skip
    folder = tmp_path_factory.mktemp("grounding_dino")
    model = GroundingDino(config)
    model.save_pretrained(folder)
    return folder, model.state_dict()[VALUES]


def test_a_run_begins_with_a_grounding_dino(
    grounding_dino: tuple[Path, Tensor],
    shards: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, wanted = grounding_dino
    with caplog.at_level(logging.INFO, logger="opendet"):
        run(shards, tmp_path, _frozen(start_from=str(folder)))
    [line] = [r.getMessage() for r in caplog.records if "were taken" in r.getMessage()]
    assert "\n" not in line
    told = json.loads((tmp_path / "start_from.json").read_text())
    assert any(name.startswith("encoder.layers.0.") for name in told["loaded"])
    ours = own_tensors(load_detector(tmp_path / "model"))
    torch.testing.assert_close(ours["encoder.layers.0.attention.values.weight"], wanted)
