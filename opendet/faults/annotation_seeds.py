"""A small batch of each format that a source may have: what fuzzing begins from."""

import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from opendet.faults.toy_project import SIZE, encoded, picture

WIDTH, HEIGHT = SIZE
CAPTION = "a cat. a dog. "


@dataclass(frozen=True, slots=True)
class Seed:
    """A batch that is read without a word."""

    batch: Mapping[str, Any]
    """As the source card says of it."""
    files: Mapping[str, bytes]
    """Path below the root -> content, without the pictures."""


def pictures() -> dict[str, bytes]:
    """Path below the root -> content: what every batch speaks of."""
    return {f"images/{number}.jpg": encoded(picture(number)) for number in range(2)}


def seeds() -> dict[str, Seed]:
    """By a name of their own: some formats come in several forms."""
    return {
        "coco": _coco(),
        "lvis": _lvis(),
        "generateu": _generateu(),
        "voc": _voc(),
        "yolo": _yolo("data.yaml", b"path: .\nnames:\n  0: cat\n  1: dog\n"),
        "yolo by a text": _yolo("classes.txt", b"cat\ndog\n"),
        "visual_genome": _visual_genome(),
        "flickr30k": _flickr30k(),
        "refcoco": _refcoco(),
        "mdetr": _mdetr(),
        "openimages": _openimages(),
        "odvg": _odvg(),
        "odvg of detections": _odvg_of_detections(),
        "grit": _grit("grit.jsonl", "\n".join(map(json.dumps, _grit_rows())).encode()),
        "grit as a list": _grit("grit.json", json.dumps(_grit_rows()).encode()),
        "grit in Parquet": _grit("grit.parquet", _parquet(_grit_rows())),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _instances(**more: Any) -> dict[str, Any]:
    images = [
        {"id": n, "file_name": f"{n}.jpg", "width": WIDTH, "height": HEIGHT, "license": 1}
        for n in range(2)
    ]
    outline = [4.0, 4.0, 34.0, 4.0, 34.0, 24.0]
    run_lengths = {"size": [HEIGHT, WIDTH], "counts": [100, 20, WIDTH * HEIGHT - 120]}
    boxes: list[dict[str, Any]] = [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [4, 4, 30, 20], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [1.5, 2.5, 20, 10], "iscrowd": 1},
    ]
    for box, mask in zip(boxes, ([outline], run_lengths), strict=True):
        box["segmentation"] = mask
    return {
        "licenses": [{"id": 1, "name": "CC0-1.0"}],
        "images": images,
        "annotations": boxes,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        **more,
    }


def _coco() -> Seed:
    said = {"annotations": [{"image_id": n, "caption": CAPTION} for n in range(2)]}
    batch = {"format": "coco", "annotations": "a.json", "captions": "c.json", "masks": True}
    return Seed(batch, {"a.json": _json(_instances()), "c.json": _json(said)})


def _lvis() -> Seed:
    world = _instances()
    for image in world["images"]:
        image |= {"neg_category_ids": [2], "not_exhaustive_category_ids": [1]}
        image["coco_url"] = f"http://images.example/images/{image.pop('file_name')}"
    for category in world["categories"]:
        category["synonyms"] = [category["name"], f"{category['name']}_(animal)"]
    return Seed({"format": "lvis", "images": "", "annotations": "a.json"}, {"a.json": _json(world)})


def _generateu() -> Seed:
    world = _instances()
    for box in world["annotations"]:
        box["object_name"] = "cat, kitten"
    return Seed({"format": "generateu", "annotations": "a.json"}, {"a.json": _json(world)})


def _voc() -> Seed:
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>34</xmax><ymax>24</ymax></bndbox>"
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    text = f"<annotation>{size}<object><name>cat</name>{box}</object></annotation>".encode()
    files = {"xml/0.xml": text, "xml/1.xml": text, "list.txt": b"0\n1  1\n"}
    return Seed({"format": "voc", "annotations": "xml", "list": "list.txt"}, files)


def _yolo(names: str, content: bytes) -> Seed:
    lines = b"0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.4 0.1 0.4 0.4 0.9\n"
    files = {names: content, "labels/0.txt": lines, "labels/1.txt": b""}
    return Seed({"format": "yolo", "annotations": names, "masks": True}, files)


def _visual_genome() -> Seed:
    url = "https://example.org/images/VG_100K/{}.jpg"
    images = [
        {"image_id": n, "url": url.format(n), "width": WIDTH, "height": HEIGHT} for n in range(2)
    ]
    box = {"x": 4, "y": 4, "w": 30, "h": 20, "names": ["cat", "kitten"]}
    region = {"x": 4, "y": 4, "width": 30, "height": 20, "phrase": "a cat that sits"}
    files = {
        "vg/image_data.json": _json(images),
        "vg/objects.json": _json([{"image_id": 0, "objects": [box]}]),
        "vg/region_descriptions.json": _json([{"id": 1, "regions": [region]}]),
    }
    return Seed({"format": "visual_genome", "annotations": "vg"}, files)


def _flickr30k() -> Seed:
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>34</xmax><ymax>24</ymax></bndbox>"
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    xml = f"<annotation>{size}<object><name>1</name>{box}</object></annotation>".encode()
    said = b"[/EN#1/animals A cat] sits on [/EN#2/other a mat] .\nA cat .\n"
    files = {f"e/Annotations/{n}.xml": xml for n in range(2)}
    files |= {f"e/Sentences/{n}.txt": said for n in range(2)}
    files |= {"e/UNRELATED_CAPTIONS": b"#x\n1 2\n", "list.txt": b"0\n1\n"}
    return Seed({"format": "flickr30k", "annotations": "e", "list": "list.txt"}, files)


def _refcoco() -> Seed:
    refs = [
        {"ann_id": n, "split": "train", "sentences": [{"sent": "left cat", "raw": "Left cat!"}]}
        for n in (1, 2)
    ]
    files = {"a.json": _json(_instances()), "refs.p": pickle.dumps(refs, protocol=2)}
    return Seed({"format": "refcoco", "annotations": "a.json", "refs": "refs.p"}, files)


def _mdetr() -> Seed:
    world = _instances()
    for image in world["images"]:
        image["caption"] = CAPTION
    for box in world["annotations"]:
        box["tokens_positive"] = [[2, 5]]
    return Seed({"format": "mdetr", "annotations": "a.json"}, {"a.json": _json(world)})


def _openimages() -> Seed:
    boxes = (
        b"ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n"
        b"0,x,/m/01,1,0.1,0.5,0.1,0.6,0\n1,x,/m/02,1,0.2,0.9,0.3,0.8,1\n"
    )
    labels = b"ImageID,Source,LabelName,Confidence\n0,x,/m/01,1\n0,x,/m/02,0\n"
    files = {"boxes.csv": boxes, "labels.csv": labels, "names.csv": b"/m/01,Cat\n/m/02,Dog\n"}
    batch = {"annotations": "boxes.csv", "labels": "labels.csv", "classes": "names.csv"}
    return Seed(
        {"format": "openimages", **batch, "list": "list.txt"}, files | {"list.txt": b"0\ntrain/1\n"}
    )


def _odvg() -> Seed:
    region = {"bbox": [4, 4, 34, 24], "phrase": "a cat", "tokens_positive": [[0, 5]]}
    bare = {"bbox": [[1, 1, 20, 20], [4, 4, 34, 24]], "phrase": ["a dog", "cat"]}
    turns = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "A cat."}]
    lines = [
        {
            "filename": f"{number}.jpg",
            "width": WIDTH,
            "height": HEIGHT,
            "grounding": {"caption": CAPTION, "regions": [one]},
            "conversations": turns,
            "tags": ["cat"],
        }
        for number, one in ((0, region), (1, bare), (1, region))
    ]
    return Seed(
        {"format": "odvg", "annotations": "a.jsonl"},
        {"a.jsonl": "\n".join(map(json.dumps, lines)).encode()},
    )


def _odvg_of_detections() -> Seed:
    found = [{"bbox": [4, 4, 34, 24], "label": 0}, {"bbox": [1, 1, 9, 9], "category": "dog"}]
    lines = [{"filename": f"{n}.jpg", "detection": {"instances": found}} for n in range(2)]
    files = {"a.jsonl": "\n".join(map(json.dumps, lines)).encode(), "names.json": b'{"0": "cat"}'}
    batch = {"annotations": "a.jsonl", "label_map": "names.json", "merge": False}
    return Seed({"format": "odvg", **batch}, files)


def _grit_rows() -> list[dict[str, Any]]:
    chunk = [0, 5, 0.1, 0.1, 0.5, 0.5, 0.9]
    return [
        {
            "key": str(number),
            "caption": CAPTION,
            "width": 2 * WIDTH,
            "height": 2 * HEIGHT,
            "noun_chunks": [chunk],
            "ref_exps": [[0, 12, 0.1, 0.1, 0.5, 0.5, 0.8]],
        }
        for number in range(2)
    ]


def _grit(name: str, content: bytes) -> Seed:
    return Seed({"format": "grit", "annotations": name}, {name: content})


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()
