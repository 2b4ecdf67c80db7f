"""The stage `train` with a language model beside it: killed, resumed, exported, begun from."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import project_world
import pytest
import torch
from safetensors.torch import load_file
from trainee import RECIPE, HashTower, publish_shards

from opendet.build import Build
from opendet.manifest import Manifest, write_manifest
from opendet.train.export import load_detector
from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.llmdet_objective import LlmdetObjective
from opendet.train.llmdet_start import CAPTIONER
from opendet.train.recipe import Recipe
from opendet.train.run import train
from pipelines.train import job_of
from tests.model.language_worlds import save_tiny_language

STEPS = 4


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    publish_shards(folder / "shards")
    save_tiny_language(folder / "lm")
    return folder


def recipe_of(world: Path, start_from: str = "", **knobs: object) -> Recipe:
    small: dict[str, Any] = {"grids": {32: 2}, "look_back_layers": 1, "max_tokens": 100}
    small |= {"language": str(world / "lm"), "tuning": "lora", "lora": {"rank": 2, "alpha": 4}}
    llmdet = LlmdetConfig.model_validate({**small, **knobs})
    return replace(
        RECIPE,
        train=RECIPE.train.model_copy(
            update={"steps": STEPS, "start_from": start_from, "log_every": 1}
        ),
        loader=RECIPE.loader.model_copy(update={"flip": 0.0, "crop": 0.0}),
        objective=RECIPE.objective.model_copy(update={"llmdet": llmdet}),
    )


def run(recipe: Recipe, world: Path, work: Path) -> Path:
    return train(recipe, world / "shards", work, clip=HashTower())


@pytest.fixture(scope="module")
def kept(world: Path) -> Path:
    """The model of an undisturbed run with a first stage of two steps."""
    return run(recipe_of(world, keep=True, projector_steps=2), world, world / "kept")


def test_the_model_has_no_language_model_and_detects_without_one(world: Path, kept: Path) -> None:
    weights = load_file(kept / "model.safetensors")
    assert not any(name.startswith("captioner") for name in weights)
    beside = load_file(kept / CAPTIONER)
    parts = {name.split(".")[0] for name in beside}
    assert parts == {"image", "region", "look_backs", "corrections"}
    assert not any("embed_tokens" in name for name in beside)
    detector = load_detector(kept)
    assert detector.captioner is None
    output = detector(torch.rand(1, 3, 32, 32), torch.tensor([[32, 32]]))
    assert output.boxes_cxcywh.isfinite().all()
    plain = run(recipe_of(world), world, world / "plain")
    assert not (plain / CAPTIONER).exists()


def test_killed_in_either_stage_it_goes_on_as_if_it_had_not_been(
    world: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(world, keep=True, projector_steps=2)
    for died in (1, 3):

        def die(self: LlmdetObjective, step: int, _: object, died: int = died) -> None:
            if step == died:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(LlmdetObjective, "finish_step", die)
            with pytest.raises(KeyboardInterrupt):
                run(recipe, world, tmp_path)
    again = run(recipe, world, tmp_path)
    for name in ("model.safetensors", CAPTIONER):
        assert (again / name).read_bytes() == (kept / name).read_bytes()


def test_a_first_stage_leaves_the_detector_as_it_was_and_a_second_begins_with_it(
    world: Path, kept: Path, tmp_path: Path
) -> None:
    first = run(
        recipe_of(world, str(kept), keep=True, projector_steps=STEPS), world, tmp_path / "first"
    )
    before, after = load_file(kept / CAPTIONER), load_file(first / CAPTIONER)
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in moved} == {"image", "region"}
    for name, tensor in load_file(first / "model.safetensors").items():
        torch.testing.assert_close(tensor, load_file(kept / "model.safetensors")[name])


def test_the_namer_s_own_t5_can_be_the_language_model(world: Path, tmp_path: Path) -> None:
    recipe = recipe_of(world, language="t5", tuning="frozen", keep=True)
    folder = run(recipe, world, tmp_path)
    assert not any("corrections" in name for name in load_file(folder / CAPTIONER))
    with (tmp_path / "series.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == STEPS
    assert all(float(row[part]) > 0 for row in rows for part in ("image_caption", "region_phrase"))


def test_what_the_language_model_s_folder_holds_decides_whether_the_stage_is_done(
    world: Path, tmp_path: Path
) -> None:
    project = project_world.make_project(tmp_path)
    language = Path(shutil.copytree(world / "lm", tmp_path / "lm"))
    config = project / "configs" / "tiny.yaml"
    told = config.read_text()
    for stage in ("shards", "clip"):
        write_manifest(project / "datasets" / "tiny" / stage, Manifest(stage, "f", ()))
    plain, _, nothing = job_of(Build.open("tiny", root=project))
    assert "language" not in nothing
    told += "loader: {flip: 0.0, crop: 0.0}\n"
    config.write_text(f"{told}objective: {{llmdet: {{language: '{language}'}}}}\n")
    first, name, inputs = job_of(Build.open("tiny", root=project))
    (language / "config.json").write_text("{}")
    second, same, others = job_of(Build.open("tiny", root=project))
    assert name == same
    assert inputs != others
    assert len({plain.work_folder, first.work_folder, second.work_folder}) == 3


def test_a_run_with_another_language_model_is_another_run(world: Path, tmp_path: Path) -> None:
    run(recipe_of(world), world, tmp_path)
    with pytest.raises(ValueError, match="tuning was lora and is frozen"):
        run(recipe_of(world, tuning="frozen"), world, tmp_path)
