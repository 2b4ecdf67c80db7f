"""ODVG's dialects as they are written, as their loaders have them, and read again."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.exports.grounding import Grounding, Spoken, lists_names
from opendet.exports.objects import name_of
from opendet.exports.odvg import Dialect, fit_to_loader, line_of, write_odvg
from opendet.record import Mask, Phrase, Provenance, Record, Region, Turn
from opendet.sources.listing import clean_text
from opendet.sources.odvg import bare_phrase, list_odvg, unspoken_names
from tests.exports.export_world import DOG, SOURCE, assert_boxes_agree, boxes, judged, record
from tests.exports.grounded_world import grounded_records, read_again, spoken
from tests.sources.test_odvg import GROUNDINGCAP

CAT = replace(DOG, box_xyxy=(0.0, 0.0, 4.0, 4.0), label="cat")
DIALECTS: tuple[Dialect, ...] = ("groundingcap", "odvg-mmdet", "odvg-opengdino")
SPANNED: tuple[Dialect, ...] = ("groundingcap", "odvg-mmdet")
NAMES = st.text("aBİ. -é", min_size=1, max_size=6).map(clean_text)
NAMES = NAMES.filter(lambda name: any(letter.isalnum() for letter in name))


def phrase(caption: str, text: str, *regions: int) -> Phrase:
    start = caption.index(text)
    return Phrase(start, start + len(text), regions, SOURCE)


def line(one: Record, dialect: Dialect = "groundingcap", **fields: Any) -> Any:
    return line_of(one, Counter(), dialect=dialect, **fields)


def left(one: Record, dialect: Dialect = "groundingcap", **fields: Any) -> dict[str, int]:
    left_out: Counter[str] = Counter()
    line_of(one, left_out, dialect=dialect, **fields)
    del left_out["licence"]
    return dict(+left_out)


def sentence(text: str = "a dog and a cat", **fields: Any) -> Record:
    phrases = (phrase(text, "a dog", 0), phrase(text, "a cat", 1))
    return record(regions=[DOG, CAT], caption=text, phrases=phrases, **fields)


def test_a_line_of_groundingcap_is_written_as_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(GROUNDINGCAP))
    entries = list_odvg(tmp_path, batch="b", images="", annotations="a.jsonl")
    (one,) = read_again(entries)
    assert left(one) == {}
    assert json.dumps(line(one)) == json.dumps(GROUNDINGCAP)  # the order of keys too


def test_real_lines_are_written_as_they_were_read(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "coco_entities"
    name = "coco_entities_samples.odvg.jsonl"
    source = [json.loads(text) for text in (folder / name).read_text().splitlines()]
    # Five lines have neither file nor size. The image is of no interest: any size that fits does.
    sized = [
        {**one, "width": one["width"] or 640, "height": one["height"] or 480} for one in source
    ]
    for number, one in enumerate(sized):
        one["filename"] = one["filename"] or f"{number}.jpg"
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, sized)))
    entries = list_odvg(tmp_path, batch="b", images="", annotations="a.jsonl")
    left_out = write_odvg(read_again(entries), tmp_path, dialect="odvg-mmdet")
    assert left_out == {"licence": 17}
    written = [json.loads(text) for text in (tmp_path / "odvg_train.jsonl").open()]
    caption = lambda one: one["grounding"]["caption"]  # noqa: E731
    assert sorted(written, key=caption) == sorted(sized, key=caption)


def test_phrases_are_regions_and_the_caption_is_the_answer() -> None:
    talk = [
        {"from": "human", "value": "<image>\nDescribe the image in detail."},
        {"from": "gpt", "value": "a dog and a cat"},
    ]
    assert line(sentence(tags=("dog",))) == {
        "filename": "a.jpg",
        "height": 10,
        "width": 20,
        "grounding": {
            "caption": "a dog and a cat",
            "regions": [
                {
                    "bbox": [[1.5, 2.0, 11.25, 8.0]],
                    "phrase": "a dog",
                    "tokens_positive": [[0, 5]],
                },
                {
                    "bbox": [[0.0, 0.0, 4.0, 4.0]],
                    "phrase": "a cat",
                    "tokens_positive": [[10, 15]],
                },
            ],
        },
        "conversations": talk,
        "tags": ["dog"],
    }
    assert left(sentence(tags=("dog",))) == {}


def test_the_dialects_differ_as_their_loaders_do() -> None:
    one = sentence(tags=("dog",), conversation=(Turn("human", "?"), Turn("gpt", "Pets.")))
    assert line(one)["conversations"][1] == {"from": "gpt", "value": "Pets."}
    assert left(one) == {}
    plain = line(one, "odvg-mmdet")
    assert list(plain) == ["filename", "height", "width", "grounding"]
    assert plain["grounding"] == line(one)["grounding"]
    assert left(one, "odvg-mmdet") == {"conversation": 1, "tag": 1}
    assert line(one, "odvg-opengdino")["grounding"] == {
        "caption": "a dog . a cat",
        "regions": [
            {"bbox": [1.5, 2.0, 11.25, 8.0], "phrase": "a dog"},
            {"bbox": [0.0, 0.0, 4.0, 4.0], "phrase": "a cat"},
        ],
    }
    assert left(one, "odvg-opengdino") == {"conversation": 1, "tag": 1, "caption": 1}


def test_phrases_of_the_same_boxes_share_a_region() -> None:
    text = "a dog, a good boy"
    phrases = (phrase(text, "a dog", 0, 1), phrase(text, "boy", 0, 1))
    (region,) = line(record(regions=[DOG, CAT], caption=text, phrases=phrases))["grounding"][
        "regions"
    ]
    assert region["phrase"] == ["a dog", "boy"]
    assert region["tokens_positive"] == [[0, 5], [14, 17]]
    assert len(region["bbox"]) == 2


def test_boxes_that_no_phrase_speaks_of_are_left_out_and_counted() -> None:
    text = "a dog and a cat on grass"
    phrases = (phrase(text, "a dog", 0), phrase(text, "grass"), phrase(text, "a cat", 3))
    one = record(
        regions=[DOG, CAT, replace(CAT, label=None), replace(CAT, refusal="border")],
        caption=text,
        phrases=phrases,
        absent=judged("cow"),
    )
    assert len(line(one)["grounding"]["regions"]) == 1
    assert left(one) == {
        "box without phrase": 1,
        "box without name": 1,
        "refused box": 1,
        "phrase": 2,
        "absent": 1,
    }
    assert left(one, "odvg-opengdino") == {
        "box without name": 1,
        "refused box": 1,
        "absent": 1,
        "caption": 1,
    }


def test_names_make_a_caption_where_no_phrase_is_grounded() -> None:
    regions = [DOG, CAT, replace(DOG, label="DOG"), replace(CAT, names=("hot dog", "dog"))]
    one = record(regions=regions, caption="Pets.", source_captions=("Two pets.", "Pets. "))
    grounding = line(one)["grounding"]
    assert grounding["caption"] == "dog. cat. hot dog. "
    assert [region["tokens_positive"] for region in grounding["regions"]] == [
        [[0, 3]],
        [[5, 8]],
        [[10, 17]],
    ]
    assert [len(region["bbox"]) for region in grounding["regions"]] == [2, 1, 1]
    assert line(one)["conversations"][1]["value"] == "Pets."
    lost = {"other label": 2}  # `dog` and the source's word for what is called a hot dog now
    assert left(one) == {"source caption": 1, **lost}
    assert left(one, "odvg-mmdet") == {"caption": 1, "source caption": 2, **lost}


def test_a_source_caption_answers_where_the_caption_is_a_list() -> None:
    one = record(regions=[DOG], caption="dog. ", phrases=(Phrase(0, 3, (0,), SOURCE),))
    assert "conversations" not in line(one)
    told = replace(one, source_captions=("A dog runs.",))
    assert line(told)["conversations"][1]["value"] == "A dog runs."
    assert left(told) == {}


def test_absent_names_are_mixed_in_as_many_as_are_asked_for() -> None:
    absent = judged(*(f"x{number}" for number in range(100)), "DOG", "St. Bernard", "dr.")
    one = record(regions=[DOG, CAT], absent=absent)
    captions = [line(one, negatives=most)["grounding"]["caption"] for most in (0, 1, 85)]
    assert [caption.count(". ") for caption in captions] == [2, 3, 87]
    assert [left(one, negatives=most)["absent"] for most in (0, 1, 85)] == [103, 102, 18]
    assert captions[2] == line(one)["grounding"]["caption"]
    assert not captions[2].startswith(("dog. cat. ", "cat. dog. "))  # told by no place
    keys = [f"b-{number}" for number in range(20)]
    others = [line(replace(one, key=key))["grounding"]["caption"] for key in keys]
    places = {other.index("dog. ") for other in others}
    assert len(places) > 10
    assert left(record(absent=judged("cow"))) == {"absent": 1}  # no list without a present name


def test_a_list_that_is_true_no_more_is_made_anew() -> None:
    caption = "dog. cat. cow. "
    phrases = (Phrase(0, 3, (0,), SOURCE), Phrase(5, 8, (1,), SOURCE))
    one = record(regions=[DOG, CAT], caption=caption, phrases=phrases, absent=judged("cow"))
    assert line(one)["grounding"]["caption"] == caption
    assert left(one) == {}
    refused = replace(one, regions=(DOG, replace(CAT, refusal="border")))
    assert line(refused, negatives=0)["grounding"]["caption"] == "dog. "
    renamed = replace(one, regions=(DOG, replace(CAT, names=("lynx",))))
    assert line(renamed, negatives=0)["grounding"]["caption"] == "dog. lynx. "
    assert left(renamed, negatives=0) == {"absent": 1, "other label": 1}
    boxless = replace(one, phrases=(phrases[0], replace(phrases[1], regions=())))
    assert "cat. " in line(boxless)["grounding"]["caption"]
    assert len(line(boxless)["grounding"]["regions"]) == 2


def test_what_no_dialect_can_say_is_counted() -> None:
    region = replace(
        DOG,
        mask=Mask("x", SOURCE),
        description="A dog.",
        other_labels=("hound", "pup"),
        box_from=Provenance("source", score=0.5),
    )
    one = record(
        regions=[region, replace(region, crowd=True), replace(region, refusal="border")],
        partial=judged("cow"),
        licence="MIT",
    )
    for dialect in DIALECTS:
        assert left(one, dialect) == {
            "mask": 1,
            "description": 1,
            "other label": 2,
            "score": 1,
            "crowd": 1,
            "refused box": 1,
            "partial": 1,
        }


def test_opengdino_uses_the_name_where_the_phrase_says_another() -> None:
    one = replace(sentence(), regions=(replace(DOG, names=("wolf",)), replace(CAT, label=None)))
    grounding = line(one, "odvg-opengdino")["grounding"]
    assert grounding["caption"] == "wolf . a cat"


def test_opengdino_gets_no_image_without_boxes(tmp_path: Path) -> None:
    records = [record(), record("b.jpg", [DOG]), record("c.jpg", [DOG], split="val")]
    assert write_odvg(records, tmp_path, dialect="odvg-opengdino")["image (without boxes)"] == 1
    assert len((tmp_path / "odvg_train.jsonl").read_text().splitlines()) == 1
    assert len((tmp_path / "odvg_val.jsonl").read_text().splitlines()) == 1
    write_odvg(iter(records), tmp_path, dialect="odvg-mmdet")
    assert len((tmp_path / "odvg_train.jsonl").read_text().splitlines()) == 2


def test_a_failure_leaves_no_file_and_no_half_of_one(tmp_path: Path) -> None:
    (tmp_path / "odvg_train.jsonl").write_text("old")

    def failing() -> Iterator[Record]:
        yield record("a.jpg", [DOG])
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write_odvg(failing(), tmp_path, dialect="odvg-mmdet")
    with pytest.raises(ValueError, match=r"record b-a is of the split '\.\./x'"):
        write_odvg([record(split="../x")], tmp_path, dialect="odvg-mmdet")
    assert [path.name for path in tmp_path.iterdir()] == ["odvg_train.jsonl"]
    assert (tmp_path / "odvg_train.jsonl").read_text() == "old"


@settings(max_examples=150)
@given(st.text("aİẞΣ \t\n\u3000.", max_size=15), st.data())
def test_spans_hold_after_the_loaders_work(caption: str, data: st.DataObject) -> None:
    spans = []
    for _ in range(data.draw(st.integers(0, 3)) if caption else 0):
        start = data.draw(st.integers(0, len(caption) - 1))
        spans.append((start, data.draw(st.integers(start + 1, len(caption)))))
    spoken_of = tuple(Spoken((span,), (number,)) for number, span in enumerate(spans))
    left_out: Counter[str] = Counter()
    fitted = fit_to_loader(Grounding(caption, spoken_of), left_out)
    loaded = fitted.caption.lower().strip()
    for one in fitted.spoken:
        [(start, end)] = one.spans
        assert 0 <= start < end <= len(loaded)
        assert even(loaded[start:end]) == even(caption[slice(*spans[one.regions[0]])])
    empty = sum(not caption[slice(*span)].strip() for span in spans)
    assert left_out["phrase"] <= empty  # white space within the caption is a phrase, if an odd one
    assert left_out["mended character"] == caption.count("İ")


@settings(max_examples=60)
@given(grounded_records(), st.sampled_from(SPANNED))
def test_grounded_captions_come_back(
    tmp_path_factory: pytest.TempPathFactory, one: Record, dialect: Dialect
) -> None:
    folder = tmp_path_factory.mktemp("odvg")
    left_out = write_odvg([one], folder, dialect=dialect)
    (again,) = read_again(listed(folder), like=one)
    said = [number for part in one.phrases for number in part.regions]
    assert again.caption == one.caption
    assert_boxes_agree([one.regions[number] for number in said], again.regions)
    assert spoken(again) == spoken(one)
    assert [region.label for region in again.regions] == [
        bare_phrase(one.caption[part.start : part.end])
        for part in one.phrases
        for _ in part.regions
    ]
    assert left_out["box without phrase"] == len(one.regions) - len(said)
    if dialect == "groundingcap":
        assert again.tags == (one.tags or tuple(dict.fromkeys(text for text, _ in spoken(one))))
        answer = () if lists_names(one) else (Turn("gpt", one.caption.strip()),)
        assert again.conversation[-1:] == (one.conversation or answer)[-1:]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(boxes(20, 10), NAMES), max_size=5),
    st.lists(NAMES, max_size=4),
    st.sampled_from(DIALECTS),
)
def test_names_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    objects: list[Any],
    absent: list[str],
    dialect: Dialect,
) -> None:
    folder = tmp_path_factory.mktemp("odvg")
    regions = [Region(box_xyxy, SOURCE, label=name) for box_xyxy, name in objects]
    one = record("images/a.jpg", regions, absent=judged(*absent))
    left_out = write_odvg([one], folder, dialect=dialect)
    if dialect == "odvg-opengdino":
        assert left_out["image (without boxes)"] == (not regions)
        if not regions:
            return
    (again,) = read_again(listed(folder), like=one)
    key = lambda region: region.box_xyxy  # noqa: E731
    first, second = sorted(regions, key=key), sorted(again.regions, key=key)
    assert_boxes_agree(first, second)
    if dialect == "odvg-opengdino":
        assert [region.label for region in again.regions] == [
            bare_phrase(name_of(region)) for region in regions
        ]
        assert sorted(n for _, numbers in spoken(again) for n in numbers) == [*range(len(regions))]
        assert again.absent == ()
        return
    assert Counter(plain(region.label) for region in second) == Counter(
        plain(region.label) for region in first
    )
    present = {plain(region.label) for region in regions}
    wanted = {plain(name) for name in absent if ". " not in f"{name} "} - present
    assert {plain(item.name) for item in again.absent} == (wanted if regions else set())


def even(text: str) -> str:
    """In lower case, without the ways in which a span may differ from its phrase."""
    return text.replace("İ", "I").lower().replace("ς", "σ").strip()


def plain(name: str | None) -> str:
    return bare_phrase(name or "").replace("İ", "I").lower()


def listed(folder: Path) -> Any:
    if not (folder / "odvg_train.jsonl").is_file():
        return []
    return list_odvg(folder, batch="b", images="", annotations="odvg_train.jsonl")


def test_a_written_list_is_read_as_one() -> None:
    grounding = line(record(regions=[DOG], absent=judged("cow")))["grounding"]
    spans = [tuple(span) for one in grounding["regions"] for span in one["tokens_positive"]]
    assert unspoken_names(grounding["caption"], spans) == ("cow",)
