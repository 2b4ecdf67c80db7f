"""OpenImages' CSVs: boxes in shares, labels seen and not, and one line for each broken file."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.curate.source_record import record_of
from opendet.sources.card import Batch
from opendet.sources.images import ImageFacts
from opendet.sources.listing import AnnotatedBox
from opendet.sources.openimages import list_openimages, scaled

BOXES = """\
ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,\
IsDepiction,IsInside
a1,xclick,/m/dog,1,0.1,0.5,0.25,0.75,0,1,0,0,0
zz,xclick,/m/cat,1,0,1,0,1,0,0,0,0,0
a1,activemil,/m/cat,1,0,1.0,0,0.5,-1,-1,1,-1,-1
b2,xclick,/m/cat,1,0.5,1,0.5,1,0,0,-1,0,0
"""
CLASSES = '/m/dog,Dog\n/m/cat,"Cat, tame"\n/m/sky,Sky\n'
LABELS = """\
ImageID,Source,LabelName,Confidence
a1,verification,/m/sky,1
a1,machine,/m/dog,0.7
a1,verification,/m/dog,0
a1,crowdsource-verification,/m/sky,0
b2,verification,/m/dog,0
b2,verification,/m/dog,0
zz,verification,/m/sky,1
"""


def write(root: Path, **content: str) -> None:
    (root / "images").mkdir(exist_ok=True)
    for name in ("a1.jpg", "b2.jpg", "c3.jpg"):
        (root / "images" / name).touch()
    texts = {"boxes": BOXES, "classes": CLASSES, "labels": LABELS, **content}
    for name, text in texts.items():
        (root / f"{name}.csv").write_bytes(text.encode("utf-8", "surrogateescape"))


def listed(root: Path, labels: str = "labels.csv", names: str = "") -> Any:
    return list_openimages(
        root,
        batch="b",
        images="images",
        annotations="boxes.csv",
        classes="classes.csv",
        labels=labels,
        names=names,
    )


def test_boxes_groups_tags_and_absent_names(tmp_path: Path) -> None:
    write(tmp_path)
    a, b, c = listed(tmp_path)
    assert (a.key, a.file) == ("b-a1", "images/a1.jpg")
    assert a.annotations == (
        AnnotatedBox((0.1, 0.25, 0.5, 0.75), "Dog"),
        AnnotatedBox((0, 0, 1, 0.5), "Cat, tame", crowd=True),
    )
    assert b.annotations == (AnnotatedBox((0.5, 0.5, 1, 1), "Cat, tame"),)
    assert (a.tags, a.absent) == (("Sky",), ())  # somebody saw the sky, and there is a dog's box
    assert (b.tags, b.absent) == ((), ("Dog",))
    assert (c.annotations, c.tags, c.problem) == ((), (), "")


def test_without_labels_there_are_no_tags(tmp_path: Path) -> None:
    write(tmp_path)
    assert not any(entry.tags or entry.absent for entry in listed(tmp_path, labels=""))


def test_a_worker_scales_them_into_the_record(tmp_path: Path) -> None:
    """What the stage is to do once it knows the size: also with an image stored on its side."""
    write(tmp_path)
    entry = listed(tmp_path)[0]
    facts = ImageFacts("jpg", 40, 80, 6, "0" * 64, 1, "0" * 16)
    assert facts.stored_size == (80, 40)
    entry = replace(
        entry,
        annotations=scaled(entry.annotations, *facts.stored_size),
        declared_size=facts.stored_size,
    )
    batch = Batch(name="b", split="train", format="folder", root="r", licence="x")
    problems: Counter[str] = Counter()
    record = record_of(entry, facts, problems, source="oi", batch=batch)
    assert not problems
    dog, cats = record.regions
    assert (dog.label, dog.box_xyxy, dog.crowd) == ("Dog", (10, 8, 30, 40), False)
    assert (cats.label, cats.box_xyxy, cats.crowd) == ("Cat, tame", (20, 0, 40, 80), True)


def test_a_list_chooses_images_and_keeps_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "list.txt").write_text("train/b2\n\nzz\n")
    b, z = listed(tmp_path, names="list.txt")
    assert (b.file, z.file) == ("images/b2.jpg", "images/zz.jpg")
    assert z.annotations == (AnnotatedBox((0, 0, 1, 1), "Cat, tame"),)
    assert z.tags == ("Sky",)


def test_images_of_one_id_both_have_its_boxes(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "images" / "more").mkdir()
    (tmp_path / "images" / "more" / "b2.png").touch()
    found = {entry.file: len(entry.annotations) for entry in listed(tmp_path)}
    assert found["images/b2.jpg"] == found["images/more/b2.png"] == 1


def test_classes_may_have_a_header_and_columns_any_order(tmp_path: Path) -> None:
    boxes = "LabelName,YMax,YMin,XMax,XMin,ImageID,XClick1X,IsGroupOf\n/m/sky,4,3,2,1,c3,9,0\n"
    write(tmp_path, boxes=boxes, classes="LabelName,DisplayName\n" + CLASSES)
    assert listed(tmp_path)[2].annotations == (AnnotatedBox((1, 3, 2, 4), "Sky"),)


def test_a_corner_that_is_no_number_is_counted_with_the_record(tmp_path: Path) -> None:
    write(tmp_path, boxes=BOXES.replace("0.1,0.5", "?,0.5"))
    boxes = scaled(listed(tmp_path)[0].annotations, 80, 40)
    entry = replace(listed(tmp_path)[0], annotations=boxes)
    batch = Batch(name="b", split="train", format="folder", root="r", licence="x")
    problems: Counter[str] = Counter()
    facts = ImageFacts("jpg", 80, 40, 1, "0" * 64, 1, "0" * 16)
    assert len(record_of(entry, facts, problems, source="oi", batch=batch).regions) == 1
    assert problems == {"box.not finite": 1}


def test_labels_of_unnamed_classes_are_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, labels=LABELS + "c3,verification,/m/odd,1\nzz,verification,/m/odd,1\n")
    assert not listed(tmp_path)[2].tags
    assert "1 labels of classes without a name" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("boxes", "", "line 1 has no column ImageID"),
        ("boxes", "a,b\n1,2\n", "line 1 has no column ImageID"),
        ("boxes", BOXES.replace("IsGroupOf,", ""), "line 1 has no column IsGroupOf"),
        ("boxes", BOXES[:-20], "line 5 has 5 of 13 fields: fetch"),
        ("boxes", BOXES + "x,y\n", "line 6 has 2 of 13 fields: fetch"),
        ("boxes", BOXES.replace("/m/dog", "/m/odd"), r"line 2: LabelName '/m/odd' is none of cl"),
        ("boxes", BOXES + '"' + "x" * 200_000, "after line 5: field larger than"),
        ("boxes", BOXES + "\udcff\n", "after line .: 'utf-8' codec can't decode"),
        ("labels", "ImageID,LabelName\n", "line 1 has no column Confidence"),
        ("labels", LABELS + "a1\n", "line 9 has 1 of 4 fields"),
        ("classes", "/m/dog\n", "line 1 has 1 fields: a code and a name"),
    ],
)
def test_a_broken_csv_names_file_and_line(
    tmp_path: Path, name: str, content: str, says: str
) -> None:
    write(tmp_path, **{name: content})
    with pytest.raises(ValueError, match=rf"{name}\.csv: {says}") as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["boxes", "labels", "classes"])
def test_a_missing_csv_says_so(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / f"{name}.csv").unlink()
    with pytest.raises(ValueError, match=rf"{name}\.csv is missing: mend the batch"):
        listed(tmp_path)
    (tmp_path / f"{name}.csv").mkdir()
    with pytest.raises(ValueError, match=rf"{name}\.csv is a folder: name a CSV"):
        listed(tmp_path)


def test_a_broken_list_is_one_line(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match=r"list\.txt is missing: mend the batch"):
        listed(tmp_path, names="list.txt")
    (tmp_path / "list.txt").write_bytes(b"a1\n\xff")
    with pytest.raises(ValueError, match=r"list\.txt is not UTF-8 at byte 3"):
        listed(tmp_path, names="list.txt")


SHARE = st.floats(0, 1)


@given(st.tuples(SHARE, SHARE, SHARE, SHARE), st.integers(1, 10_000), st.integers(1, 10_000))
def test_scaled_and_back(box: tuple[float, float, float, float], width: int, height: int) -> None:
    (pixels,) = scaled([AnnotatedBox(box, "a", crowd=True)], width, height)
    x0, y0, x1, y1 = pixels.box_xyxy
    assert (x0, x1) == pytest.approx((box[0] * width, box[2] * width), abs=6e-4)
    assert (y0, y1) == pytest.approx((box[1] * height, box[3] * height), abs=6e-4)
    assert replace(pixels, box_xyxy=box) == AnnotatedBox(box, "a", crowd=True)


def test_a_list_may_have_suffixes_and_a_byte_order_mark(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbftrain/b2.jpg\r\nzz.png\r\n")
    assert [entry.key for entry in listed(tmp_path, names="list.txt")] == ["b-b2", "b-zz"]
