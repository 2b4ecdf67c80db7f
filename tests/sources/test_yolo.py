"""YOLO: parts of an image, files of names, and where labels lie."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.masks import compressed
from opendet.sources.listing import AnnotatedBox, Entry, RefusedError
from opendet.sources.yolo import MAX_TXT_BYTES, list_yolo, read_class_names, read_yolo

NAMES = {0: "dog", 1: "traffic light", 7: "cat"}
SIZE = (200, 100)


def read(folder: Path, content: str | bytes, *, masks: bool = True) -> tuple[AnnotatedBox, ...]:
    path = folder / "a.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_yolo(path, SIZE, NAMES, masks=masks)


def refusal(folder: Path, content: str | bytes) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        read(folder, content)
    assert str(folder) not in caught.value.detail  # the same bytes on every machine
    assert len(caught.value.detail) <= 200
    return caught.value


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("0 0.5 0.5 1 1", AnnotatedBox((0, 0, 200, 100), "dog")),
        ("1 .25 .5 .1 .2\r", AnnotatedBox((40, 40, 60, 60), "traffic light")),
        ("7.0\t0.5 5e-1  0.1 0.1", AnnotatedBox((90, 45, 110, 55), "cat")),
        ("0 0.5 0.5 1 1 0.875", AnnotatedBox((0, 0, 200, 100), "dog", score=0.875)),
        ("0 0.01 0.5 0.1 1", AnnotatedBox((-8, 0, 12, 100), "dog")),  # clipped later
        (
            "0 0.1 0.2 0.5 0.2 0.5 0.9",
            AnnotatedBox((20, 20, 100, 90), "dog", mask=((20, 20, 100, 20, 100, 90),)),
        ),
        (
            "0 0.1 0.2 0.5 0.2 0.5 0.9 0.25",
            AnnotatedBox((20, 20, 100, 90), "dog", score=0.25, mask=((20, 20, 100, 20, 100, 90),)),
        ),
        (
            "0 0 0 1 0 1 1 0 1",
            AnnotatedBox((0, 0, 200, 100), "dog"),  # a box, written as an outline
        ),
        ("0 .1 .1 .2 .1 .2 .3 .1 .3 .1 .1", AnnotatedBox((20, 10, 40, 30), "dog")),  # closed
        ("0 .5 .2 .55 .3 .5 .4 .45 .3", AnnotatedBox((90, 20, 110, 40), "dog")),  # oriented
        (
            "0 .1 .1 .5 .1 .4 .3 .2 .3",
            AnnotatedBox((20, 10, 100, 30), "dog", mask=((20, 10, 100, 10, 80, 30, 40, 30),)),
        ),
    ],
)
def test_a_line_becomes_pixels(tmp_path: Path, line: str, box: AnnotatedBox) -> None:
    assert read(tmp_path, f"\ufeff\n{line}\n\n".encode()) == (box,)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_has_no_objects(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == ()


def test_an_outline_is_a_mask_of_the_image(tmp_path: Path) -> None:
    line = "0 0 0 0.25 0 0.5 0 0.5 0.5 0 0.5"
    (box,) = read(tmp_path, line)
    assert box.mask
    rectangle = ((0.0, 0.0, 100.0, 0.0, 100.0, 50.0, 0.0, 50.0),)
    assert compressed(box.mask, (100, 200), "m") == compressed(rectangle, (100, 200), "m")
    (unmasked,) = read(tmp_path, line, masks=False)
    assert (unmasked.mask, unmasked.box_xyxy) == (None, box.box_xyxy)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ("0 0.5 0.5 1 1\n0 0.5 0.5", "a.txt, line 2 has 3 numbers"),
        ("0", "a.txt, line 1 has 1 numbers"),
        ("0 nan 0.5 1 1", "line 1: no part of the image, from 0 to 1, is nan"),
        ("0 0.5 0.5 1 inf", "is inf"),
        ("0 320 240 50 50", "is 320"),  # pixels
        ("0 0.1 0.2 0.5 0.2 0.5 nan", "is nan"),
        ("0 0.5 0.5 1 1 nan", "is nan"),
        ("dog 0.5 0.5 1 1", "could not convert string to float"),
        ("0,0.5,0.5,1,1", "has 1 numbers"),
        (b"0 0.5 0.5 1 \xff", "is not UTF-8 at byte 12"),
        (b" " * (MAX_TXT_BYTES + 1), "bytes"),
        ("0 0.5 0.5 1 " + "1" * 1000, "is 111"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: str | bytes, detail: str) -> None:
    refused = refusal(tmp_path, content)
    assert refused.reason == "broken annotation"
    assert detail in refused.detail


@pytest.mark.parametrize("number", ["2", "-1", "0.5", "nan", "1e99"])
def test_a_class_without_a_name_is_refused(tmp_path: Path, number: str) -> None:
    refused = refusal(tmp_path, f"{number} 0.5 0.5 1 1")
    assert refused.reason == "unknown class"
    assert f"class {number}" in refused.detail


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="missing annotation"):
        read_yolo(tmp_path / "a.txt", SIZE, NAMES)


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.tuples(*[st.floats(0, 1)] * 4),
)
def test_boxes_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    width: int,
    height: int,
    corners: tuple[float, float, float, float],
) -> None:
    x0, x1 = sorted(corners[:2])
    y0, y1 = sorted(corners[2:])
    path = tmp_path_factory.getbasetemp() / "back.txt"
    path.write_text(f"0 {(x0 + x1) / 2} {(y0 + y1) / 2} {x1 - x0} {y1 - y0}")
    (box,) = read_yolo(path, (width, height), NAMES)
    truth = (x0 * width, y0 * height, x1 * width, y1 * height)
    assert box.box_xyxy == pytest.approx(truth, abs=1e-3)


GOOD = b"0 0.5 0.5 1 1\n7 0.1 0.2 0.5 0.2 0.5 0.9\n"


@settings(max_examples=200)
@given(st.integers(0, len(GOOD)), st.binary(max_size=4), st.integers(0, 8))
def test_a_mutated_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, new: bytes, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.txt"
    path.write_bytes(GOOD[:place] + new + GOOD[place + cut :])
    assert reason_of(path) in ("", "broken annotation", "unknown class")


def reason_of(path: Path) -> str:
    try:
        read_yolo(path, SIZE, NAMES)
    except RefusedError as refused:
        return refused.reason
    return ""


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("data.yaml", "names: [dog, traffic light]", {0: "dog", 1: "traffic light"}),
        ("data.yaml", "nc: 2\nnames:\n  0: dog\n  7: cat\n", {0: "dog", 7: "cat"}),
        ("data.yml", "names: ['0', '1']", {0: "0", 1: "1"}),
        ("classes.txt", "dog\r\ntraffic light \r\n\r\n", {0: "dog", 1: "traffic light"}),
        ("obj.names", "\ufeffdog\n\ncat", {0: "dog", 1: "", 2: "cat"}),
    ],
)
def test_class_names(tmp_path: Path, name: str, content: str, names: dict[int, str]) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert read_class_names(tmp_path / name) == names


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("data.yaml", b"names: [dog, 1]", r"names\.1: .*valid string: put it in quotes"),
        ("data.yaml", b"names: [dog, no]", r"names\.1: .*valid string: put it in quotes"),
        ("data.yaml", b"names: {dog: 0}", r"names\.dog\.\[key\]: .*valid integer"),
        ("data.yaml", b"names: {0: dog, 0: cat}", "the key 0 comes twice"),
        ("data.yaml", b"names: 3", "names: Input should be a valid dict"),
        ("data.yaml", b"names: []", "has no class names: mend"),
        ("data.yaml", b"nc: 3", "names: Field required"),
        ("data.yaml", b"- dog", "its root: Input should be a dict"),
        ("data.yaml", b"", "its root: Input should be a dict"),
        ("data.yaml", b"names: [dog", "is not YAML"),
        ("data.yaml", b"names: [dog]\nkpt_shape: [17, 3]", "kpt_shape: keypoints are not read"),
        ("classes.txt", b"", "has no class names: mend"),
        ("classes.txt", b"dog\n\xff", "is not UTF-8 at byte 4"),
    ],
)
def test_broken_class_names_are_one_line(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*{says}") as caught:
        read_class_names(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["data.yaml", "classes.txt"])
def test_missing_class_names_say_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is missing: mend the batch"):
        read_class_names(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"{name} is a folder"):
        read_class_names(tmp_path / name)


def touch(root: Path, *files: str) -> None:
    (root / "data.yaml").write_text("names: [dog]")
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def listed(root: Path, images: str = "images", names: str = "") -> dict[str, str]:
    entries = entries_of(root, images, names)
    return {entry.file: entry.annotation_file for entry in entries}


def entries_of(root: Path, images: str = "images", names: str = "") -> list[Entry]:
    return list_yolo(root, batch="b", images=images, annotations="data.yaml", names=names)


@pytest.mark.parametrize(
    ("images", "file", "label"),
    [
        ("images", "images/train/a.b.JPG", "labels/train/a.b.txt"),
        ("images/train", "images/train/a.jpg", "labels/train/a.txt"),
        ("train/images", "train/images/a.png", "train/labels/a.txt"),
        ("", "images/x/images/a.jpg", "images/x/labels/a.txt"),  # the last of them
        ("", "images/train/images.jpg", "labels/train/images.txt"),
        ("obj_train_data", "obj_train_data/a.jpg", "obj_train_data/a.txt"),
        ("images", "images/a.jpg", "images/a.txt"),
        ("", "a.webp", "a.txt"),
    ],
)
def test_labels_are_found_where_yolo_looks(
    tmp_path: Path, images: str, file: str, label: str
) -> None:
    touch(tmp_path, file, label)
    assert listed(tmp_path, images) == {file: label}


def test_labels_below_labels_come_first(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/a.txt", "labels/a.txt")
    assert listed(tmp_path) == {"images/a.jpg": "labels/a.txt"}


def test_an_image_without_labels_has_no_objects(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "labels/a.txt", "images/classes.txt")
    assert listed(tmp_path) == {"images/a.jpg": "labels/a.txt", "images/b.jpg": ""}


@pytest.mark.parametrize("images", ["", "images", "images/train"])
def test_a_list_chooses_images_and_keeps_what_is_missing(tmp_path: Path, images: str) -> None:
    touch(tmp_path, *(f"images/train/{name}.jpg" for name in "abc"), "labels/train/a.txt")
    (tmp_path / "train.txt").write_text("./images/train/a.jpg\n\nimages/train/gone.jpg\n")
    assert listed(tmp_path, images, "train.txt") == {
        "images/train/a.jpg": "labels/train/a.txt",
        "images/train/gone.jpg": "",
    }
    chosen, _ = entries_of(tmp_path, images, "train.txt")
    assert chosen.key in {entry.key for entry in entries_of(tmp_path, images)}


def test_a_list_is_relative_to_where_it_lies(tmp_path: Path) -> None:
    touch(tmp_path, "set/images/a.jpg", "set/labels/a.txt")
    (tmp_path / "set" / "val.txt").write_text("./images/a.jpg")
    assert listed(tmp_path, "set/images", "set/val.txt") == {"set/images/a.jpg": "set/labels/a.txt"}


@pytest.mark.parametrize("line", ["/elsewhere/a.jpg", "data/a.jpg", "../a.jpg", "images2/a.jpg"])
def test_a_list_of_other_places_is_one_line(tmp_path: Path, line: str) -> None:
    touch(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / "train.txt").write_text(f"images/a.jpg\n{line}\n")
    with pytest.raises(
        ValueError, match=r"train\.txt: line 2: .* is not below images: name"
    ) as caught:
        listed(tmp_path, "images", "train.txt")
    assert "\n" not in str(caught.value)


def test_a_list_cannot_leave_the_root(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path.parent / "secret.txt").touch()
    (tmp_path / "train.txt").write_text("images/a.jpg\n../secret.jpg\n")
    problems = {
        entry.file: (entry.problem, entry.annotation_file)
        for entry in entries_of(tmp_path, "", "train.txt")
    }
    assert problems == {
        "images/a.jpg": ("", "labels/a.txt"),
        "../secret.jpg": ("file outside the root", ""),
    }
    (tmp_path / "train.txt").write_text("/etc/secret.jpg\n")
    with pytest.raises(ValueError, match=r"line 1: /etc/secret\.jpg is not below the root"):
        entries_of(tmp_path, "", "train.txt")


def test_a_list_that_is_missing_says_so(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "labels/a.txt")
    with pytest.raises(ValueError, match=r"train\.txt is missing: mend the batch"):
        listed(tmp_path, "images", "train.txt")


def test_two_images_of_one_label_file(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/a.png", "labels/a.txt")
    assert [entry.problem for entry in entries_of(tmp_path)] == ["", "duplicate key"]


def test_labels_that_are_all_elsewhere_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "annotations/a.txt")
    with pytest.raises(
        ValueError, match=r"none of 1 images has a label file, such as labels/a\.txt: mend"
    ) as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_image_is_opened_and_no_images_are_none(tmp_path: Path) -> None:
    touch(tmp_path)
    (tmp_path / "images").mkdir()
    assert listed(tmp_path) == {}


def test_listing_needs_the_names(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(ValueError, match=r"data\.yaml is missing"):
        listed(tmp_path)


def test_real_boxes_come_back(shared_data: Path, tmp_path: Path) -> None:
    from opendet.sources.coco import list_coco

    entries: list[Any] = list_coco(
        shared_data / "coco_tiny",
        batch="b",
        images="val2017",
        annotations="annotations/instances_val2017.json",
    )
    names = dict(enumerate(sorted({box.label for one in entries for box in one.annotations})))
    numbers = {name: number for number, name in names.items()}
    for entry in entries:
        width, height = entry.declared_size
        lines = [
            f"{numbers[box.label]} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} "
            f"{(x1 - x0) / width} {(y1 - y0) / height}"
            for box in entry.annotations
            for x0, y0, x1, y1 in [box.box_xyxy]
        ]
        (tmp_path / "a.txt").write_text("\n".join(lines))
        found = read_yolo(tmp_path / "a.txt", entry.declared_size, names)
        assert [box.label for box in found] == [box.label for box in entry.annotations]
        for box, truth in zip(found, entry.annotations, strict=True):
            assert box.box_xyxy == pytest.approx(truth.box_xyxy, abs=1e-3)
