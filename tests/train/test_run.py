"""The stage `train` on small shards: resume, refusal, nothing to do, and a model that loads."""

import json
import random
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import shard_world
import torch
from safetensors.torch import load_file
from trainee import RECIPE, HashTower, changed, publish_shards, run

from opendet.data.config import MixtureSource
from opendet.faults.trained import kill_until_done
from opendet.files import BusyError, exclusive_lock
from opendet.model.tiny_t5 import build_tiny_t5, train_tokenizer
from opendet.sample import Sample
from opendet.train.config import WarmupConfig
from opendet.train.export import load_detector
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.optimizer import HEAD
from opendet.train.run import train
from opendet.train.weights import own_tensors
from tests.model.worlds import NAMES, TINY_NAMER


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "shards"
    publish_shards(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("undisturbed")
    assert run(shards, work) == work / "model"
    return work


def test_what_is_there_in_the_end(undisturbed: Path) -> None:
    metrics = json.loads((undisturbed / "metrics.json").read_text())["train"]
    assert metrics["steps"] == RECIPE.train.steps
    assert metrics["images"] == RECIPE.train.steps * RECIPE.loader.batch_size
    assert metrics["loss"] > 0
    assert metrics["seconds"] > 0
    assert metrics["warmup"]["seconds"] > 0
    header = (undisturbed / "series.csv").read_text().splitlines()[0].split(",")
    assert {"step", "loss", "l1", "giou", "object", "naming", "distillation", "lr"} <= set(header)
    assert {path.name for path in (undisturbed / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "namer",
    }


def test_the_exported_weights_are_the_average_bit_for_bit(undisturbed: Path) -> None:
    last = load_file(undisturbed / "checkpoints" / f"step-{RECIPE.train.steps:08d}.safetensors")
    average = {name[4:]: tensor for name, tensor in last.items() if name.startswith("ema.")}
    down, up = average.pop(f"{HEAD}.lora_a"), average.pop(f"{HEAD}.lora_b")
    strength = TINY_NAMER.lora_alpha / TINY_NAMER.lora_rank
    average[f"{HEAD}.base"] += strength * up @ down  # the head's correction is merged
    assert up.any()
    loaded = own_tensors(load_detector(undisturbed / "model"))
    assert loaded.keys() == average.keys()
    assert all(torch.equal(tensor, average[name]) for name, tensor in loaded.items())
    moved = [name for name in loaded if not torch.equal(loaded[name], last[f"model.{name}"])]
    assert moved, "the average must differ from the last weights"


def test_the_loaded_detector_answers_as_the_trained_one(undisturbed: Path) -> None:
    first, second = (load_detector(undisturbed / "model") for _ in range(2))
    images, sizes = torch.rand(2, 3, 32, 32), torch.tensor([[32, 32], [20, 32]])
    with torch.inference_mode():
        one, two = first(images, sizes), second(images, sizes)
        assert torch.equal(one.boxes_cxcywh, two.boxes_cxcywh)
        first_query = torch.tensor([0, 1]), torch.tensor([0, 0])  # of each image
        names = first.namer.name(first.prompt(one, *first_query))
        assert names == second.namer.name(second.prompt(two, *first_query))
    assert not first.training


def test_a_second_call_has_nothing_to_do(undisturbed: Path, shards: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()}
    del before[undisturbed / "lock"]
    run(shards, undisturbed)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_another_recipe_is_refused_in_one_line(undisturbed: Path, shards: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.learning_rate was 0\.001 and is 0\.5") as error:
        run(shards, undisturbed, changed(learning_rate=0.5))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="clip was hash"):
        train(RECIPE, shards, undisturbed, clip=None)


def test_a_refused_run_leaves_all_as_it_was(
    undisturbed: Path, shards: Path, tmp_path: Path
) -> None:
    """The text vectors of an unfinished run may be another machine's, and could not be had back."""
    work = Path(shutil.copytree(undisturbed, tmp_path / "work", ignore=lambda *_: {"model"}))
    vectors = work / "text_vectors.safetensors"
    before = vectors.read_bytes()
    with pytest.raises(ValueError, match=r"clip was hash a \{name\} and is hash \{name\}"):
        train(RECIPE, shards, work, clip=HashTower(), template="{name}")
    assert vectors.read_bytes() == before


def test_a_knob_that_changes_no_weight_is_not_refused(undisturbed: Path, shards: Path) -> None:
    run(shards, undisturbed, changed(log_every=1, keep=3))


def test_a_damaged_model_folder_is_exported_again(shards: Path, tmp_path: Path) -> None:
    model = run(shards, tmp_path)
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="missing or damaged"):
        load_detector(model)
    run(shards, tmp_path)
    assert (model / "model.safetensors").read_bytes() == whole


def test_a_lost_series_is_one_line_that_brings_it_back(
    undisturbed: Path, shards: Path, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(undisturbed, tmp_path / "work", ignore=lambda *_: {"model"}))
    (work / "series.csv").unlink()
    last = work / f"checkpoints/step-{RECIPE.train.steps:08d}.json"
    with pytest.raises(
        ValueError, match=r"series\.csv is missing, and all steps are done"
    ) as error:
        run(shards, work)
    assert str(last) in str(error.value)
    assert "\n" not in str(error.value)
    last.unlink()
    run(shards, work)
    weights = "model/model.safetensors"
    assert (work / weights).read_bytes() == (undisturbed / weights).read_bytes()


def test_one_run_at_a_time(shards: Path, tmp_path: Path) -> None:
    with exclusive_lock(tmp_path / "lock", what="it"), pytest.raises(BusyError):
        run(shards, tmp_path)


def test_without_a_clip_nothing_is_distilled(shards: Path, tmp_path: Path) -> None:
    begun = [tmp_path / ".metrics.json.abcdefgh", tmp_path / "verified" / "ab" / ".ab12.abcdefgh"]
    for path in begun:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("what a kill has left")
    train(RECIPE, shards, tmp_path, clip=None)
    metrics = json.loads((tmp_path / "metrics.json").read_text())["train"]
    assert metrics["warmup"] == {}
    assert metrics["last"]["distillation"] == 0
    assert not any(path.exists() for path in begun)


def test_a_clip_of_another_width_says_which_knob(shards: Path, tmp_path: Path) -> None:
    class Narrow(HashTower):
        def encode_texts(self, texts):  # type: ignore[no-untyped-def]
            return super().encode_texts(texts)[:, :8]

    with pytest.raises(ValueError, match=r"namer\.prompt_width is 32.* have 8: set it"):
        train(RECIPE, shards, tmp_path, clip=Narrow())


def test_a_loss_that_is_not_finite_names_its_part_and_images(shards: Path, tmp_path: Path) -> None:
    class Broken(HashTower):
        def encode_texts(self, texts):  # type: ignore[no-untyped-def]
            return super().encode_texts(texts) * float("nan")

    says = r"step 0: \w+ is nan on the images (a-00\d\d(, )?){4}: look at"
    without_lesson = changed(warmup=WarmupConfig(steps=0))
    with pytest.raises(ValueError, match=says) as error:
        train(without_lesson, shards, tmp_path, clip=Broken())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()
    with pytest.raises(ValueError, match="step 0 of the namer's warm-up: the loss is nan"):
        train(RECIPE, shards, tmp_path / "other", clip=Broken())


def test_a_t5_from_a_folder_is_not_needed_afterwards(shards: Path, tmp_path: Path) -> None:
    t5_folder = tmp_path / "t5"
    tokenizer = train_tokenizer(NAMES, size=400)
    tokenizer.save_pretrained(t5_folder)
    build_tiny_t5(TINY_NAMER, tokens=len(tokenizer), seed=0).save_pretrained(t5_folder)
    recipe = replace(RECIPE, namer=TINY_NAMER.model_copy(update={"t5": str(t5_folder)}))
    model = run(shards, tmp_path / "work", recipe)
    shutil.rmtree(t5_folder)
    last = load_file(model.parent / f"checkpoints/step-{RECIPE.train.steps:08d}.safetensors")
    loaded = own_tensors(load_detector(model))
    del loaded[f"{HEAD}.base"]  # its correction is merged
    assert all(torch.equal(tensor, last[f"ema.{name}"]) for name, tensor in loaded.items())


def test_missing_shards(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"manifest\.json is missing"):
        run(tmp_path / "none", tmp_path / "work")


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], r"has no shard of the split 'train'"),
        (shard_world.samples(4, split="val"), r"has no shard of the split 'train'"),
        (shard_world.samples(3), r"3 samples are too few for 1 x batch_size 4"),
        ([shard_world.painted(f"a-{n:04d}") for n in range(6)], r"no image .* has an object"),
    ],
    ids=["none", "another split", "too few", "no object"],
)
def test_shards_that_teach_nothing_are_one_line(
    samples: list[Sample], says: str, tmp_path: Path
) -> None:
    shard_world.publish(tmp_path / "shards", {"a-000000": samples} if samples else {})
    with pytest.raises(ValueError, match=says) as error:
        run(tmp_path / "shards", tmp_path / "work")
    assert "\n" not in str(error.value)


def test_captions_alone_are_lessons_where_the_mixture_says_so(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shard_world.publish(shards, {"a-000000": [shard_world.painted(f"a-{n}") for n in range(6)]})
    told = RECIPE.loader.model_copy(
        update={"mixture": (MixtureSource(batch="a", weight=1, kind="image"),)}
    )
    recipe = replace(changed(steps=1), loader=told)
    run(shards, tmp_path / "work", recipe)
    metrics = json.loads((tmp_path / "work" / "metrics.json").read_text())["train"]
    assert metrics["last"]["caption"] > 0
    deaf = replace(recipe, objective=ObjectiveConfig(caption_weight=0.0))
    with pytest.raises(ValueError, match=r"objective\.caption_weight") as error:
        run(shards, tmp_path / "deaf", deaf)
    assert "\n" not in str(error.value)


def test_killed_and_resumed_equals_undisturbed(
    undisturbed: Path, shards: Path, tmp_path: Path
) -> None:
    _kill_many(undisturbed, shards, tmp_path, at_least=3)


@pytest.mark.slow
def test_fifty_kills(undisturbed: Path, shards: Path, tmp_path: Path) -> None:
    _kill_many(undisturbed, shards, tmp_path, at_least=50)


def _kill_many(undisturbed: Path, shards: Path, tmp_path: Path, *, at_least: int) -> None:
    wanted = (undisturbed / "model" / "model.safetensors").read_bytes()
    last = f"checkpoints/step-{RECIPE.train.steps:08d}.safetensors"
    start = time.monotonic()
    run(shards, tmp_path / "timed")
    longest = time.monotonic() - start
    rng = random.Random(0)
    kills = number = 0
    while kills < at_least:
        work = tmp_path / str(number)
        kills += kill_until_done(partial(run, shards, work), rng, longest)
        assert (work / "model" / "model.safetensors").read_bytes() == wanted
        assert (work / last).read_bytes() == (undisturbed / last).read_bytes()
        assert _without_clock(work) == _without_clock(undisturbed)
        assert not list(work.glob(".model.*"))
        number += 1


def _without_clock(work: Path) -> str:
    return (work / "series.csv").read_text()
