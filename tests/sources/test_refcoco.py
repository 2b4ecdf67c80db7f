"""RefCOCO: refs and instances that belong together, and one line for each way to be broken."""

import json
import os
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opendet.curate.source_record import record_of
from opendet.sources.card import Batch
from opendet.sources.coco import list_coco
from opendet.sources.images import ImageFacts
from opendet.sources.listing import AnnotatedBox
from opendet.sources.refcoco import list_refcoco


def instances() -> dict[str, Any]:
    def annotation(number: int, image: int, bbox: list[float], category: int = 1) -> dict[str, Any]:
        parts = {"segmentation": [[1, 2, 3, 4, 5, 6]], "area": 9.5, "iscrowd": int(number == 13)}
        place = {"id": number, "image_id": image, "category_id": category, "bbox": bbox}
        return {**parts, **place}

    return {
        "info": {"description": "RefCOCO"},
        "images": [
            {"id": n, "file_name": f"COCO_train2014_{n:012}.jpg", "width": 60, "height": 40, **more}
            for n, more in ((5, {"license": 1}), (6, {}), (7, {}))
        ],
        "annotations": [
            annotation(11, 5, [1, 2, 10, 20]),
            annotation(12, 5, [20.5, 2, 10, 20]),
            annotation(13, 5, [40, 2, 10, 20], category=18),
            annotation(14, 6, [5, 5, 10, 10], category=18),
            annotation(15, 7, [5, 5, 10, 10]),
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "licenses": [{"id": 1, "name": "CC BY", "url": "u"}],
    }


def ref(number: int, image: int, annotation: int, split: str, *sents: str) -> dict[str, Any]:
    """With all the fields of the real ones."""
    said = [
        {"tokens": sent.split(), "raw": sent.upper(), "sent_id": 10 * number + n, "sent": sent}
        for n, sent in enumerate(sents)
    ]
    return {
        "ref_id": number,
        "ann_id": annotation,
        "image_id": image,
        "category_id": 1,
        "split": split,
        "file_name": f"COCO_train2014_{image:012}_{number}.jpg",
        "sent_ids": [one["sent_id"] for one in said],
        "sentences": said,
    }


def refs() -> list[dict[str, Any]]:
    return [
        ref(1, 5, 12, "train", "middle  man", "man in red", "middle  man"),
        ref(2, 5, 11, "train", "left man"),
        ref(3, 6, 14, "testA", "the dog"),
    ]


def write(root: Path, data: Any = None, said: Any = None, protocol: int = 2) -> None:
    (root / "instances.json").write_text(json.dumps(data or instances()))
    (root / "refs(unc).p").write_bytes(pickle.dumps(refs() if said is None else said, protocol))


def listed(root: Path, ref_split: str = "", masks: bool = False) -> Any:
    return list_refcoco(
        root,
        batch="b",
        images="train2014",
        annotations="instances.json",
        refs="refs(unc).p",
        ref_split=ref_split,
        masks=masks,
    )


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_expressions_describe_boxes_and_are_phrases(tmp_path: Path, protocol: int) -> None:
    write(tmp_path, protocol=protocol)
    entry, other = listed(tmp_path)
    assert entry.key == "b-COCO_train2014_000000000005"
    assert entry.file == "train2014/COCO_train2014_000000000005.jpg"
    assert (entry.declared_size, entry.licence) == ((60, 40), "CC BY")
    assert entry.annotations == (
        AnnotatedBox((1, 2, 11, 22), "person", description="left man"),
        AnnotatedBox((20.5, 2, 30.5, 22), "person", description="middle man"),
        AnnotatedBox((40, 2, 50, 22), "dog", crowd=True),  # nobody speaks of it, and yet it is one
    )
    assert entry.caption == "left man. middle man. man in red."
    assert [(entry.caption[p.start : p.end], p.boxes) for p in entry.phrases] == [
        ("left man", (0,)),
        ("middle man", (1,)),
        ("man in red", (1,)),
    ]
    assert (other.caption, other.annotations[0].description) == ("the dog.", "the dog")


def test_a_split_chooses_expressions_and_images(tmp_path: Path) -> None:
    said = [*refs(), ref(4, 5, 13, "testA", "far dog")]
    write(tmp_path, said=said)
    (train,) = listed(tmp_path, "train")
    assert [box.description for box in train.annotations] == ["left man", "middle man", ""]
    assert [entry.caption for entry in listed(tmp_path, "testA")] == ["far dog.", "the dog."]
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p has no split 'val': it has testA, train"):
        listed(tmp_path, "val")


def test_masks_come_where_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path)
    assert [box.mask for box in listed(tmp_path)[0].annotations] == [None] * 3
    boxes = listed(tmp_path, masks=True)[0].annotations
    assert [box.mask for box in boxes] == [((1, 2, 3, 4, 5, 6),)] * 3
    assert boxes[0].description == "left man"


def test_a_record_keeps_all(tmp_path: Path) -> None:
    write(tmp_path)
    facts = ImageFacts("jpg", 60, 40, 1, "0" * 64, 1, "0" * 16)
    batch = Batch(name="b", split="train", format="folder", root="r", licence="x")
    problems: Counter[str] = Counter()
    record = record_of(listed(tmp_path)[0], facts, problems, source="refcoco", batch=batch)
    assert not problems
    assert [region.label for region in record.regions] == ["person", "person", "dog"]
    assert [phrase.regions for phrase in record.phrases] == [(0,), (1,), (1,)]


def test_real_images_bring_all_their_boxes(tmp_path: Path, shared_data: Path) -> None:
    """Refs of every second box of a real file of COCO's."""
    real = shared_data / "coco_tiny" / "annotations" / "instances_train2017.json"
    (tmp_path / "instances.json").write_bytes(real.read_bytes())
    data = json.loads(real.read_text("utf-8"))
    chosen = data["annotations"][::2]
    said = [ref(n, a["image_id"], a["id"], "train", f"thing {n}") for n, a in enumerate(chosen)]
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(said, 2))
    entries = listed(tmp_path, "train", masks=True)
    plain = list_coco(
        tmp_path, batch="b", images="train2014", annotations="instances.json", masks=True
    )
    boxes = {entry.key: entry.annotations for entry in plain}
    assert len(entries) == len({a["image_id"] for a in chosen})
    assert sum(len(entry.phrases) for entry in entries) == len(chosen)
    for entry in entries:
        bare = tuple(replace(box, description="") for box in entry.annotations)
        assert bare == boxes[entry.key]
        for phrase in entry.phrases:
            words = entry.caption[phrase.start : phrase.end]
            assert [entry.annotations[box].description for box in phrase.boxes] == [words]


def test_empty_expressions_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, said=[ref(1, 5, 11, "train", " ", "man")])
    (entry,) = listed(tmp_path)
    assert (entry.caption, entry.annotations[0].description) == ("man.", "man")


def test_a_pickle_that_runs_a_command_does_not(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'proof'}",)

    write(tmp_path, said=[*refs(), Evil()])
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p is no pickle of plain data: it names"):
        listed(tmp_path)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"refs": 1}, "its root: Input should be a valid tuple"),
        ([3], "0: "),
        ([{"ann_id": 11, "split": "train"}], r"0\.sentences: Field required"),
        ([{"ann_id": [], "split": "train", "sentences": []}], r"0\.ann_id\."),
        ([{"ann_id": 1, "split": "train", "sentences": [{"raw": "a"}]}], r"0\.sentences\.0\.sent"),
    ],
)
def test_refs_of_another_structure_are_one_line(tmp_path: Path, said: Any, says: str) -> None:
    write(tmp_path, said=said)
    with pytest.raises(ValueError, match=rf"refs\(unc\)\.p: {says}") as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("images"), r"instances\.json: images: Field required"),
        (lambda d: d["annotations"][0].pop("id"), r"instances\.json: annotations\.0\.id"),
        (
            lambda d: d["annotations"][1].update(category_id=6),
            r"instances\.json: annotations\.1\.category_id 6 is none of its categories",
        ),
        (lambda d: d["annotations"].pop(0), "do not belong together: the refs' ann_id 11 is no"),
        (lambda d: d["images"].pop(1), "do not belong together: the refs' ann_id 14 is no"),
    ],
)
def test_instances_that_do_not_fit_are_one_line(tmp_path: Path, change: Any, says: str) -> None:
    data = instances()
    change(data)
    write(tmp_path, data)
    with pytest.raises(ValueError, match=says) as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["instances.json", "refs(unc).p"])
def test_a_missing_file_says_so(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="is missing: mend the batch"):
        listed(tmp_path)
