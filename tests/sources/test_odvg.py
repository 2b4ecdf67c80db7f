"""ODVG's lines in all dialects, and one line for each way to be broken."""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.curate.source_record import record_of
from opendet.record import Turn
from opendet.sources.card import Batch
from opendet.sources.images import ImageFacts
from opendet.sources.listing import AnnotatedBox, AnnotatedPhrase, Entry
from opendet.sources.odvg import bare_phrase, find_words, list_odvg, unspoken_names

GROUNDINGCAP = {
    "filename": "train/1.jpg",
    "height": 480,
    "width": 640,
    "grounding": {
        "caption": "bottle. person. dining table. ",
        "regions": [
            {
                "bbox": [[256.49, 255.39, 288.16, 348.46], [1.0, 2.0, 3.0, 4.0]],
                "phrase": "bottle",
                "tokens_positive": [[0, 6]],
            }
        ],
    },
    "conversations": [
        {"from": "human", "value": "<image>\nDescribe the image in detail."},
        {"from": "gpt", "value": "The image shows\na bottle."},
    ],
    "tags": ["bottle", "person"],
}


def line(caption: str = "", regions: Any = (), **fields: Any) -> dict[str, Any]:
    grounding = {"caption": caption, "regions": list(regions)}
    return {"filename": "a.jpg", "height": 10, "width": 20, "grounding": grounding, **fields}


def region(phrase: Any, box: Any = (1, 2, 5, 6), **fields: Any) -> dict[str, Any]:
    return {"bbox": box, "phrase": phrase, **fields}


def listed(folder: Path, *lines: Any, **fields: Any) -> list[Entry]:
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    (folder / "a.jsonl").write_text(text, "utf-8")
    return list_odvg(folder, batch="b", images="images", annotations="a.jsonl", **fields)


def spoken(entry: Entry) -> list[tuple[str, tuple[int, ...]]]:
    return [(entry.caption[one.start : one.end], one.boxes) for one in entry.phrases]


def test_all_that_a_line_of_groundingcap_says(tmp_path: Path) -> None:
    (entry,) = listed(tmp_path, GROUNDINGCAP)
    assert entry.file == "images/train/1.jpg"
    assert entry.declared_size == (640, 480)
    assert entry.annotations == (
        AnnotatedBox((256.49, 255.39, 288.16, 348.46), "bottle"),
        AnnotatedBox((1.0, 2.0, 3.0, 4.0), "bottle"),
    )
    assert entry.caption == "bottle. person. dining table. "
    assert entry.phrases == (AnnotatedPhrase(0, 6, (0, 1)),)
    assert entry.absent == ("person", "dining table")
    assert entry.tags == ("bottle", "person")
    assert entry.conversation == (
        Turn("human", "<image>\nDescribe the image in detail."),
        Turn("gpt", "The image shows\na bottle."),
    )
    assert entry.captions == ("The image shows\na bottle.",)
    assert not entry.problem


def test_a_sentence_has_labels_without_articles_and_no_absent_names(tmp_path: Path) -> None:
    caption = "  The two dogs chase a red ball. "
    regions = [
        region("The two dogs", [[1, 2, 5, 6], [2, 2, 5, 6]], tokens_positive=[[2, 14]]),
        region(["a red ball", "dogs"], tokens_positive=[[21, 31], [10, 14]]),
        region([], [], tokens_positive=[]),
    ]
    talk = [{"from": "gpt", "value": "Dogs."}]
    (entry,) = listed(tmp_path, line(caption, regions, conversations=talk))
    assert [box.label for box in entry.annotations] == ["dogs", "dogs", "red ball"]
    assert entry.annotations[2].other_labels == ("dogs",)
    assert entry.caption == caption
    assert spoken(entry) == [("The two dogs", (0, 1)), ("a red ball", (2,)), ("dogs", (2,))]
    assert (entry.absent, entry.captions) == ((), ())


def test_phrases_without_spans_are_found_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caption = "A cat on a catamaran, a cat on a mat"
    phrases = ("a cat", "A Cat", "mat", "a cat", "a ma", "")
    with caplog.at_level(logging.WARNING):
        (entry,) = listed(tmp_path, line(caption, [region(phrase) for phrase in phrases]))
    assert entry.phrases == (
        AnnotatedPhrase(0, 5, (0, 3)),
        AnnotatedPhrase(22, 27, (1,)),
        AnnotatedPhrase(33, 36, (2,)),
    )
    assert [box.label for box in entry.annotations] == ["cat", "Cat", "mat", "cat", "ma", ""]
    assert "2 phrases are not in their captions, the first is 'a ma' in line 1" in caplog.text


def test_a_joined_caption_gives_each_phrase_its_own_words(tmp_path: Path) -> None:
    phrases = ("cat", "red dog", "cat", "dog")
    (entry,) = listed(tmp_path, line("cat . red dog . dog", [region(phrase) for phrase in phrases]))
    assert entry.phrases == (
        AnnotatedPhrase(0, 3, (0, 2)),
        AnnotatedPhrase(6, 13, (1,)),
        AnnotatedPhrase(16, 19, (3,)),
    )
    assert entry.absent == ()


def test_detections_have_a_category_or_a_label_that_a_map_names(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('{"0": "dog", "7": "cat"}')
    instances = [
        {"bbox": [1, 2, 5, 6], "label": 0, "category": "hound"},
        {"bbox": [1, 2, 5, 6], "label": 7},
        {"bbox": [1, 2, 5, 6], "label": "0"},
    ]
    detection = {"filename": "a.jpg", "height": 10, "width": 20}
    detection |= {"detection": {"instances": instances}}
    detection |= {"conversations": [{"from": "gpt", "value": "A dog."}]}
    (entry,) = listed(tmp_path, detection, label_map="map.json")
    assert [box.label for box in entry.annotations] == ["hound", "cat", "dog"]
    assert (entry.caption, entry.phrases, entry.captions) == ("", (), ("A dog.",))
    with pytest.raises(
        ValueError, match=r"a\.jsonl: line 1: detection\.instances\.1 .* label 7: .*`label_map`"
    ):
        listed(tmp_path, detection)
    with pytest.raises(ValueError, match=r"other\.json is missing"):
        listed(tmp_path, detection, label_map="other.json")


def test_a_line_may_have_a_conversation_alone(tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "A dog."}]
    (entry,) = listed(tmp_path, {"filename": "a.jpg", "conversations": talk})
    assert (entry.annotations, entry.captions, entry.declared_size) == ((), ("A dog.",), None)


def test_an_image_in_many_lines_has_many_keys(tmp_path: Path) -> None:
    lines = [line("a dog"), line("a cat"), line("a mug", filename="2_a.jpg"), line("a hat")]
    entries = listed(tmp_path, *lines)
    assert {entry.caption for entry in entries} == {"a dog", "a cat", "a mug", "a hat"}
    assert [entry.problem for entry in entries] == [""] * 4
    assert len({entry.key for entry in entries}) == 4
    assert {entry.key for entry in entries if entry.caption in ("a dog", "a mug")} == {
        "b-a",
        "b-2_a",
    }
    assert entries == listed(tmp_path, *lines)


def test_merged_lines_are_one_image(tmp_path: Path) -> None:
    first = line("a dog", [region("a dog", tokens_positive=[[0, 5]])], tags=["x"])
    wrong = region("a pup", [7, 2, 9, 6], tokens_positive=[[6, 11], [8, 99]])
    again = region("a hound", tokens_positive=[[0, 7]])
    second = line("a hound", [wrong, again], tags=["y", "x"])
    third = line("cat. tree. dog. ", [region("cat", [0, 0, 3, 3], tokens_positive=[[0, 3]])])
    other = line("a cat", filename="c.jpg")
    entry, rest = listed(tmp_path, first, second, other, third, merge=True)
    assert (rest.key, rest.caption) == ("b-c", "a cat")
    assert (entry.key, entry.caption) == ("b-a", "a dog\na hound\ncat. tree. dog. ")
    assert entry.annotations == (
        AnnotatedBox((1, 2, 5, 6), "dog", other_labels=("hound",)),
        AnnotatedBox((7, 2, 9, 6), "pup"),
        AnnotatedBox((0, 0, 3, 3), "cat"),
    )
    good = [one for one in entry.phrases if one.start >= 0]
    assert len(good) == len(entry.phrases) - 2  # outside their own captions
    assert [(entry.caption[one.start : one.end], one.boxes) for one in good] == [
        ("a dog", (0,)),
        ("a hound", (0,)),
        ("cat", (2,)),
    ]
    assert entry.tags == ("x", "y")
    assert entry.absent == ("tree",)  # a dog has a box, in another line


@pytest.mark.parametrize("name", [None, ""])
def test_a_line_without_a_file_is_a_problem_of_its_own(tmp_path: Path, name: Any) -> None:
    lines = [line("a dog", filename=name), line(), line("a cat", filename=name)]
    for merge in (False, True):
        entries = listed(tmp_path, *lines, merge=merge)
        assert sorted(entry.problem for entry in entries) == ["", "no file name", "no file name"]


def test_a_name_that_leaves_the_root_is_a_problem(tmp_path: Path) -> None:
    (entry,) = listed(tmp_path, line(filename="../../secret.jpg"))
    assert entry.problem == "file outside the root"


def test_nan_boxes_are_read_and_judged_later(tmp_path: Path) -> None:
    text = json.dumps(line("a dog", [region("a dog", [float("nan"), 0, 1e999, 2])]))
    assert len(listed(tmp_path, text)[0].annotations) == 1
    assert len(listed(tmp_path, text, text, merge=True)) == 1


def test_empty_lines_are_skipped(tmp_path: Path) -> None:
    assert len(listed(tmp_path, "", line(), "  \r", line(filename="b.jpg"), "")) == 2
    assert listed(tmp_path, "") == []


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"images": [], "annotations": []}, "filename: Field required"),
        (line(filename=3), "filename: Input should be a valid string"),
        (line(width="wide"), "width: Input should be a valid integer"),
        (line(grounding=3), "grounding: Input should be"),
        (line(grounding={"regions": []}), r"grounding\.caption: Field required"),
        (line("a", [{"phrase": "a"}]), r"grounding\.regions\.0\.bbox: Field required"),
        (line("a", [{"bbox": [1, 2, 3, 4]}]), r"grounding\.regions\.0\.phrase: Field required"),
        (line("a", [region("a", [1, 2, 3])]), r"grounding\.regions\.0\.bbox\.0\.3: Field required"),
        (line("a", [region("a", [[1, 2, 3, "x"]])]), r"grounding\.regions\.0\.bbox\.0\.3: "),
        (line("a", [region(["a", 3])]), r"grounding\.regions\.0\.phrase\.1: "),
        (line("a", [region("a", tokens_positive=[0, 1])]), r"regions\.0\.tokens_positive\.0: "),
        (line("a", [region("a", tokens_positive=[[0]])]), r"regions\.0\.tokens_positive\.0\.1: "),
        (line(detection={"instances": [{}]}), r"detection\.instances\.0\.bbox: Field required"),
        (line(conversations=[{"value": "x"}]), r"conversations\.0\.from: Field required"),
        (line(tags=[3]), r"tags\.0: "),
        ("[]", "its root: "),
        ("{", "its root: Invalid JSON: EOF"),
        ('{"filename": "\\ud800"}', "its root: .*hex escape"),
        ("[" * 100_000, "its root: .*recursion"),
    ],
)
def test_a_broken_line_names_file_line_and_place(tmp_path: Path, broken: Any, says: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.jsonl: line 3: .*({says})") as caught:
        listed(tmp_path, line(), "", broken, line())
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"filename": "a.jpg"}\n{"filename": "\xff"}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl: line 2: .*unicode"):
        list_odvg(tmp_path, batch="b", images="", annotations="a.jsonl")


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"other\.jsonl is missing: mend the batch"):
        list_odvg(tmp_path, batch="b", images="", annotations="other.jsonl")
    with pytest.raises(ValueError, match="is a folder: name a file"):
        list_odvg(tmp_path, batch="b", images="", annotations=".")


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("a man", "man"),
        ("The two  dogs", "dogs"),
        (" nine men ", "men"),
        ("an", "an"),
        ("another man", "another man"),
        ("one", "one"),
        ("anemone", "anemone"),
        ("ten men", "ten men"),
        ("", ""),
    ],
)
def test_a_phrase_without_its_leading_words(phrase: str, name: str) -> None:
    assert bare_phrase(phrase) == name


@pytest.mark.parametrize(
    ("caption", "spans", "names"),
    [
        ("cat. dog. ", [(0, 3)], ("dog",)),
        ("cat. dog. ", [(0, 3), (5, 8)], ()),
        ("cat. dog. dog. ", [(0, 3), (0, 3)], ("dog",)),
        ("St. Bernard. dog. cow. ", [(0, 11), (13, 16)], ("cow",)),
        ("cow. pig. cat. ", [(10, 13)], ("cow", "pig")),
        ("cat. dog.", [(0, 3)], None),  # a sentence ends so
        ("cat. dog. ", [(0, 2)], None),
        ("cat. dog. ", [(1, 3)], None),
        ("cat. dog. ", [(0, 3), (1, 3)], None),
        ("cat. dog. ", [(0, 30)], None),
        ("cat. dog. ", [(-1, 3)], None),
        ("cat. dog. ", [(0, 0)], None),
        ("A cat sleeps. It purrs. ", [(2, 5)], None),
        ("cat. dog. ", [], None),
        ("", [], None),
    ],
)
def test_which_captions_are_lists_of_names(caption: str, spans: Any, names: Any) -> None:
    assert unspoken_names(caption, spans) == names


@given(
    st.text("aİß. -", max_size=20), st.text("aİß. -", min_size=1, max_size=4), st.integers(0, 20)
)
def test_words_are_found_whole(text: str, words: str, start: int) -> None:
    found = find_words(text, words, start)
    stripped = words.strip()
    bounded = [
        place
        for place in range(start, len(text))
        if stripped
        and text.startswith(stripped, place)
        and not text[max(place - 1, 0) : place].isalnum()
        and not text[place + len(stripped) :][:1].isalnum()
    ]
    assert found == ((bounded[0], bounded[0] + len(stripped)) if bounded else None)


def test_words_are_found_in_any_case_behind_a_letter_that_grows() -> None:
    assert find_words("İ. A Dog", "a dog") == (3, 8)


def test_real_lines_are_read_wholly(shared_data: Path) -> None:
    folder = shared_data / "coco_entities"
    name = "coco_entities_samples.odvg.jsonl"
    source = [json.loads(text) for text in (folder / name).read_text().splitlines()]
    entries = list_odvg(folder, batch="b", images="images", annotations=name)
    assert len(entries) == len(source) == 17
    assert Counter(entry.problem for entry in entries) == {"": 12, "no file name": 5}
    regions = [one for image in source for one in image["grounding"]["regions"]]
    assert sum(len(entry.phrases) for entry in entries) == len(regions)
    assert sorted(text for entry in entries for text, _ in spoken(entry)) == sorted(
        one["phrase"] for one in regions
    )
    boxes = [box for one in regions for box in one["bbox"]]
    assert sum(len(entry.annotations) for entry in entries) == len(boxes)
    assert all((folder / entry.file).is_file() for entry in entries if not entry.problem)
    merged = list_odvg(folder, batch="b", images="images", annotations=name, merge=True)
    assert Counter(entry.problem for entry in merged) == {"": 4, "no file name": 5}
    assert sum(len(entry.phrases) for entry in merged) == len(regions)


def test_an_entry_becomes_a_record_without_a_problem(tmp_path: Path) -> None:
    (entry,) = listed(tmp_path, {**GROUNDINGCAP, "filename": "a.jpg"})
    problems: Counter[str] = Counter()
    batch = Batch(name="b", split="train", format="folder", root="r", licence="MIT")
    facts = ImageFacts("jpg", 640, 480, 1, "ab", 3, "0" * 16)
    record = record_of(entry, facts, problems, source="x", batch=batch)
    assert not problems
    assert record.caption == entry.caption
    assert record.conversation == entry.conversation
    assert [item.name for item in record.absent] == ["person", "dining table"]


def test_phrases_and_detections_of_one_line_are_both_read(tmp_path: Path) -> None:
    instances = [
        {"bbox": [1, 2, 5, 6], "category": "hound"},
        {"bbox": [7, 2, 9, 6], "category": "cat"},
        {"bbox": [7, 2, 9, 6], "category": "cat"},
    ]
    both = line("a dog", [region("a dog")], detection={"instances": instances})
    (entry,) = listed(tmp_path, both)
    assert entry.annotations == (
        AnnotatedBox((1, 2, 5, 6), "dog", other_labels=("hound",)),
        AnnotatedBox((7, 2, 9, 6), "cat"),
        AnnotatedBox((7, 2, 9, 6), "cat"),
    )
    assert spoken(entry) == [("a dog", (0,))]


def test_what_is_lost_with_a_line_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    boxes = [region("a dog", [[1, 2, 5, 6], [2, 2, 5, 6]])]
    detection = {"instances": [{"bbox": [1, 2, 5, 6], "category": "dog"}]}
    nameless = line("a dog", boxes, filename=None, detection=detection)
    misspelt = {"filename": "b.jpg", "groundings": {}}
    entry, _, other = listed(tmp_path, nameless, line(), misspelt)
    problems = {one.problem: one.problem_detail for one in (entry, other)}
    assert problems == {"no file name": "line 1, which has 3 boxes", "": ""}
    assert "1 lines have neither grounding nor detection" in caplog.text


def test_lines_of_different_sizes_are_no_image(tmp_path: Path) -> None:
    lines = [line("a dog"), line("a cat", width=None), line("a hat", width=30)]
    (entry,) = listed(tmp_path, *lines, merge=True)
    assert entry.problem == "lines of different sizes"
    assert entry.problem_detail == "images/a.jpg has lines of 20x10 and 30x10"
    (entry,) = listed(tmp_path, *lines[1::-1], merge=True)
    assert (entry.problem, entry.declared_size) == ("", (20, 10))


def test_merged_lines_keep_all_their_conversations(tmp_path: Path) -> None:
    def talk(question: str, answer: str) -> list[dict[str, str]]:
        return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]

    lines = [
        line("a dog", conversations=talk("<image>\nWhat?", "A dog.")),
        line("a cat"),
        line("a hat", conversations=talk("<image>\nWhere?", "There.")),
        line("a mug", conversations=talk("<image>\nWhat?", "A dog.")),
    ]
    (entry,) = listed(tmp_path, *lines, merge=True)
    said = [turn.text for turn in entry.conversation]
    assert said == ["<image>\nWhat?", "A dog.", "Where?", "There."]


def test_a_byte_order_mark_and_spellings_of_a_file(tmp_path: Path) -> None:
    lines = "\r\n".join(
        json.dumps(line(filename=name)) for name in ("./a.jpg", "a.jpg", "x//b.jpg")
    )
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    entries = list_odvg(tmp_path, batch="b", images="", annotations="a.jsonl", merge=True)
    assert [entry.file for entry in entries] == ["a.jpg", "x/b.jpg"]
