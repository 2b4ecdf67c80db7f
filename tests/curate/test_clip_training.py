import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from clip_world import COLOURS, TINY, sample, samples
from pydantic import ValidationError

from opendet.annotators.clip import Clip
from opendet.annotators.tiny_clip import write_tokenizer
from opendet.curate.clip import (
    CHOICE,
    ClipConfig,
    build_clip,
    choose_records,
    crops_and_texts,
    open_clip_of,
)
from opendet.curate.clip_training import augment, clip_loss, gather, train_clip
from opendet.files import sha256_of


def stamps(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir())}


def loss(crops: torch.Tensor, texts: torch.Tensor, own: torch.Tensor, **knobs: float) -> float:
    asked = {"smoothing": 0.0, "trust": 1.0} | knobs
    return float(clip_loss(crops, texts, own, torch.tensor(10.0), **asked))


def test_loss_by_hand():
    # logits are (10, 0) and (0, 10): log(1 + e^-10) in both directions
    eye, own = torch.eye(2), torch.tensor([0, 1])
    assert loss(eye, eye, own) == pytest.approx(4.5398e-5, rel=1e-3)
    assert loss(eye, eye, own.flip(0)) == pytest.approx(10.0, abs=1e-3)


@pytest.mark.parametrize("width", [-16, 0, 24, 100_000_000])
def test_a_width_that_no_text_tower_has_is_refused(width: int) -> None:
    with pytest.raises(ValidationError, match="width"):
        ClipConfig(width=width)


def test_a_text_that_two_crops_share_pushes_neither_away():
    crops, texts = torch.eye(2)[[0, 0, 1]], torch.eye(2)
    # text to crop: the two crops of text 0 share its softmax, so each pays log 2
    expected = (0 + 2 * 0.6931 / 3) / 2
    assert loss(crops, texts, torch.tensor([0, 0, 1])) == pytest.approx(expected, abs=1e-3)


def test_distrust_leaves_out_the_crop_that_disagrees():
    crops, texts = torch.eye(4), torch.eye(4)
    lying = torch.tensor([0, 1, 2, 0])
    assert loss(crops, texts, lying, trust=0.75) < 0.1 < loss(crops, texts, lying)


def test_augmenting_keeps_shape_and_range():
    crops = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    moved = augment(crops, torch.Generator().manual_seed(0))
    assert moved.shape == crops.shape
    assert float(moved.min()) >= -1.001
    assert float(moved.max()) <= 1.001


def test_the_label_is_never_looked_at():
    blind = [
        replace(
            one,
            record=replace(
                one.record, regions=tuple(replace(r, label=None) for r in one.record.regions)
            ),
        )
        for one in samples()
    ]
    seen, unseen = (
        gather(crops_and_texts(world, TINY), image_size=32) for world in (samples(), blind)
    )
    assert seen.texts == unseen.texts == tuple(sorted(COLOURS))
    assert torch.equal(seen.crops, unseen.crops)
    assert torch.equal(seen.text_of, unseen.text_of)


def test_unnamed_and_crowds_teach_nothing():
    world = samples()
    crowd = replace(world[5].record.regions[0], crowd=True)
    world[5] = replace(world[5], record=replace(world[5].record, regions=(crowd,)))
    assert len(list(crops_and_texts(world, TINY))) == 12


def test_one_name_is_too_little(tmp_path: Path):
    with pytest.raises(ValueError, match="needs two to tell apart") as caught:
        build_clip([sample("b0-0", ("red", "red"))], TINY, seed=0, folder=tmp_path)
    assert "\n" not in str(caught.value)


def test_same_seed_same_bytes_other_seed_other_weights(tmp_path: Path):
    for name, seed in (("first", 0), ("second", 0), ("third", 1)):
        metrics = build_clip(samples(), TINY, seed=seed, folder=tmp_path / name)
        assert metrics["crops"] == 13
    first, second, third = (stamps(tmp_path / name) for name in ("first", "second", "third"))
    assert first == second
    assert first["open_clip_model.safetensors"] != third["open_clip_model.safetensors"]
    assert first["tokenizer.json"] == third["tokenizer.json"]


def test_training_leaves_torch_as_it_was(tmp_path: Path):
    torch.manual_seed(7)
    threads, expected = torch.get_num_threads(), torch.rand(1)
    torch.manual_seed(7)
    train_clip(crops_and_texts(samples(), TINY), TINY, seed=0, folder=tmp_path)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(1), expected)


def test_tokenizer_is_the_same_in_every_process(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; "
        "from opendet.annotators.tiny_clip import write_tokenizer; "
        "write_tokenizer(Path(sys.argv[1]), ['red star', 'blue ring', 'red ring'], 280)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        check=True,
        env={"PYTHONHASHSEED": "1", "HF_HUB_OFFLINE": "1"},
    )
    write_tokenizer(tmp_path / "here", ["red ring", "red star", "blue ring"], 280)
    assert stamps(tmp_path / "here") == stamps(tmp_path / "there")


def test_a_chosen_folder_is_loaded_and_remembered(tmp_path: Path):
    build_clip(samples(), TINY, seed=0, folder=tmp_path / "own")
    chosen = TINY.model_copy(update={"model": str(tmp_path / "own"), "template": "a {name}"})
    assert build_clip([], chosen, seed=0, folder=tmp_path / "stage") == {}
    clip, choice = open_clip_of(tmp_path / "stage")
    assert (choice.template, choice.revision) == ("a {name}", clip.revision)
    assert clip.revision == Clip.load(str(tmp_path / "own")).revision


def test_a_wrong_choice_fails_in_the_stage(tmp_path: Path):
    wrong = TINY.model_copy(update={"model": "no/such/model"})
    with pytest.raises(ValueError, match="neither a folder nor an open_clip name"):
        build_clip([], wrong, seed=0, folder=tmp_path)
    with pytest.raises(ValueError, match=f"{CHOICE} is missing"):
        open_clip_of(tmp_path)


def test_a_wrong_tower_gives_one_line(tmp_path: Path):
    wrong = TINY.model_copy(update={"tower": "no_such_tower"})
    with pytest.raises(ValueError, match=r"set `clip\.tower`"):
        build_clip(samples(), wrong, seed=0, folder=tmp_path)


def test_weights_that_changed_since_are_refused(tmp_path: Path):
    build_clip(samples(), TINY, seed=0, folder=tmp_path / "own")
    chosen = TINY.model_copy(update={"model": str(tmp_path / "own")})
    build_clip([], chosen, seed=0, folder=tmp_path / "stage")
    build_clip(samples(), TINY, seed=1, folder=tmp_path / "own")
    with pytest.raises(ValueError, match="the build chose"):
        open_clip_of(tmp_path / "stage")


def test_records_are_drawn_until_there_are_regions_enough():
    records = [one.record for one in samples()]
    assert choose_records(records, regions=100, seed=0) == [r for r in records if r.regions]
    few = choose_records(records, regions=3, seed=0)
    assert 3 <= sum(len(record.regions) for record in few) <= 7
    assert few == choose_records(records, regions=3, seed=0)
    assert [r.key for r in few] == sorted(r.key for r in few)


def test_it_learns_colours_though_some_names_are_wrong(tmp_path: Path):
    world = [sample(f"b0-{n}", COLOURS[n % 4 :] + COLOURS[: n % 4]) for n in range(40)]
    lying = replace(world[0].record.regions[0], names=("green",))
    first = replace(world[0].record, regions=(lying, *world[0].record.regions[1:]))
    world[0] = replace(world[0], record=first)
    build_clip(world, TINY.model_copy(update={"steps": 60}), seed=0, folder=tmp_path)
    clip = Clip.load(str(tmp_path))
    crops = [crop for crop, _ in crops_and_texts(world[:1], TINY)]
    nearest = (clip.encode_images(crops) @ clip.encode_texts(COLOURS).T).argmax(1)
    assert nearest.tolist() == [0, 1, 2, 3]
