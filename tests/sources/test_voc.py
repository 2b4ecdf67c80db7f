"""Pascal VOC: pixels from 1, lists of names, and files that are refused one by one."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.sources.listing import AnnotatedBox, RefusedError
from opendet.sources.voc import list_voc, read_voc
from opendet.sources.xml_file import MAX_XML_BYTES

GOOD = """<annotation><size><width>20</width><height>10</height></size>
<object><name>dog</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>
<xmax>20</xmax><ymax>10</ymax></bndbox>
<part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>4</xmax><ymax>4</ymax></bndbox>
</part></object></annotation>"""


def read(folder: Path, content: str | bytes) -> object:
    path = folder / "a.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_voc(path)


def test_pixels_from_one_become_half_open_from_zero(tmp_path: Path) -> None:
    annotation = read(tmp_path, GOOD)
    assert annotation.declared_size == (20, 10)
    assert annotation.boxes == (AnnotatedBox((0, 1, 20, 10), "dog"),)


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_a_size_may_be_left_out(tmp_path: Path, size: str) -> None:
    assert read(tmp_path, f"<annotation>{size}</annotation>").declared_size is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<annotation>",
        b"<annotation>\xff</annotation>",
        b"<annotation><object><name>dog</name></object></annotation>",
        GOOD.replace("<xmin>1<", "<xmin>one<").encode(),
        GOOD.replace("<xmin>1<", "<xmin><").encode(),
        GOOD.replace("<width>20<", "<width>1e999<").encode(),
        GOOD.replace("<width>20<", "<width>nan<").encode(),
        b'<?xml version="1.0" encoding="nonsense"?><annotation/>',
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'.encode("utf-16"),
        b" " * (MAX_XML_BYTES + 1),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        read(tmp_path, content)
    assert caught.value.reason == "broken annotation"
    assert str(tmp_path) not in caught.value.detail  # the same bytes on every machine


def test_a_billion_laughs_are_not_laughed(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(
        f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)
    )
    with pytest.raises(RefusedError, match="document type"):
        read(tmp_path, f"<!DOCTYPE a [{entities}]><a>&a9;</a>")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="missing annotation"):
        read_voc(tmp_path / "a.xml")


@settings(max_examples=200)
@given(st.integers(0, len(GOOD)), st.binary(max_size=4), st.integers(0, 8))
def test_a_mutated_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, new: bytes, cut: int
) -> None:
    content = GOOD.encode()
    path = tmp_path_factory.getbasetemp() / "mutated.xml"
    path.write_bytes(content[:place] + new + content[place + cut :])
    assert reason_of(path) in ("", "broken annotation")


def reason_of(path: Path) -> str:
    try:
        read_voc(path)
    except RefusedError as refused:
        return refused.reason
    return ""


def listed(root: Path, names: str = "") -> list[tuple[str, str]]:
    entries = list_voc(root, batch="b", images="images", annotations="xml", names=names)
    return sorted((entry.file, entry.annotation_file) for entry in entries)


def test_lists_choose_images_and_keep_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.jpg", "c d.jpg"):
        (tmp_path / "images" / name).touch()
    (tmp_path / "list.txt").write_text("c d\na  1\ngone -1\n\n")
    assert listed(tmp_path, "list.txt") == [
        ("images/a.png", "xml/a.xml"),
        ("images/c d.jpg", "xml/c d.xml"),
        ("images/gone.jpg", "xml/gone.xml"),
    ]
    assert len(listed(tmp_path)) == 3


def test_a_list_that_is_not_utf8_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "list.txt").write_bytes(b"abc\n\xff")
    with pytest.raises(ValueError, match=r"list\.txt is not UTF-8 at byte 4"):
        listed(tmp_path, "list.txt")
    with pytest.raises(ValueError, match=r"other\.txt is missing"):
        listed(tmp_path, "other.txt")


def test_a_list_cannot_leave_the_root(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "list.txt").write_text("../../secret\n")
    (entry,) = list_voc(tmp_path, batch="b", images="images", annotations="x", names="list.txt")
    assert entry.problem == "file outside the root"


def test_a_list_may_have_suffixes_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.jpg", "2012.01.jpg"):
        (tmp_path / "images" / name).touch()
    names = "\ufeffa.png\r\nb.JPG 1\r\n2012.01\r\nc.d\r\ngone.jpeg -1\r\n"
    (tmp_path / "list.txt").write_bytes(names.encode())
    assert [image for image, _ in listed(tmp_path, "list.txt")] == [
        "images/2012.01.jpg",
        "images/a.png",
        "images/b.jpg",
        "images/c.d.jpg",
        "images/gone.jpeg",
    ]


def test_linked_folders_are_listed_and_loops_are_not(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "images" / "own").mkdir(parents=True)
    for place in ("elsewhere/a.jpg", "elsewhere/deep/b.jpg", "set/images/own/c.jpg"):
        (tmp_path / place).touch()
    images = tmp_path / "set" / "images"
    (images / "linked").symlink_to(tmp_path / "elsewhere")
    (images / "again").symlink_to(images / "own")  # known by its own name
    (images / "own" / "up").symlink_to(images)
    (images / "above").symlink_to(tmp_path)
    (tmp_path / "elsewhere" / "back").symlink_to(images)
    (images / "nowhere").symlink_to(tmp_path / "gone")
    assert [image for image, _ in listed(tmp_path / "set")] == [
        "images/linked/a.jpg",
        "images/linked/deep/b.jpg",
        "images/own/c.jpg",
    ]
