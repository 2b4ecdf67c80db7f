"""`opendet detect`: masks in drawings and in JSON, and options that do not fit in one line."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tiny_families import save_tiny_family
from tiny_sam import save_tiny_sam

from opendet.masks import Rle, compressed, mask_boxes_xywh
from opendet.model.vocabulary import Vocabulary, write_vocabulary
from opendet.predict_masks import mask_pixels
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.cli_world import Ended, picture, run_cli
from tests.model.worlds import build_detector, build_namer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model`, a detector, `sam`, and what VL-SAM needs beside it."""
    folder = tmp_path_factory.mktemp("models")
    detector = build_detector()
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(folder / "model", detector, own_tensors(detector), resize=resize, training={})
    save_tiny_sam(folder / "sam", "sam")
    save_tiny_family(folder / "speaker", "qwen2_5_vl")
    both = {"model": str(folder / "speaker"), "segmenter": str(folder / "sam")}
    asked = {"floor": 0.0, "min_score": 0.0, "max_new_tokens": 24}
    (folder / "vl_sam.yaml").write_text(yaml.safe_dump({**both, **asked}))
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "wide.png").write_bytes(picture(1, (64, 48), "PNG"))
    (tmp_path / "high.png").write_bytes(picture(2, (40, 70), "PNG"))
    return tmp_path


def detect(folder: Path, models: Path, *more: str) -> Ended:
    model = ("--model", str(models / "model"), "--min-score", "0")
    return run_cli(folder, "detect", "wide.png", "high.png", *model, *more)


def lines(ended: Ended) -> list[dict[str, Any]]:
    assert (ended.code, ended.err) == (0, "")
    return [json.loads(line) for line in ended.out.splitlines()]


def test_masks_are_cocos_codes_of_the_images_size(models: Path, pictures: Path) -> None:
    seen = lines(detect(pictures, models, "--json", "--masks", str(models / "sam")))
    drawn = 0
    for one, size_hw in zip(seen, [(48, 64), (70, 40)], strict=True):
        for found in one["objects"]:
            assert found.keys() == {"box_xyxy", "score", "names", "segmentation"}
            if code := found["segmentation"]:
                rle = Rle(tuple(code["size"]), code["counts"])
                compressed(rle, size_hw, "reads as a mask of its image")
                drawn += 1
    assert drawn > 0


def test_masks_change_nothing_else(models: Path, pictures: Path) -> None:
    plain = lines(detect(pictures, models, "--json"))
    masked = lines(detect(pictures, models, "--json", "--masks", str(models / "sam")))
    for one in masked:
        for found in one["objects"]:
            del found["segmentation"]
    assert masked == plain


def test_drawings_have_the_masks_in_colour(models: Path, pictures: Path) -> None:
    detect(pictures, models, "--out", "plain")
    masks = ("--masks", str(models / "sam"))
    [wide, _] = lines(detect(pictures, models, "--out", "masked", "--json", *masks))
    plain, masked = (
        np.asarray(Image.open(pictures / folder / "wide.png"), np.int16)
        for folder in ("plain", "masked")
    )
    inside = np.zeros((48, 64), np.bool_)
    for found in wide["objects"]:
        if code := found["segmentation"]:
            inside |= mask_pixels(code["counts"], (48, 64))
    scale = plain.shape[0] // 48
    changed = np.abs(plain - masked).max(-1).reshape(48, scale, 64, scale).max((1, 3)) > 0
    assert inside.any()
    assert changed[inside].mean() > 0.5


def test_names_are_chosen_from_a_list(models: Path, pictures: Path) -> None:
    width = build_namer().prompt_width
    vocabulary = Vocabulary(("cat", "dog", "red star"), torch.eye(3, width), "any", "{name}")
    write_vocabulary(pictures / "three", vocabulary)
    (pictures / "two.txt").write_text("dog\ncat\n")
    options = ("--json", "--vocabulary", "three")
    known = {"cat", "dog", "red star"}
    for names in ((), ("--names", "two.txt"), ("--names", "cat, dog")):
        seen = lines(detect(pictures, models, *options, *names))
        said = [name for one in seen for found in one["objects"] for name in found["names"]]
        assert said
        assert set(said) <= (known - {"red star"} if names else known)
    ended = detect(pictures, models, *options, "--names", "cat,horse")
    assert ended.code == 1
    assert "the vocabulary lacks 'horse'" in ended.line


def vl_sam(folder: Path, models: Path, *more: str) -> Ended:
    config = str(models / "vl_sam.yaml")
    files = ("high.png", "gone.png", "wide.png")
    return run_cli(folder, "detect", *files, "--method", "vl-sam", "--model", config, *more)


def test_vl_sam_brings_masks_and_maps(models: Path, pictures: Path) -> None:
    ended = vl_sam(pictures, models, "--json", "--out", "drawn", "--maps", "maps")
    assert (ended.code, ended.line) == (1, "gone.png: there is no such file")
    seen = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["file"] for one in seen] == ["high.png", "wide.png"]
    found = [(one, thing) for one in seen for thing in one["objects"]]
    assert found
    for one, thing in found:
        size_hw = one["height"], one["width"]
        code = thing["segmentation"]
        mask = compressed(Rle(tuple(code["size"]), code["counts"]), size_hw, "a mask of its image")
        x, y, width, height = mask_boxes_xywh([mask])[0].tolist()
        assert thing["box_xyxy"] == [x, y, x + width, y + height]
    assert {path.name for path in (pictures / "drawn").iterdir()} == {"high.png", "wide.png"}
    maps = [path.name.split("-")[0] for path in (pictures / "maps").iterdir()]
    assert set(maps) == {"high", "wide"}


def test_vl_sam_tells_what_came_to_nothing(models: Path, pictures: Path) -> None:
    """Without it, nobody knows why nothing is found."""
    said = vl_sam(pictures, models, "--min-score", "1").out.splitlines()
    assert said[0].startswith("high.png: nothing found -> detections/high.png")
    assert re.fullmatch(r"left out: [a-z' ]+ \d+(, [a-z' ]+ \d+)*", said[-1])


def test_vl_sam_leaves_out_what_is_less_sure_than_asked(models: Path, pictures: Path) -> None:
    ended = vl_sam(pictures, models, "--json", "--min-score", "1")
    assert [json.loads(line)["objects"] for line in ended.out.splitlines()] == [[], []]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--method", "sam"), "no method is called 'sam'; there are open-det, vl-sam"),
        (("--maps", "maps"), "--maps is for --method vl-sam: leave it out, or change --method"),
        (("--method", "vl-sam", "--masks", "x"), "--masks is for --method open-det"),
        (("--method", "vl-sam", "--names", "cat"), "--names is for --method open-det"),
        (("--method", "vl-sam", "--build", "demo"), "--build is for --method open-det"),
        (("--method", "vl-sam", "--vocabulary", "x.npz"), "--vocabulary is for --method open-det"),
        (("--method", "vl-sam", "--model", "x.yaml"), "there is no file x.yaml: write a YAML file"),
        (("--masks", "./nowhere"), "--masks: there is no folder ./nowhere"),
        (("--masks", "{models}/model"), "--masks: cannot load"),
        (("--names", "none.txt"), "there is no file none.txt"),
        (("--namer", "t6"), "namer: Input should be 'auto', 't5', 'prototypes'"),
        (("--namer", "t5", "--names", "cat"), "namer t5 writes what it likes: leave names and"),
        (("--namer", "vocabulary"), "names: their text vectors are missing"),
        (("--build", "demo"), "--model and --build both name a model: leave one of them out"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    models: Path, pictures: Path, options: tuple[str, ...], said: str
) -> None:
    ended = detect(pictures, models, *(one.format(models=models) for one in options))
    assert ended.code == 1
    assert said in ended.line
    assert not (pictures / "detections").exists()


def test_vl_sam_needs_its_configuration(pictures: Path) -> None:
    ended = run_cli(pictures, "detect", "wide.png", "--method", "vl-sam")
    assert ended.code == 1
    assert "--method vl-sam needs --model: a YAML file that names its two models" in ended.line
