"""The small world with a CLIP and a pool, and the bench of DeCo-DETR's parts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from opendet.bench import deco as module
from opendet.bench import deco_trial
from opendet.bench.deco import RUNS, SEEDS, claims, detector_rows, score_rows
from opendet.bench.deco_heads import HEADS, OneOfSeveral
from opendet.bench.deco_trial import DecoTrial, ReferredBatches, run_deco
from opendet.bench.deco_world import (
    LEAST_AGREEMENT,
    TEXTS,
    SimulatedClip,
    base_vectors,
    class_vectors,
    crops_of,
    pool_crops,
)
from opendet.bench.harness import Place, Row
from opendet.bench.processes import run_units
from opendet.bench.synthetic import NAMES, TIERS, draw_scenes

TINY = DecoTrial(
    ("whole", "coarse"),
    0,
    steps=2,
    batch_size=2,
    train_scenes=32,
    unlabelled_scenes=8,
    test_scenes=4,
    sight_lessons=1,
)
UNSEEN = {name for name, tier in TIERS.items() if tier == "unseen"}


def test_a_crop_looks_like_its_name_and_like_every_image() -> None:
    clip = SimulatedClip(0)
    rng = np.random.default_rng(0)
    shown = list(NAMES) * 20
    vectors = clip.see(shown, rng)
    cosines = vectors @ TEXTS.encode_texts(NAMES).T
    assert [NAMES[kind] for kind in cosines.argmax(1)] == shown
    nothing = clip.see([None] * 50, rng)
    assert np.abs(nothing @ TEXTS.encode_texts(NAMES).T).max() < LEAST_AGREEMENT
    assert (vectors @ vectors.T).mean() > 0.5  # the gap
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_every_training_object_has_its_own_vector() -> None:
    scenes = draw_scenes(6, seed=3, split="train")
    crops = crops_of(scenes, seed=3)
    batch = next(iter(ReferredBatches(scenes, batch_size=3, seed=0)))
    refs = [ref for target in batch.targets for ref in target.regions]
    assert [len(target.regions) for target in batch.targets] == [
        len(target.names) for target in batch.targets
    ]
    vectors, known = crops.of(refs)
    assert known.all()
    names = [names[0] for target in batch.targets for names in target.names]
    cosines = vectors @ torch.from_numpy(TEXTS.encode_texts(NAMES)).T
    assert [NAMES[kind] for kind in cosines.argmax(1).tolist()] == names
    again = crops_of(scenes, seed=3)
    assert torch.equal(vectors, again.of(refs)[0])
    assert not torch.equal(vectors, crops_of(scenes, seed=4).of(refs)[0])


def test_a_pool_knows_unseen_names_from_proposals_alone() -> None:
    scenes = draw_scenes(24, seed=1, split="train")
    others = draw_scenes(48, seed=501, split="test")
    vectors, members = pool_crops(scenes, crops_of(scenes, seed=1), others, seed=1)
    assert len(vectors) == len(members)
    unseen = {member.key.split("-")[0] for member in members if member.name in UNSEEN}
    assert unseen == {"proposals"}
    labelled = sum(member.key.startswith("train") for member in members)
    assert labelled == sum(map(len, scenes.names))
    texts = TEXTS.encode_texts([member.name for member in members[labelled:]])
    assert ((vectors[labelled:] * texts).sum(1) >= LEAST_AGREEMENT).all()
    assert UNSEEN.isdisjoint(base_vectors().names)
    assert set(class_vectors().names) == set(NAMES)


@pytest.mark.slow
def test_a_run_is_a_kept_unit(tmp_path: Path) -> None:
    [result] = run_units([TINY], run_deco, Place(tmp_path), version="0").values()
    assert result["pool"]["whole"] > result["pool"]["coarse"] > 0
    for ways in result["heads"].values():
        for scores in ways.values():
            assert {"ap", "ap_frequent", "ap_rare", "ap_unseen"} <= scores.keys()
    assert not list(tmp_path.glob("run-*"))
    again = Place(tmp_path, deadline=0)
    asked = [TINY, replace(TINY, seed=1)]
    assert run_units(asked, run_deco, again, version="0") == {TINY: result}


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(TINY, heads=("flat", "constant", "sharp"), train_scenes=24)
    kept = deco_trial.TRAINING.model_copy(update={"checkpoint_every": 1})
    monkeypatch.setattr(deco_trial, "TRAINING", kept)
    undisturbed = run_deco(short, tmp_path / "whole")
    finish = OneOfSeveral.finish_step

    def killed(self: OneOfSeveral, step: int, ranks: object) -> None:
        if step == 1:
            raise KeyboardInterrupt
        finish(self, step, ranks)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(OneOfSeveral, "finish_step", killed)
        with pytest.raises(KeyboardInterrupt):
            run_deco(short, tmp_path / "broken")
    assert list((tmp_path / "broken" / "checkpoints").glob("*.json"))
    resumed = run_deco(short, tmp_path / "broken")
    assert resumed["heads"] == undisturbed["heads"]
    assert resumed["aligner"] == undisturbed["aligner"]


def test_heads_that_share_train_alone() -> None:
    for heads in RUNS:
        gradients = {HEADS[name].gradient for name in heads}
        assert len(gradients) == 1
        assert gradients == {"isolated"} or len(heads) == 1
    assert {name for heads in RUNS for name in heads} == set(HEADS)


def _scores(value: float) -> dict[str, dict[str, float]]:
    tiers = ("", "_frequent", "_rare", "_unseen")
    scores = {f"ap{tier}": value for tier in tiers} | {"agnostic_ap75": value}
    return {"list": scores, "free": scores, "aligner": scores}


def _claims(**values: float) -> dict[str, Row]:
    own = dict.fromkeys(HEADS, 50.0) | {n.replace("_", ", "): v for n, v in values.items()}
    results = {seed: {name: _scores(value + seed) for name, value in own.items()} for seed in SEEDS}
    return {row.metric: row for row in claims(results)}


def test_a_claim_is_a_mean_of_paired_differences() -> None:
    rows = _claims(whole=60, coarse=40, shared=53)
    fine = rows["fine prototypes, by 64 names, ap: whole - coarse"]
    assert (fine.value, fine.holds) == (20, True)
    harmed = rows["isolation, by 64 names, ap_frequent: constant - shared"]
    assert (harmed.value, harmed.holds) == (-3, False)
    assert rows["cosine schedule, by 64 names, ap_unseen: whole - constant"].holds
    equal = _claims()
    assert equal["isolation, by 64 names, ap_frequent: constant - shared"].holds
    assert equal["isolation, by 64 names, ap_unseen: constant - shared"].holds is False
    assert equal["isolation, boxes, agnostic_ap75: constant - shared"].holds


def test_rows_are_means_with_each_seed_beside_them() -> None:
    seeds = [_scores(10.0), _scores(20.0)]
    rows = {row.metric: row for row in score_rows("whole", seeds)}
    row = rows["AP(.5,.75), whole, by prototypes' names, unseen"]
    assert (row.value, row.detail) == (15, "seeds: 10.0, 20.0")
    assert len(rows) == 6
    boxes = {row.metric: row.value for row in detector_rows("whole", seeds)}
    assert boxes["AP75 agnostic, beside whole"] == 15
    assert list(score_rows("whole", [])) == list(detector_rows("whole", [])) == []


def test_without_time_there_are_no_rows(tmp_path: Path) -> None:
    place = Place(tmp_path, deadline=0)
    assert list(module.deco(place)) == []
    assert place.asked == len(RUNS) * len(SEEDS)
