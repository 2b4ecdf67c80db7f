"""GRIT as it is written, as Parquet and as lines, and read again."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import opendet.exports.grit as grit
from opendet.curate.source_record import in_pixels, record_of
from opendet.exports.grit import row_of, write_grit
from opendet.record import Mask, Phrase, Provenance, Record, Region, Turn
from opendet.sources.grit import list_grit
from opendet.sources.images import ImageFacts
from opendet.sources.odvg import bare_phrase
from tests.exports.export_world import BATCH, DOG, SOURCE, assert_boxes_agree, judged, record
from tests.exports.grounded_world import grounded_records, read_again, spoken
from tests.sources.test_grit import row

FORMS: tuple[Literal["parquet", "jsonl"], ...] = ("parquet", "jsonl")
FIELDS = list(row())


def listed(folder: Path, form: str) -> Any:
    (folder / "images").mkdir(exist_ok=True)
    return list_grit(folder, batch="b", images="images", annotations=f"grit_train.{form}")


def rows_of(folder: Path, form: str) -> list[dict[str, Any]]:
    path = folder / f"grit_train.{form}"
    if form == "parquet":
        return list(pq.read_table(path).to_pylist())
    return [json.loads(line) for line in path.open()]


def left(one: Record) -> dict[str, int]:
    left_out: Counter[str] = Counter()
    row_of(one, left_out)
    del left_out["licence"]
    return dict(+left_out)


@pytest.mark.parametrize("form", FORMS)
def test_a_row_is_written_as_it_was_read(tmp_path: Path, form: Any) -> None:
    source = row()
    (tmp_path / "grit_train.jsonl").write_text(json.dumps(source))
    records = read_again(listed(tmp_path, "jsonl"))
    assert write_grit(records, tmp_path, form=form) == {"licence": 1}
    (written,) = rows_of(tmp_path, form)
    assert list(written) == FIELDS
    said = ("key", "caption", "width", "height", "noun_chunks", "ref_exps")
    assert {name: written[name] for name in said} == {name: source[name] for name in said}
    assert (written["id"], written["url"]) == ("b-000000012", "")
    assert written["clip_similarity_vitb32"] is written["clip_similarity_vitl14"] is None


def test_a_box_of_an_expression_alone_comes_back(tmp_path: Path) -> None:
    source = row(noun_chunks=[], ref_exps=[[0, 16, 0.0, 0.0, 0.5, 0.5, 0.9]])
    (tmp_path / "grit_train.jsonl").write_text(json.dumps(source))
    (one,) = read_again(listed(tmp_path, "jsonl"))
    assert (one.regions[0].label, one.regions[0].description) == (None, "a dog in a field")
    written = row_of(one, Counter())
    assert written["caption"] == source["caption"]
    assert (written["noun_chunks"], written["ref_exps"]) == ([], source["ref_exps"])
    assert left(one) == {}


def test_what_grit_cannot_say_is_counted() -> None:
    caption = "a dog and a cat"
    told = replace(DOG, description="Quite another text.", mask=Mask("x", SOURCE))
    one = record(
        regions=[told, DOG, replace(DOG, crowd=True), replace(DOG, refusal="border")],
        caption=caption,
        phrases=(Phrase(0, 5, (0,), SOURCE), Phrase(10, 15, (3,), SOURCE)),
        source_captions=("Pets.",),
        tags=("dog",),
        conversation=(Turn("gpt", "Pets."),),
        absent=judged("cow"),
        partial=judged("cat"),
    )
    assert left(one) == {
        "description": 1,
        "mask": 1,
        "box without phrase": 1,
        "crowd": 1,
        "refused box": 1,
        "phrase": 1,
        "source caption": 1,
        "tag": 1,
        "conversation": 1,
        "absent": 1,
        "partial": 1,
    }


def test_names_make_a_caption_where_it_speaks_of_no_region() -> None:
    one = record(regions=[DOG, replace(DOG, names=("cat",))], caption="Pets.", absent=judged("cow"))
    written = row_of(one, Counter())
    assert written["caption"] == "dog. cat. "
    assert [chunk[:2] for chunk in written["noun_chunks"]] == [[0, 3], [5, 8]]
    assert left(one) == {"caption": 1, "absent": 1, "other label": 1}


def test_a_described_box_needs_no_phrase() -> None:
    box = replace(DOG, description="A Dog", label="dog")
    one = record(regions=[box, DOG], caption="Look, a dog.", absent=judged("cow"))
    written = row_of(one, Counter())
    assert written["caption"] == "Look, a dog."
    assert [chunk[:2] for chunk in written["ref_exps"]] == [[6, 11]]
    assert left(one) == {"box without phrase": 1, "absent": 1}


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("images/000000012.jpg", "000000012"),
        ("00000/000000012.jpg", "000000012"),
        ("images/000000012.png", "images/000000012.png"),
        ("images/000012.jpg", "images/000012"),
        ("images/a dog.v2.jpg", "images/a dog.v2"),
        ("dog.png.jpg", "dog.png.jpg"),
    ],
)
def test_a_key_is_img2datasets_or_the_path(file: str, key: str) -> None:
    assert row_of(record(file, key="b-x"), Counter())["key"] == key


@pytest.mark.parametrize("form", FORMS)
def test_every_image_is_found_again(tmp_path: Path, form: Any) -> None:
    files = ["dog.jpg", "a b/dog.jpg", "x/y/000012.jpg", "ü.v2.jpg", "00000/000000012.jpg"]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    write_grit([record(file, [DOG]) for file in files], tmp_path, form=form)
    entries = list_grit(tmp_path, batch="b", images="", annotations=f"grit_train.{form}")
    assert sorted(entry.file for entry in entries) == sorted(files)
    assert not any(entry.problem for entry in entries)


def test_two_images_of_one_key_are_not_written(tmp_path: Path) -> None:
    records = [record(file, [DOG, DOG]) for file in ("a/000000012.jpg", "b/000000012.jpg")]
    left_out = write_grit([*records, record("../x.jpg")], tmp_path)
    assert left_out == {
        "image (same file as another)": 1,
        "image (file outside the root)": 1,
        "box without image": 2,
        "licence": 1,
    }
    assert [one["key"] for one in rows_of(tmp_path, "parquet")] == ["000000012"]


def test_a_box_of_several_phrases_and_a_phrase_of_several_boxes(tmp_path: Path) -> None:
    caption = "a dog, a good boy, and two cats"
    cats = [replace(DOG, box_xyxy=box, label=None) for box in ((0, 0, 4, 4), (5, 0, 9, 4))]
    phrases = (
        Phrase(0, 5, (0,), SOURCE),
        Phrase(7, 17, (0,), SOURCE),
        Phrase(23, 31, (1, 2), SOURCE),
    )
    one = record("dog.jpg", [DOG, *cats], caption=caption, phrases=phrases)
    assert write_grit([one], tmp_path) == {"licence": 1}
    (again,) = read_again(listed(tmp_path, "parquet"))
    assert spoken(again) == spoken(one)
    assert labels_of(again) == ["dog", "cats", "cats"]
    assert again.regions[0].other_labels == ("good boy",)


@pytest.mark.parametrize("times", [0.5, 3])
def test_boxes_are_parts_of_an_image_that_was_resized(tmp_path: Path, times: float) -> None:
    one = record("dog.jpg", [replace(DOG, box_xyxy=(20, 10, 120, 90))], width=200, height=100)
    write_grit([one], tmp_path)
    (entry,) = listed(tmp_path, "parquet")
    facts = ImageFacts("jpg", int(200 * times), int(100 * times), 1, "0" * 64, 1, "")
    problems: Counter[str] = Counter()
    again = record_of(in_pixels(entry, facts), facts, problems, source="toy", batch=BATCH)
    assert again.regions[0].box_xyxy == pytest.approx([side * times for side in (20, 10, 120, 90)])
    assert not problems


def test_scores_of_models_and_of_people() -> None:
    sure = replace(DOG, box_from=Provenance("source", score=0.25))
    chunks = row_of(record(regions=[DOG, sure]), Counter())["noun_chunks"]
    assert [chunk[-1] for chunk in chunks] == [1.0, 0.25]


def test_rows_go_to_their_splits_in_groups(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(grit, "ROW_GROUP", 2)
    splits = ["train", "val", "train", "train", "train", "train"]
    records = [record(f"{number}.jpg", split=split) for number, split in enumerate(splits)]
    write_grit(iter(records), tmp_path)
    assert pq.ParquetFile(tmp_path / "grit_train.parquet").num_row_groups == 3
    assert [one["id"] for one in rows_of(tmp_path, "parquet")] == [
        one.key for one in records if one.split == "train"
    ]
    assert pq.read_table(tmp_path / "grit_val.parquet").num_rows == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    for form in FORMS:
        with pytest.raises(ValueError, match="is of the split 'dev'"):
            write_grit([record(), record(split="dev")], tmp_path, form=form)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60)
@given(grounded_records(), st.sampled_from(FORMS), st.data())
def test_grounded_captions_come_back(
    tmp_path_factory: pytest.TempPathFactory, one: Record, form: Any, data: st.DataObject
) -> None:
    assume(places_differ(one))
    folder = tmp_path_factory.mktemp("grit")
    scores = st.none() | st.floats(0, 1)
    regions = [
        replace(region, box_from=replace(SOURCE, score=data.draw(scores))) for region in one.regions
    ]
    one = replace(one, regions=tuple(regions))
    left_out = write_grit([one], folder, form=form)
    (again,) = read_again(listed(folder, form))
    said = [number for part in one.phrases for number in part.regions]
    assert again.caption == one.caption
    assert (again.width, again.height) == (one.width, one.height)
    assert_boxes_agree([regions[number] for number in said], again.regions)
    assert spoken(again) == spoken(one)
    assert labels_of(again) == [bare_phrase(text) for text, numbers in spoken(one) for _ in numbers]
    assert [region.box_from.score for region in again.regions] == [
        1.0 if regions[number].box_from.score is None else regions[number].box_from.score
        for number in said
    ]
    assert left_out["box without phrase"] == len(regions) - len(said)


def places_differ(one: Record) -> bool:
    """Boxes of one place are one box when they are read again."""
    places = {tuple(round(side, 2) for side in region.box_xyxy) for region in one.regions}
    return len(places) == len(one.regions)


def labels_of(one: Record) -> list[str | None]:
    return [region.label for region in one.regions]


@settings(max_examples=30)
@given(grounded_records(), st.data())
def test_descriptions_come_back(
    tmp_path_factory: pytest.TempPathFactory, one: Record, data: st.DataObject
) -> None:
    assume(places_differ(one))
    folder = tmp_path_factory.mktemp("grit")
    texts = [one.caption[part.start : part.end] for part in one.phrases]
    regions = [
        replace(region, description=data.draw(st.sampled_from(["", "Nowhere.", *texts])))
        for region in one.regions
    ]
    one = replace(one, regions=tuple(regions))
    left_out = write_grit([one], folder)
    (again,) = read_again(listed(folder, "parquet"))
    assert left_out["description"] == sum(one.description == "Nowhere." for one in regions)
    assert told(again.regions) == told(
        region for region in regions if region.description not in ("", "Nowhere.")
    )


def told(regions: Any) -> Counter[str]:
    """Descriptions; several of one place may change places."""
    return Counter(region.description.lower() for region in regions if region.description)


def test_a_box_without_a_name_or_a_phrase_is_left_out() -> None:
    assert row_of(record(regions=[Region((0, 0, 10, 5), SOURCE)]), Counter())["noun_chunks"] == []
    assert left(record(regions=[Region((0, 0, 10, 5), SOURCE)])) == {"box without name": 1}
