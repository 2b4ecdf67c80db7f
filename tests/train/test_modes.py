"""The modes through the stage `train`: each is killed and resumed, trained by two ranks, begun from
another one, and blended."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shard_world
import torch
from ranks import together
from safetensors.torch import load_file
from trainee import RECIPE, HashTower, publish_even_shards

from opendet.curate.embed import EmbeddedRecord
from opendet.curate.pool import Member, write_pool
from opendet.curate.prototypes import PrototypesConfig, build_pool
from opendet.curate.vectors import write_vectors
from opendet.data.config import MixtureSource
from opendet.faults.toy_training import WIDTH
from opendet.manifest import FileStamp, Manifest, PartCommit, ShardName, write_manifest
from opendet.model.no_namer import NoNamer
from opendet.shard_set import ShardSet
from opendet.train.blend import blend
from opendet.train.deco_config import DecoConfig
from opendet.train.distributed import Ranks
from opendet.train.export import PROTOTYPES, WEIGHTS, load_detector
from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.objective import Objective
from opendet.train.recipe import Recipe
from opendet.train.run import train
from opendet.train.semantic_sources import SemanticSources
from tests.pools.pool_world import Spot, write

STEPS = 4
DIED = 3  # the step in which a run is killed: what it writes is there, its checkpoint is not
POOL = "prototypes.prototypes"
NAMES = ("thing", "spot", "crowd")


# --- a world of twelve images: shards, a pool, and a vector for every region


def _units(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _publish_pool(folder: Path, names: tuple[str, ...] = NAMES) -> None:
    places = _units(len(names), 1).tolist()
    write(folder, [Spot(name, (name,), at) for name, at in zip(names, places, strict=True)])


def _publish_vectors(folder: Path, shards: ShardSet) -> None:
    folder.mkdir()
    path = folder / "a-000000.vectors.parquet"
    items = []
    for index in range(len(shards)):
        record = shards.record(index)
        rows = _units(len(record.regions), index).astype(np.float16)
        items.append(EmbeddedRecord(record, tuple(range(len(rows))), rows, rows))
    write_vectors(path, items)
    files = {path.name: FileStamp.of(path)}
    count, shard = len(items), ShardName("a-000000", "a", "train")
    part = PartCommit(shard, count, count, (), (), {}, files)
    write_manifest(folder, Manifest("embed", "f", (part,)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    publish_even_shards(folder / "shards")
    _publish_pool(folder / "prototypes")
    _publish_vectors(folder / "embed", ShardSet.open(folder / "shards", split="train"))
    return folder


def _recipe(
    mode: str, *, train: dict[str, Any] | None = None, namer: dict[str, Any] | None = None
) -> Recipe:
    head = {"predictor_heads": 2, "predictor_layers": 1}
    deco = DecoConfig(novel_names=("crowd",), momentum=0.5)
    llmdet = {"language": "t5", "grids": {32: 2}, "look_back_layers": 1, "max_tokens": 100}
    llmdet |= {"keep": True, "projector_steps": 1}
    semantic = mode != "llmdet"
    detector = RECIPE.detector.model_dump()
    if semantic:  # DeCo-DETR's head; of "none" without a T5 beside it, of "t5" with one
        detector |= {"semantics": "prototypes", "prototypes": head}
    return Recipe(
        RECIPE.train.model_copy(
            update={"steps": STEPS, "log_every": 1, "signals": mode == "t5", **(train or {})}
        ),
        RECIPE.loader.model_copy(update={"flip": 0.0}),
        type(RECIPE.detector).model_validate(detector),
        RECIPE.namer.model_copy(
            update={**({"t5": "none"} if mode == "none" else {}), **(namer or {})}
        ),
        RECIPE.objective.model_copy(
            update={"deco": deco} if semantic else {"llmdet": LlmdetConfig.model_validate(llmdet)}
        ),
    )


def _run(recipe: Recipe, world: Path, work: Path, ranks: Ranks | None = None) -> Path:
    semantic = recipe.detector.semantics != "none"
    sources = SemanticSources(world / "prototypes", world / "embed") if semantic else None
    clip = HashTower()
    return train(recipe, world / "shards", work, clip=clip, ranks=ranks, semantics=sources)


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The work folder of an undisturbed run of a mode, trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("undisturbed")

    def of(mode: str) -> Path:
        if not (folder / mode).exists():
            _run(_recipe(mode), world, folder / mode)
        return folder / mode

    return of


def _lasting(work: Path) -> dict[str, bytes]:
    """What a run leaves behind, without what tells the time."""
    told = {path.relative_to(work).as_posix(): path for path in work.rglob("*") if path.is_file()}
    clocked = ("lock", "metrics.json")
    return {
        name: path.read_bytes()
        for name, path in told.items()
        if name not in clocked and not (name.startswith("checkpoints/") and path.suffix == ".json")
    }


def _die_in(step_of_death: int) -> None:
    """From here on this process is killed where that step ends, before its checkpoint."""
    finish = Objective.finish_step

    def die(self: Objective, step: int, ranks: Ranks) -> None:
        finish(self, step, ranks)
        if step == step_of_death:
            os.kill(os.getpid(), signal.SIGKILL)

    Objective.finish_step = die  # type: ignore[method-assign]


def _killed(run: Callable[[], object]) -> None:
    """Run in a child that is killed in the step `DIED`."""
    child = os.fork()
    if child == 0:
        try:
            _die_in(DIED)
            run()
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("mode", ["none", "t5", "llmdet"])
def test_killed_and_resumed_each_mode_ends_with_the_same_bytes(
    mode: str, trained: Callable[[str], Path], world: Path, tmp_path: Path
) -> None:
    _killed(partial(_run, _recipe(mode), world, tmp_path))
    assert not (tmp_path / "model").exists()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("*.json"))
    assert kept == ["step-00000000.json", "step-00000002.json"]
    _run(_recipe(mode), world, tmp_path)
    again, wanted = _lasting(tmp_path), _lasting(trained(mode))
    assert again.keys() == wanted.keys()
    assert [name for name in wanted if again[name] != wanted[name]] == []


@pytest.mark.parametrize("mode", ["none", "t5", "llmdet"])
def test_two_ranks_train_each_mode_and_go_on_after_a_kill(
    mode: str, world: Path, tmp_path: Path
) -> None:
    """Every parameter must get a gradient on both at every step: the second one would fail."""
    recipe = _recipe(mode, train={"steps": 2, "checkpoint_every": 1})
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert together(2, lambda ranks: _run(recipe, world, whole, ranks)) == [0, 0]
    weights = load_file(whole / "model" / WEIGHTS)
    assert all(tensor.isfinite().all() for tensor in weights.values())
    if recipe.train.signals:
        assert {path.parent.name for path in whole.glob("signals/*/*")} == {"rank-0", "rank-1"}

    def dies(ranks: Ranks) -> None:
        _die_in(1)
        _run(recipe, world, killed, ranks)

    assert together(2, dies) == [signal.SIGKILL] * 2
    assert together(2, lambda ranks: _run(recipe, world, killed, ranks)) == [0, 0]
    assert _lasting(killed) == _lasting(whole)


# --- one mode after another


def _still(mode: str, start: Path, **train: Any) -> Recipe:
    """One step with a learning rate of nearly nothing: what it began with is what it exports."""
    plain = {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    return _recipe(mode, train={**plain, "start_from": str(start / "model"), **train})


@pytest.mark.parametrize(
    ("mode", "before"),
    [(mode, before) for mode in ("none", "t5", "llmdet") for before in ("none", "t5", "llmdet")],
)
def test_a_mode_begins_with_what_another_has_learned(
    mode: str, before: str, trained: Callable[[str], Path], world: Path, tmp_path: Path
) -> None:
    recipe = _still(mode, trained(before))
    recipe = replace(
        recipe,
        objective=recipe.objective.model_copy(update={"deco": DecoConfig(update="off")}),
    )
    model = _run(recipe, world, tmp_path)
    detector = load_detector(model)
    assert isinstance(detector.namer, NoNamer) == (mode == "none")
    assert (model / PROTOTYPES).exists() == (mode != "llmdet")
    old, new = (load_file(folder / WEIGHTS) for folder in (trained(before) / "model", model))
    shared = old.keys() & new.keys()
    assert {name.split(".")[0] for name in shared} >= {"backbone", "encoder", "decoder", "prompts"}
    for name in shared:
        torch.testing.assert_close(new[name], old[name], rtol=1e-5, atol=1e-7, msg=name)
    parts = {name.split(".")[0] for name in new.keys() - old.keys()}
    wanted = {"prototypes"} if mode != "llmdet" and before == "llmdet" else set()
    assert parts == wanted | ({"namer"} if mode != "none" and before == "none" else set())


def test_a_t5_that_is_new_has_its_first_lesson(
    trained: Callable[[str], Path], world: Path, tmp_path: Path
) -> None:
    _run(_still("t5", trained("none")), world, tmp_path / "new")
    assert '"exact"' in (tmp_path / "new" / "metrics.json").read_text()
    _run(_still("t5", trained("llmdet")), world, tmp_path / "kept")
    assert '"exact"' not in (tmp_path / "kept" / "metrics.json").read_text()


def test_a_damaged_namer_is_one_line(
    trained: Callable[[str], Path], world: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(trained("t5"), tmp_path / "copied")
    (copied / "model" / "namer" / "namer.json").write_text("{")
    with pytest.raises(ValueError, match=r"namer is damaged .*: take the model") as error:
        _run(_still("t5", copied), world, tmp_path / "work")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("before", ["t5", "llmdet"])
def test_beside_corrections_a_prototype_head_is_trained(
    before: str, trained: Callable[[str], Path], world: Path, tmp_path: Path
) -> None:
    """A new one would be left as it was drawn, and say nothing for ever."""
    start = str(trained(before) / "model")
    recipe = _recipe("t5", train={"start_from": start, "finetune": "lora"})
    model = _run(recipe, world, tmp_path)
    first = load_file(tmp_path / "checkpoints" / f"step-{STEPS:08d}.safetensors")
    begun = load_file(_run(_still("t5", trained(before)), world, tmp_path / "still") / WEIGHTS)
    head = [name for name in begun if name.startswith("prototypes.project")]
    assert head
    for name in head:
        assert not torch.allclose(first[f"model.{name}"], begun[name], rtol=1e-5, atol=1e-7), name
    old, new = (load_file(folder / WEIGHTS) for folder in (Path(start), model))
    moved = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert moved - {"prototypes"} == {"encoder", "decoder", "namer"}


# --- blends


def test_models_without_a_t5_are_blended(
    trained: Callable[[str], Path], world: Path, tmp_path: Path
) -> None:
    start = str(trained("none") / "model")
    tuned = _run(_recipe("none", train={"start_from": start}), world, tmp_path / "tuned")
    blend(Path(start), tuned, share=0.5, out=tmp_path / "out")
    detector = load_detector(tmp_path / "out")
    assert isinstance(detector.namer, NoNamer)
    assert detector.prototypes is not None
    assert detector.prototypes.names == (*NAMES[:1], *NAMES)


def test_models_of_two_pools_are_not_blended(
    trained: Callable[[str], Path], world: Path, tmp_path: Path
) -> None:
    """As many prototypes of the same width: the mean of a thing and a dog would be called thing."""
    other = tmp_path / "world"
    shutil.copytree(world, other)
    shutil.rmtree(other / "prototypes")
    _publish_pool(other / "prototypes", ("dog", "cat", "cow"))
    second = _run(_recipe("none"), other, tmp_path / "work")
    with pytest.raises(ValueError, match="their prototypes are of two pools") as error:
        blend(trained("none") / "model", second, share=0.5, out=tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_pool_of_another_clip_is_one_line(world: Path, tmp_path: Path) -> None:
    """Each region's vector lies where its neighbour's did: of one width, and of another space."""
    other = tmp_path / "world"
    shutil.copytree(world, other)
    shutil.rmtree(other / "prototypes")
    shards = ShardSet.open(other / "shards", split="train")
    records = [shards.record(index) for index in range(len(shards))]
    rows = np.concatenate([_units(len(one.regions), n) for n, one in enumerate(records)])
    members = [Member(one.key, n, "thing") for one in records for n in range(len(one.regions))]
    pool = build_pool(np.roll(rows, 1, axis=0), members, PrototypesConfig(coarse=len(rows)))
    write_pool(other / "prototypes", pool)
    with pytest.raises(ValueError, match="are of two CLIP models: build prototypes") as error:
        _run(_recipe("none"), other, tmp_path / "work")
    assert "\n" not in str(error.value)


# --- captions as lessons


def test_captions_are_lessons_for_who_writes_them_alone(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shard_world.publish(shards, {"a-000000": [shard_world.painted(f"a-{n}") for n in range(6)]})
    mixture = (MixtureSource(batch="a", weight=1, kind="image"),)
    loader = RECIPE.loader.model_copy(update={"mixture": mixture})
    silent = replace(
        RECIPE,
        train=RECIPE.train.model_copy(update={"steps": 1}),
        loader=loader,
        namer=RECIPE.namer.model_copy(update={"t5": "none"}),
    )
    with pytest.raises(ValueError, match="has an object to learn from") as error:
        train(silent, shards, tmp_path / "silent", clip=HashTower())
    assert "\n" not in str(error.value)
    llmdet = _recipe("llmdet").objective
    read = replace(
        silent,
        namer=RECIPE.namer,
        objective=llmdet.model_copy(update={"caption_weight": 0.0}),
    )
    train(read, shards, tmp_path / "read", clip=HashTower())
    assert '"image_caption"' in (tmp_path / "read" / "metrics.json").read_text()
