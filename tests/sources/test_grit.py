"""GRIT in its three containers, its chunks and images, and one line for each way to be broken."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opendet.sources.grit import list_grit
from opendet.sources.listing import AnnotatedBox, Entry

CAPTION = "a dog in a field of flowers"
DOG = [0, 5, 0.25, 0.5, 0.75, 1.0, 0.75]
FIELD = [9, 16, 0.0, 0.5, 1.0, 1.0, 0.7]
FLOWERS = [[20, 27, 0.0, 0.5, 0.5, 1.0, 0.6], [20, 27, 0.5, 0.5, 1.0, 1.0, 0.65]]
DOG_IN_A_FIELD = [0, 27, 0.25, 0.5, 0.75, 1.0, 0.75]


def row(key: str = "000000012", **fields: Any) -> dict[str, Any]:
    plain = {
        "key": key,
        "clip_similarity_vitb32": 0.3,
        "clip_similarity_vitl14": 0.25,
        "id": 1795296605919,
        "url": "https://example.org/dog.jpg",
        "caption": CAPTION,
        "width": 200,
        "height": 100,
        "noun_chunks": [DOG, FIELD, *FLOWERS],
        "ref_exps": [DOG_IN_A_FIELD],
    }
    return {**plain, **fields}


def world(folder: Path, *rows: Any, form: str = "jsonl") -> Path:
    (folder / "images").mkdir(exist_ok=True)
    path = folder / f"grit.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif form == "json":
        path.write_text(json.dumps(rows, indent=1))
    else:
        path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in rows))
    return path


def listed(folder: Path, annotations: str = "grit.jsonl") -> list[Entry]:
    return list_grit(folder, batch="b", images="images", annotations=annotations)


def spoken(entry: Entry) -> list[tuple[str, tuple[int, ...]]]:
    return [(entry.caption[one.start : one.end], one.boxes) for one in entry.phrases]


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet"])
def test_chunks_are_boxes_with_phrases_and_expressions_describe_them(
    tmp_path: Path, form: str
) -> None:
    world(tmp_path, row(), form=form)
    (entry,) = listed(tmp_path, f"grit.{form}")
    assert (entry.key, entry.file) == ("b-000000012", "images/000000012.jpg")
    assert (entry.declared_size, entry.caption) == ((200, 100), CAPTION)
    assert entry.normalised
    assert entry.annotations == (
        AnnotatedBox((0.25, 0.5, 0.75, 1.0), "dog", description=CAPTION, score=0.75),
        AnnotatedBox((0.0, 0.5, 1.0, 1.0), "field", score=0.7),
        AnnotatedBox((0.0, 0.5, 0.5, 1.0), "flowers", score=0.6),
        AnnotatedBox((0.5, 0.5, 1.0, 1.0), "flowers", score=0.65),
    )
    assert spoken(entry) == [("a dog", (0,)), ("a field", (1,)), ("flowers", (2, 3))]
    assert not entry.problem


def test_an_expression_without_a_chunk_is_a_box_of_its_own(tmp_path: Path) -> None:
    elsewhere = [0, 16, 0.0, 0.0, 0.5, 0.5, 0.9]
    other = [0, 16, *DOG[2:]]
    world(tmp_path, row(noun_chunks=[DOG], ref_exps=[elsewhere, DOG_IN_A_FIELD, other]))
    (entry,) = listed(tmp_path)
    dog, first = entry.annotations
    assert (dog.label, dog.description) == ("dog", CAPTION)
    assert first == AnnotatedBox(
        (0.0, 0.0, 0.5, 0.5), "", description="a dog in a field", score=0.9
    )
    # one box has one description: what else is said of it is a phrase
    assert spoken(entry) == [("a dog", (0,)), ("a dog in a field", (0,))]


def test_a_box_that_phrases_share_is_one_box(tmp_path: Path) -> None:
    chunks = [DOG, [9, 16, *DOG[2:]], DOG, FIELD]
    world(tmp_path, row(noun_chunks=chunks, ref_exps=[DOG_IN_A_FIELD, DOG_IN_A_FIELD]))
    (entry,) = listed(tmp_path)
    dog, field = entry.annotations
    assert (dog.label, dog.other_labels, dog.description) == ("dog", ("field",), CAPTION)
    assert spoken(entry) == [("a dog", (0,)), ("a field", (0, 1))]
    assert field.label == "field"


@pytest.mark.parametrize("fields", [{"width": None}, {"height": 0}])
def test_boxes_need_no_declared_size(tmp_path: Path, fields: Any) -> None:
    world(tmp_path, row(**fields))
    (entry,) = listed(tmp_path)
    assert (len(entry.annotations), entry.declared_size) == (4, None)


def test_what_a_row_may_lack(tmp_path: Path) -> None:
    world(tmp_path, row(noun_chunks=None, ref_exps=None, caption=None), row("7", noun_chunks=[]))
    first, second = listed(tmp_path)
    assert (first.annotations, first.caption) == ((), "")
    assert len(second.annotations) == 1  # the expression


def test_a_span_outside_the_caption_gives_no_label(tmp_path: Path) -> None:
    chunks = [[-3, 2, *DOG[2:]], [90, 99, *FIELD[2:]], [5, 0, *FLOWERS[0][2:]]]
    world(tmp_path, row(noun_chunks=chunks, ref_exps=[]))
    (entry,) = listed(tmp_path)
    assert [box.label for box in entry.annotations] == ["", "", ""]


def test_images_lie_flat_or_in_folders_of_shards(tmp_path: Path) -> None:
    world(tmp_path, row("000000001"), row("000010002"), row("000020003"), row("../../secret"))
    (tmp_path / "images" / "00000").mkdir()
    (tmp_path / "images" / "00001").mkdir()
    (tmp_path / "images" / "000010002.jpg").touch()
    entries = {entry.file: entry for entry in listed(tmp_path)}
    assert set(entries) == {
        "images/00000/000000001.jpg",
        "images/000010002.jpg",
        "images/000020003.jpg",  # nowhere: it is missed when it is opened
        "images/../../secret.jpg",
    }
    assert entries["images/00000/000000001.jpg"].key == "b-000000001"
    assert entries["images/../../secret.jpg"].problem == "file outside the root"


def test_a_key_that_comes_twice_is_a_problem(tmp_path: Path) -> None:
    world(tmp_path, row(), row())
    assert [entry.problem for entry in listed(tmp_path)] == ["", "duplicate key"]


def test_a_folder_of_files_is_read_as_one(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    world(parts, row("1"), form="parquet")
    world(parts, row("2"))
    (parts / "notes.txt").touch()
    (tmp_path / "images").mkdir()
    assert [entry.key for entry in listed(tmp_path, "parts")] == ["b-1", "b-2"]
    with pytest.raises(ValueError, match=r"images has no \.parquet and no \.jsonl file"):
        listed(tmp_path, "images")


def test_many_rows_of_parquet(tmp_path: Path) -> None:
    rows = [row(f"{number:09d}") for number in range(5000)]
    world(tmp_path, *rows, form="parquet")
    entries = listed(tmp_path, "grit.parquet")
    assert [entry.key for entry in entries] == [f"b-{number:09d}" for number in range(5000)]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"caption": "x"}, "key: Field required"),
        (row(width="wide"), "width: Input should be a valid integer"),
        (row(noun_chunks=[[0, 5, 0.1]]), r"noun_chunks\.0\.3: Field required"),
        (row(noun_chunks=[[0, 5.5, 0, 0, 1, 1, 1]]), r"noun_chunks\.0\.1: "),
        (row(ref_exps=[[*DOG, 3]]), r"ref_exps\.0: "),
        (row(ref_exps=3), r"ref_exps: "),
        ("{", "its root: Invalid JSON"),
    ],
)
def test_a_broken_line_names_file_line_and_place(tmp_path: Path, broken: Any, says: str) -> None:
    world(tmp_path, row(), broken)
    with pytest.raises(ValueError, match=rf"grit\.jsonl: line 2: {says}") as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_broken_list_names_the_place(tmp_path: Path) -> None:
    world(tmp_path, row(), row(width="wide"), form="json")
    with pytest.raises(ValueError, match=r"grit\.json: 1\.width: "):
        listed(tmp_path, "grit.json")


def test_a_broken_row_of_parquet_is_named(tmp_path: Path) -> None:
    world(tmp_path, row(), row("2", noun_chunks=[[0.5] * 7]), form="parquet")
    with pytest.raises(ValueError, match=r"grit\.parquet: row 2: noun_chunks\.0\.0: "):
        listed(tmp_path, "grit.parquet")


def test_other_parquet_is_refused(tmp_path: Path) -> None:
    path = world(tmp_path, {"key": "1", "caption": "x"}, form="parquet")
    with pytest.raises(ValueError, match="no column height, noun_chunks, ref_exps, width: "):
        listed(tmp_path, "grit.parquet")
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"grit\.parquet is no readable Parquet file: ") as caught:
        listed(tmp_path, "grit.parquet")
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    world(tmp_path, row())
    with pytest.raises(ValueError, match=r"other\.jsonl is missing: mend the batch"):
        listed(tmp_path, "other.jsonl")
    (tmp_path / "images").rmdir()
    with pytest.raises(ValueError, match="images: No such file or directory: mend the batch"):
        listed(tmp_path)
