"""The seeds' image sets in small: three pictures, two boxes of each, in each set's own format."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from tiny_detectors import save_tiny_owl
from transformers import Owlv2ForObjectDetection

from tests.cli_world import picture

SIZE = (320, 240)
OWN = [[10.0, 20.0, 100.0, 120.0], [150.0, 40.0, 60.0, 80.0]]
"""The source's boxes of each image, xywh."""


def as_xywh(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [x0, y0, x1 - x0, y1 - y0]


def write_pictures(folder: Path, count: int = 3) -> list[str]:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(picture(number, SIZE))
    return [f"{number}.jpg" for number in range(count)]


def write_coco(
    root: Path,
    file: str = "instances_train2017.json",
    images: str = "train2017",
    *,
    below: str = "",
    captions: bool = False,
    xywh: Sequence[Sequence[Sequence[float]]] = (OWN, OWN, OWN),
) -> None:
    names = write_pictures(root / images)
    listed = [
        {"id": number, "file_name": below + name, "width": SIZE[0], "height": SIZE[1]}
        for number, name in enumerate(names)
    ]
    boxes = [
        {"image_id": number, "category_id": 1, "bbox": box}
        for number, boxes_xywh in enumerate(xywh)
        for box in boxes_xywh
    ]
    said = [{"image_id": number, "caption": "a cat on a car"} for number in range(3)]
    world = {"images": listed, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (root / "annotations").mkdir()
    (root / "annotations" / file).write_text(json.dumps(world))
    if captions:
        text = json.dumps({"images": listed, "annotations": said})
        (root / "annotations" / "captions_train2017.json").write_text(text)


def write_v3det(root: Path) -> None:
    write_coco(root, "v3det_2023_v1_train.json", "images/Q1", below="images/Q1/")


def write_gqa(root: Path) -> None:
    """An image a sentence, as MMDetection's converter writes it; each has one of the boxes."""
    lines = []
    for name in write_pictures(root / "images"):
        for x, y, width, height in OWN:
            box = [x, y, x + width, y + height]
            region = {"bbox": box, "phrase": "a cat", "tokens_positive": [[0, 5]]}
            grounding = {"caption": "a cat near a car", "regions": [region]}
            size = {"height": SIZE[1], "width": SIZE[0]}
            lines.append(json.dumps({"filename": name, **size, "grounding": grounding}))
    (root / "final_mixed_train_no_coco_vg.json").write_text("\n".join(lines))


def write_flickr30k(root: Path) -> None:
    names = [name.removesuffix(".jpg") for name in write_pictures(root / "flickr30k_images")]
    objects = ""
    for chain, (x, y, width, height) in enumerate(OWN, start=1):
        box = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}
        corners = "".join(f"<{side}>{int(value)}</{side}>" for side, value in box.items())
        objects += f"<object><name>{chain}</name><bndbox>{corners}</bndbox></object>"
    size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
    for folder in ("Annotations", "Sentences"):
        (root / "entities" / folder).mkdir(parents=True)
    for name in names:
        (root / "entities" / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename>{size}{objects}</annotation>"
        )
        (root / "entities" / "Sentences" / f"{name}.txt").write_text(
            "[/EN#1/animals A cat] sits on [/EN#2/vehicles a car] .\n"
        )
    (root / "train.txt").write_text("\n".join(names))


def write_llava_cap(root: Path) -> None:
    """The fourth is so small that hardly a box of it has a pixel's side."""
    write_pictures(root / "images" / "00000")
    (root / "images" / "00000" / "3.jpg").write_bytes(picture(3, (24, 20)))


WRITERS: dict[str, Callable[[Path], None]] = {
    "coco": write_coco,
    "v3det": write_v3det,
    "gqa": write_gqa,
    "flickr30k": write_flickr30k,
    "llava_cap": write_llava_cap,
}


def write_texts(root: Path, texts: list[str]) -> None:
    """A picture for each text, the second of one colour."""
    names = write_pictures(root / "images", len(texts))
    Image.new("RGB", SIZE, (90, 90, 90)).save(root / "images" / names[1])
    lines = [
        json.dumps({"filename": name, "conversations": [{"from": "gpt", "value": text}]})
        for name, text in zip(names, texts, strict=True)
    ]
    (root / "captions.jsonl").write_text("\n".join(lines))


def save_doubting_owl(folder: Path) -> Path:
    """An OWLv2 of chance that is less sure than the others' tests have it."""
    save_tiny_owl(folder, version=2)
    model = Owlv2ForObjectDetection.from_pretrained(folder)
    with torch.no_grad():
        model.class_head.logit_shift.bias -= 4.0
    model.save_pretrained(folder)
    return folder
