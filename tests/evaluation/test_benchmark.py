"""From pictures and an official annotation file to official results and their numbers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opendet.curate.clip import build_clip
from opendet.evaluation.annotations import AnnotatedSet, ImageEntry, read_annotations
from opendet.evaluation.benchmark import detect_benchmark, judge_of, open_entry
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.protocols import judge
from opendet.evaluation.results import read_results
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.cli_world import run_cli
from tests.clip_world import TINY, samples
from tests.evaluation.official_world import CATEGORY_IDS, random_lvis, write_json
from tests.model.worlds import build_detector

CONFIG = EvaluateConfig(protocol="generateu")


@dataclass(frozen=True)
class Found:
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    names: list[list[str]]
    prompts: None = None
    masks: None = None


def words(texts: Sequence[str]) -> np.ndarray:
    """(N, 64): a text is its last word, so that `a thing 7` is what it says."""
    rows = [np.random.default_rng(sum(t.split()[-1].encode())).normal(size=64) for t in texts]
    return np.stack([row / np.linalg.norm(row) for row in rows])


def pictures(folder: Path) -> AnnotatedSet:
    """A grey picture for each image; its brightness tells which one it is."""
    file, _ = random_lvis(2)
    (folder / "val2017").mkdir(parents=True)
    for number, image in enumerate(sorted(file["images"], key=lambda one: one["id"])):
        image["coco_url"] = f"http://images/val2017/{image['id']}.png"
        Image.new("L", (200, 200), number).save(folder / "val2017" / f"{image['id']}.png")
    return read_annotations(write_json(folder / "a.json", file))


def seer(known: AnnotatedSet) -> Any:
    """Finds every object and says its category's name first, then something else."""

    def look(image: Image.Image) -> Found:
        rows = np.flatnonzero(known.objects.image == image.getpixel((0, 0))[0])
        xywh = known.objects.boxes_xywh[rows]
        names = [[known.categories[c].words] for c in known.objects.category[rows]]
        boxes_xyxy = np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), 1)
        return Found(boxes_xyxy, np.full(len(rows), 0.9), names)

    return lambda images: [look(image) for image in images]


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_detector_that_sees_all_is_perfect(tmp_path: Path, batch_size: int) -> None:
    known = pictures(tmp_path)
    config = CONFIG.model_copy(update={"batch_size": batch_size})
    reader = judge_of(known, words, None, config)
    found = detect_benchmark(seer(known), known, tmp_path, reader, config)
    assert len(found) == 4 * len(known.objects.image), "each box once for each of 4 categories"
    assert judge(known, found, "lvis")["AP"] == pytest.approx(1.0)
    assert judge(known, found, "lvis_minival")["AP"] == pytest.approx(1.0)
    assert judge(known, found, "class_agnostic")["AR@100"] == pytest.approx(1.0)


def test_class_vectors_from_a_file(tmp_path: Path) -> None:
    known = pictures(tmp_path)
    np.save(tmp_path / "w.npy", 10 * words([f"a thing {one}" for one in CATEGORY_IDS]))
    reader = judge_of(known, words, tmp_path / "w.npy", CONFIG)
    found = detect_benchmark(seer(known), known, tmp_path, reader, CONFIG)
    assert judge(known, found, "lvis")["AP"] == pytest.approx(1.0)
    np.save(tmp_path / "w.npy", np.eye(4))
    with pytest.raises(ValueError, match="class vectors are 4 wide and the text tower's 64"):
        judge_of(known, words, tmp_path / "w.npy", CONFIG)


def test_an_image_that_is_away_or_broken_is_one_line(tmp_path: Path) -> None:
    known = pictures(tmp_path)
    entry = ImageEntry(1, file_name="deep/x.jpg")
    with pytest.raises(ValueError, match=r"has no deep/x\.jpg: name the folder of the images"):
        open_entry(tmp_path, entry)
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"x\.jpg cannot be read: format not allowed"):
        open_entry(tmp_path, entry)
    assert open_entry(tmp_path / "val2017", known.images[0]).size == (200, 200)


def test_the_command_on_files(tmp_path: Path) -> None:
    file, results = random_lvis(2)
    write_json(tmp_path / "a.json", file)
    write_json(tmp_path / "r.json", results)
    known = read_annotations(tmp_path / "a.json")
    wanted = judge(known, read_results(tmp_path / "r.json", known), "lvis")
    ended = run_cli(tmp_path, "judge", "a.json", "r.json", "--protocol", "lvis", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert found == {name: None if np.isnan(one) else one for name, one in wanted.items()}
    table = run_cli(tmp_path, "judge", "a.json", "r.json", "--protocol", "lvis").out
    assert f"AP               {wanted['AP']:.4f}" in table.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.json", "r.json", "--model", "m"), "name --images too"),
        ((".", "r.json"), ". is a folder: name a JSON file in it"),
        (("a.json", "."), ". is a folder: name a JSON file in it"),
        (("nan.json", "r.json"), "annotations.0.area: Input should be a finite number"),
        (("a.json", "r.json", "--protocol", "lviss"), "there are coco"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    file, results = random_lvis(2)
    write_json(tmp_path / "a.json", file)
    write_json(tmp_path / "r.json", results)
    file["annotations"][0]["area"] = float("nan")
    write_json(tmp_path / "nan.json", file)
    ended = run_cli(tmp_path, "judge", *arguments)
    assert ended.code == 1
    assert said in ended.line


def test_the_command_from_pictures_to_numbers(tmp_path: Path) -> None:
    """A detector and a text tower of real kinds, as small as they come."""
    known = pictures(tmp_path)
    detector = build_detector()
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(tmp_path / "model", detector, own_tensors(detector), resize=resize, training={})
    build_clip(samples(), TINY, seed=0, folder=tmp_path / "clip")
    files = ("a.json", "found.json", "--images", ".", "--model", "model", "--clip", "clip")
    ended = run_cli(tmp_path, "judge", *files, "--protocol", "lvis", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = read_results(tmp_path / "found.json", known)
    assert len(found) > 0
    assert set(found.image) == set(range(len(known.images)))
    assert len(np.unique(found.category)) == len(CATEGORY_IDS)
    again = run_cli(tmp_path, "judge", "a.json", "found.json", "--protocol", "lvis", "--json")
    assert again.out == ended.out, "what was written gives the numbers that were told"


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("ov_coco", "a.json has no category person"),
        ("lvis_minival", "a.json has no image whose coco_url is of val2017"),
        ("lvis", "a.json is no LVIS file"),
        ("coco_masks", "coco_masks judges masks and Open-Det finds boxes: name a model"),
    ],
)
def test_a_protocol_that_does_not_fit_is_told_before_detecting(
    tmp_path: Path, protocol: str, said: str
) -> None:
    """There is no model and no image, and nobody looked for them."""
    file, _ = random_lvis(2)
    file["images"] = [{"id": one["id"], "file_name": "x.png"} for one in file["images"]]
    write_json(tmp_path / "a.json", file)
    away = ("--images", "nowhere", "--model", "nowhere", "--clip", "nowhere")
    ended = run_cli(tmp_path, "judge", "a.json", "new.json", *away, "--protocol", protocol)
    assert ended.code == 1
    assert said in ended.line
    assert not (tmp_path / "new.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.json", "none.json"), "none.json is missing"),
        (("r.json", "a.json"), "r.json: its root: Input should be"),
        (("a.json", "r.json", "--protocol", "voc"), "no protocol is called 'voc'; there are coco"),
        (("a.json", "r.json", "--protocol", "ov_coco"), "a.json has no category person"),
        (("a.json", "n.json", "--images", "."), "name --model and --clip"),
        (
            ("a.json", "r.json", "--images", ".", "--model", ".", "--clip", "."),
            "r.json exists: leave --images out",
        ),
        (
            ("a.json", "r.json/new.json", "--images", ".", "--model", ".", "--clip", "."),
            "r.json cannot be a folder, r.json is none: name another place",
        ),
    ],
)
def test_what_the_user_must_mend_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    file, results = random_lvis(2)
    write_json(tmp_path / "a.json", file)
    write_json(tmp_path / "r.json", results)
    ended = run_cli(tmp_path, "judge", *arguments)
    assert ended.code == 1
    assert said in ended.line
