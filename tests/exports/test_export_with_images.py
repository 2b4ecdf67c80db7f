"""Exports with their images, as the readers that people use take them: supervision, pycocotools."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from opendet.exports.formats import WRITERS
from opendet.sample import Sample
from opendet.yaml_file import read_yaml
from tests.cli_world import SCENES, make_project, run_cli
from tests.corrections.correction_world import corrected_project
from tests.shard_world import publish, samples

CAT, DOG = [4, 4, 34, 34], [4, 4, 35, 34]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures; the boxes of two cats and two dogs are kept."""
    return corrected_project(tmp_path_factory.mktemp("pictured") / "project")


def export(project: Path, form: str, how: str) -> Path:
    ended = run_cli(project, "data", "export", form, f"{form}-{how}", "--images", how)
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{form}-{how}: 6 images, 4 objects written")
    return project / f"{form}-{how}"


def supervision_classes():
    return pytest.importorskip("supervision", reason="pip install supervision").DetectionDataset


def boxes_of(dataset, stem: str) -> list[list[float]]:
    [path] = [one for one in dataset.image_paths if Path(one).stem == stem]
    found = dataset.annotations[path]
    named = zip(found.xyxy.tolist(), found.class_id.tolist(), strict=True)
    return [[*np.round(box, 3).tolist(), dataset.classes[number]] for box, number in named]


@pytest.mark.parametrize("how", ["copy", "link"])
def test_supervision_reads_yolo(project: Path, how: str) -> None:
    folder = export(project, "yolo", how)
    dataset = supervision_classes().from_yolo(
        str(folder / "images/train"), str(folder / "labels/train"), str(folder / "data.yaml")
    )
    assert (len(dataset), dataset.classes) == (6, ["cat", "dog"])
    assert boxes_of(dataset, "train-p0") == [[*CAT, "cat"]]
    assert boxes_of(dataset, "train-p1") == [[*DOG, "dog"]]
    assert boxes_of(dataset, "train-p2") == []
    assert dataset[0][1].shape == (48, 64, 3)


def test_a_yolo_folder_says_where_its_images_are(project: Path) -> None:
    folder = project / "named"
    assert run_cli(project, "data", "export", "yolo", "named", "--images", "copy").code == 0
    data = read_yaml(folder / "data.yaml")
    assert data == {"train": "train.txt", "names": {0: "cat", 1: "dog"}}
    listed = (folder / "train.txt").read_text().splitlines()
    assert listed[0] == "./images/train/train-p0.jpg"
    assert all((folder / one).is_file() for one in listed)


@pytest.mark.parametrize("how", ["copy", "link"])
def test_supervision_and_pycocotools_read_coco(project: Path, how: str) -> None:
    folder = export(project, "coco", how)
    path = folder / "instances_train.json"
    dataset = supervision_classes().from_coco(str(folder / "images"), str(path))
    assert boxes_of(dataset, "train-p1") == [[*DOG, "dog"]]
    coco = COCO(str(path))
    [image] = [one for one in coco.loadImgs(coco.getImgIds()) if one["file_name"] == "train-p0.jpg"]
    [cat] = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
    assert coco.annToMask(cat).sum() == 48, "the diagonal"
    assert (cat["bbox"], coco.cats[cat["category_id"]]["name"]) == ([4, 4, 30, 30], "cat")


@pytest.mark.parametrize("how", ["copy", "link"])
def test_supervision_reads_voc(project: Path, how: str) -> None:
    folder = export(project, "voc", how)
    dataset = supervision_classes().from_pascal_voc(
        str(folder / "JPEGImages"), str(folder / "Annotations")
    )
    [box] = boxes_of(dataset, "train-p0")
    assert box[-1] == "cat"
    assert np.abs(np.subtract(box[:4], CAT)).max() <= 1


def test_images_are_the_sources_own_bytes(project: Path) -> None:
    for how in ("copy", "link"):
        folder = project / f"lvis-{how}"
        assert run_cli(project, "data", "export", "lvis", folder.name, "--images", how).code == 0
        for source in sorted((project / "pictures").glob("*.jpg")):
            written = folder / "images" / f"train-{source.name}"
            digests = {hashlib.sha256(one.read_bytes()).digest() for one in (source, written)}
            assert len(digests) == 1
            assert written.samefile(source) == (how == "link")


def test_a_source_that_changed_is_not_linked(project: Path, tmp_path: Path) -> None:
    picture = project / "pictures/p5.jpg"
    content = picture.read_bytes()
    picture.unlink()  # not written over: it may be linked
    try:
        ended = run_cli(project, "data", "export", "coco", "gone", "--images", "link")
        assert "train-p5: its image is gone" in ended.line
        picture.write_bytes(content + b"x")
        ended = run_cli(project, "data", "export", "coco", "gone", "--images", "link")
        assert "train-p5: p5.jpg changed" in ended.line
        assert not (project / "gone").exists()
    finally:
        picture.write_bytes(content)


def drawn(batch: str, count: int) -> list[Sample]:
    """All out of one file, as the stage source draws them."""
    made = samples(count, batch=batch, split=batch)
    return [
        replace(one, record=replace(one.record, file=f"images-{batch}.parquet")) for one in made
    ]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("scenes") / "project", SCENES)
    parts = {f"{batch}-000000": drawn(batch, 4) for batch in ("train", "val")}
    publish(root / "datasets/tiny/shards", parts)
    return root


@pytest.mark.parametrize("form", WRITERS)
def test_drawn_scenes_that_share_a_file_are_all_written(scenes: Path, form: str) -> None:
    ended = run_cli(scenes, "data", "export", form, form)
    images = 6 if form == "odvg-opengdino" else 8  # its loader takes none without boxes
    assert ended.out.startswith(f"{form}: {images} images, 6 objects written"), ended.err
    assert "same file as another" not in ended.out


def test_drawn_scenes_are_called_by_their_keys_with_and_without_images(scenes: Path) -> None:
    names = []
    for how in ("none", "copy"):
        ended = run_cli(scenes, "data", "export", "coco", f"called-{how}", "--images", how)
        assert ended.code == 0, ended.err
        world = json.loads((scenes / f"called-{how}/instances_val.json").read_text("utf-8"))
        names.append([image["file_name"] for image in world["images"]])
    assert names[0] == names[1] == ["val-0000.jpg", "val-0001.png", "val-0002.webp", "val-0003.jpg"]
    assert all((scenes / "called-copy/images" / name).is_file() for name in names[1])
