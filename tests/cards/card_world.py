"""A build with two licences, two splits and names that are markup, and what is known by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from opendet.cards.about import (
    MODEL,
    RULES,
    SOURCE,
    AnnotatorAbout,
    DatasetAbout,
    Measured,
    SourceAbout,
    SplitAbout,
    StageAbout,
)
from tests.cli_world import make_project, picture, run_cli

HOSTILE = "<script>alert(1)</script> | `cat` *b* [x](http://y.z)"
LICENCES = ("CC0-1.0", "Attribution-NonCommercial License")
CARD: dict[str, Any] = {
    "name": "pictures",
    "title": "Pictures | of <b>noise</b>",
    "licence": "MIT",
    "format": "coco",
    "root": "pictures",
    "batches": [
        {"name": "train", "split": "train", "annotations": "train.json"},
        {"name": "val", "split": "val", "annotations": "val.json"},
    ],
}


def write_pictures(folder: Path) -> None:
    """Six pictures to train on and two more, each with a large box and one that is too small."""
    folder.mkdir()
    for split, numbers in (("train", range(6)), ("val", range(6, 8))):
        images, boxes = [], []
        for number in numbers:
            name = f"p{number}.jpg"
            (folder / name).write_bytes(picture(number))
            size = {"width": 64, "height": 48}
            licence = {"license": number % 2}
            images.append({"id": number, "file_name": name, **size, **licence})
            for box in ([4, 4, 30 + number, 30], [2, 2, 5, 5]):
                boxes.append({"image_id": number, "category_id": number % 2, "bbox": box})
        world = {
            "images": images,
            "annotations": boxes,
            "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": HOSTILE}],
            "licenses": [{"id": id_, "name": name} for id_, name in enumerate(LICENCES)],
        }
        (folder / f"{split}.json").write_text(json.dumps(world))


def build_project(root: Path, config: dict[str, Any] | None = None) -> Path:
    """A project whose build `tiny` has all data stages."""
    make_project(root, CARD, config)
    write_pictures(root / "pictures")
    ended = run_cli(root, "data", "build")
    assert ended.code == 0, ended.err
    return root


ABOUT = DatasetAbout(
    build="tiny",
    title=f"Title {HOSTILE}",
    version="1.0.0+abc",
    formats=(("jpg", 3),),
    sources=(SourceAbout("toy", "Toys", (("CC0-1.0", 2), ("my own | terms", 1))),),
    annotators=(
        AnnotatorAbout("source", "", SOURCE, (("boxes", 5),)),
        AnnotatorAbout("grammar", "1", RULES, (("captions", 3),)),
        AnnotatorAbout("a/known", "12ab", MODEL, (("names", 4),), "Apache-2.0", "its folder"),
        AnnotatorAbout(f"b/{HOSTILE}", "", MODEL, (("names", 1),)),
    ),
    splits=(SplitAbout("train", 2, 1, 4, 3), SplitAbout("val", 1, 0, 1, 1)),
    names=((HOSTILE, 3), ("line\nbreak", 1)),
    distinct_names=4,
    stages=(
        StageAbout("source", "images checked", 5, 3, ((f"too small {HOSTILE}", 1),), 1, ()),
        StageAbout("filter", "regions refused", 3, 3, (), 0, (("disagrees", 1),)),
    ),
    measured=(Measured("filter", "errors that it found", "3 (75.0 %)"),),
    limits=(f"Every named region is called {HOSTILE}.",),
)
EMPTY = replace(
    ABOUT, sources=(), annotators=(), splits=(), names=(), distinct_names=0, formats=(), limits=()
)
