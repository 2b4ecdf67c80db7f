"""Flickr30k Entities: marks, chains and boxes; bad files are problems of their images."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.curate.source_record import record_of
from opendet.sources.card import Batch
from opendet.sources.flickr30k import list_flickr30k, parse_sentence
from opendet.sources.images import ImageFacts
from opendet.sources.listing import AnnotatedBox

SENTENCES = """\
[/EN#1/people Two young guys] with [/EN#2/bodyparts shaggy hair] look at \
[/EN#0/notvisual each other] in [/EN#3/scene the yard] .
[/EN#4/people A man] in [/EN#5/clothing/other a blue shirt] stands .
A caption without marks .
[/EN#4/people One] of [/EN#1/people two men] .
Outdoors .
"""


def xml_of(*objects: str, size: tuple[int, int] = (500, 333)) -> str:
    declared = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    inside = "".join(f"<object>{item}</object>" for item in objects)
    return f"<annotation><filename>1.jpg</filename>{declared}{inside}</annotation>"


def box_of(chains: str, corners: str) -> str:
    names = "".join(f"<name>{chain}</name>" for chain in chains.split())
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners.split(), strict=True)
    return f"{names}<bndbox>{''.join(f'<{k}>{v}</{k}>' for k, v in sides)}</bndbox>"


XML = xml_of(
    box_of("1", "1 2 100 200"),
    box_of("1 4", "120 2 200 200"),
    box_of("5", "130 50 190 120"),
    "<name>3</name><scene>1</scene><nobndbox>1</nobndbox>",
    "<name>2</name><scene>0</scene><nobndbox>1</nobndbox>",
)


def write(root: Path, number: str = "1", sentences: str = SENTENCES, xml: str = XML) -> None:
    for folder, suffix, content in (("Sentences", "txt", sentences), ("Annotations", "xml", xml)):
        (root / "entities" / folder).mkdir(parents=True, exist_ok=True)
        (root / "entities" / folder / f"{number}.{suffix}").write_text(content, "utf-8")


def listed(root: Path, **chosen: Any) -> Any:
    return list_flickr30k(root, batch="b", images="images", annotations="entities", **chosen)


def spoken(entry: Any) -> list[tuple[str, tuple[int, ...]]]:
    return [(entry.caption[phrase.start : phrase.end], phrase.boxes) for phrase in entry.phrases]


def test_one_caption_is_grounded_and_the_others_are_plain(tmp_path: Path) -> None:
    write(tmp_path)
    (entry,) = listed(tmp_path)
    assert (entry.key, entry.file, entry.declared_size) == ("b-1", "images/1.jpg", (500, 333))
    assert entry.caption == "Two young guys with shaggy hair look at each other in the yard ."
    assert spoken(entry) == [
        ("Two young guys", (0, 1)),
        ("shaggy hair", ()),
        ("each other", ()),
        ("the yard", ()),
    ]
    assert entry.captions == (
        "A man in a blue shirt stands .",
        "A caption without marks .",
        "One of two men .",
        "Outdoors .",
    )


def test_pixels_from_one_become_half_open_from_zero_and_chains_give_labels(tmp_path: Path) -> None:
    write(tmp_path)
    assert listed(tmp_path)[0].annotations == (
        AnnotatedBox((0, 1, 100, 200), "two young guys"),
        AnnotatedBox((119, 1, 200, 200), "two young guys", other_labels=("man",)),
        AnnotatedBox((129, 49, 190, 120), "blue shirt"),
    )


def test_another_caption_may_be_grounded(tmp_path: Path) -> None:
    write(tmp_path)
    (entry,) = listed(tmp_path, sentence=1)
    assert spoken(entry) == [("A man", (1,)), ("a blue shirt", (2,))]
    assert len(entry.captions) == 4
    assert entry.captions[0].startswith("Two young guys")


def test_where_a_caption_is_missing_the_first_is_grounded(tmp_path: Path) -> None:
    write(tmp_path, sentences="[/EN#4/people A man] .\n")
    (entry,) = listed(tmp_path, sentence=3)
    assert (entry.caption, entry.captions, spoken(entry)) == ("A man .", (), [("A man", (1,))])


def test_captions_of_other_images_are_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "entities" / "UNRELATED_CAPTIONS").write_text("# image number\n1 1\n7 3\n1 5")
    (entry,) = listed(tmp_path)
    assert entry.caption == "A man in a blue shirt stands ."
    assert entry.captions == ("A caption without marks .", "One of two men .")
    (tmp_path / "entities" / "UNRELATED_CAPTIONS").write_text("1 first")
    with pytest.raises(ValueError, match=r"UNRELATED_CAPTIONS: entry 1 is not an image and a nu"):
        listed(tmp_path)


def test_an_image_without_sentences_has_no_caption(tmp_path: Path) -> None:
    write(tmp_path, sentences="\n")
    (entry,) = listed(tmp_path)
    assert (entry.caption, entry.phrases, entry.captions, entry.problem) == ("", (), (), "")
    assert [box.label for box in entry.annotations] == ["", "", ""]


@pytest.mark.parametrize(
    ("marked", "label"),
    [
        ("[/EN#1/people A man] .", "man"),
        ("[/EN#1/people Men] .", "men"),
        ("[/EN#1/other NBA player] .", "NBA player"),
        ("[/EN#1/other The] .", "the"),
        ("See [/EN#1/people Uncle Sam] .", "Uncle Sam"),
        ("[/EN#1/people The Beatles] .", "Beatles"),
        ("See [/EN#1/clothing/other an apron] .", "apron"),
        ("[/EN#1 Anna] .", "anna"),
        ("[/EN#1/people I] am .", "I"),
    ],
)
def test_a_label_is_the_first_mention_without_its_article(
    tmp_path: Path, marked: str, label: str
) -> None:
    write(tmp_path, sentences=marked + "\n[/EN#1/people Somebody else] .", xml=XML)
    assert listed(tmp_path)[0].annotations[0].label == label


def test_a_list_chooses_images(tmp_path: Path) -> None:
    for number in ("1", "2", "10"):
        write(tmp_path, number)
    (tmp_path / "val.txt").write_text("10\n\n 2 \n3\n")
    found = {entry.key: entry.problem for entry in listed(tmp_path, names="val.txt")}
    assert found == {"b-10": "", "b-2": "", "b-3": "missing annotation"}
    assert [entry.key for entry in listed(tmp_path)] == ["b-1", "b-10", "b-2"]


def test_a_list_cannot_leave_the_root(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "val.txt").write_text("../../secret\n")
    assert listed(tmp_path, names="val.txt")[0].problem == "file outside the root"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.txt", None, r"none\.txt is missing: mend the batch"),
        ("list.txt", b"1\n\xff", r"list\.txt is not UTF-8 at byte 2"),
    ],
)
def test_a_broken_list_is_one_line(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    write(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=says):
        listed(tmp_path, names=name)


@pytest.mark.parametrize("folder", ["Annotations", "Sentences"])
def test_a_missing_folder_is_one_line(tmp_path: Path, folder: str) -> None:
    write(tmp_path)
    (tmp_path / "entities" / folder).rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=f"has no folder {folder}: mend the batch"):
        listed(tmp_path)


BROKEN_XML = [
    "",
    "<annotation>",
    xml_of(box_of("1", "one 2 3 4")),
    xml_of("<name>1</name><bndbox><xmin>1</xmin></bndbox>"),
    xml_of("<name>1</name><bndbox/>"),
    XML.replace("<width>500", "<width>wide"),
    '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
]


@pytest.mark.parametrize("xml", BROKEN_XML)
def test_a_broken_xml_is_a_problem_of_its_image(tmp_path: Path, xml: str) -> None:
    write(tmp_path, "1", xml=xml)
    write(tmp_path, "2")
    broken, whole = listed(tmp_path)
    assert (broken.problem, whole.problem) == ("broken annotation", "")
    assert len(whole.annotations) == 3


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"[/EN#1/people Two men look .", b"x /EN#1/people men] .", b"a" * 100_001],
)
def test_broken_sentences_are_a_problem_of_their_image(tmp_path: Path, content: bytes) -> None:
    write(tmp_path)
    (tmp_path / "entities" / "Sentences" / "1.txt").write_bytes(content)
    assert listed(tmp_path)[0].problem == "broken annotation"


@pytest.mark.parametrize("lost", ["Annotations/1.xml", "Sentences/1.txt"])
def test_a_missing_file_is_a_problem_of_its_image(tmp_path: Path, lost: str) -> None:
    write(tmp_path)
    (tmp_path / "entities" / lost).unlink()
    (tmp_path / "list.txt").write_text("1")
    assert listed(tmp_path, names="list.txt")[0].problem == "missing annotation"


WORDS = st.text("abcxyzÄé-'0.,/#", min_size=1, max_size=6).filter(lambda word: "/EN#" not in word)
PIECES = st.lists(
    st.tuples(st.lists(WORDS, min_size=1, max_size=3), st.none() | st.integers(0, 99)), max_size=8
)


@settings(max_examples=200)
@given(PIECES)
def test_marks_come_off_and_spans_stay_exact(
    pieces: list[tuple[list[str], int | None]],
) -> None:
    """Written with marks, read back: the words and which of them each chain has."""
    texts = [" ".join(words) for words, _ in pieces]
    marked = (
        text if chain is None else f"[/EN#{chain}/people/other {text}]"
        for text, (_, chain) in zip(texts, pieces, strict=True)
    )
    sentence = parse_sentence(" ".join(marked))
    assert sentence.text == " ".join(texts)
    found = [(m.chain, sentence.text[m.start : m.end]) for m in sentence.mentions]
    chains = [chain for _, chain in pieces]
    assert found == [
        (str(chain), text) for text, chain in zip(texts, chains, strict=True) if chain is not None
    ]


@settings(max_examples=100)
@given(st.text("[]/EN#1 a\t", max_size=60))
def test_any_line_is_read_or_refused(line: str) -> None:
    try:
        sentence = parse_sentence(line)
    except ValueError:
        return
    assert all(0 <= m.start < m.end <= len(sentence.text) for m in sentence.mentions)


def test_many_open_marks_take_no_long_time() -> None:
    with pytest.raises(ValueError, match="a broken mark"):
        parse_sentence("[/EN#1/a b " * 8_000)


def test_captions_grounded_in_real_images_come_back(tmp_path: Path, shared_data: Path) -> None:
    """COCO Entities' grounded captions written as Flickr30k Entities, and read again."""
    lines = (shared_data / "coco_entities" / "coco_entities_samples.odvg.jsonl").read_text("utf-8")
    samples = [sample for line in lines.splitlines() if (sample := json.loads(line))["width"]]
    assert len(samples) > 5
    for number, sample in enumerate(samples):
        as_flickr(tmp_path, str(number), sample)
    entries = {entry.key: entry for entry in listed(tmp_path)}
    for number, sample in enumerate(samples):
        agree(entries[f"b-{number}"], sample)


def as_flickr(root: Path, number: str, sample: dict[str, Any]) -> None:
    """Chain n is region n; corners are rounded to pixels, as Flickr's are."""
    caption = sample["grounding"]["caption"]
    regions = sample["grounding"]["regions"]
    for chain, region in reversed(list(enumerate(regions, start=1))):
        ((start, end),) = region["tokens_positive"]
        mark = f"[/EN#{chain}/other {caption[start:end]}]"
        caption = caption[:start] + mark + caption[end:]
    objects = (
        box_of(str(chain), " ".join(str(side) for side in pixels(box)))
        for chain, region in enumerate(regions, start=1)
        for box in region["bbox"]
    )
    xml = xml_of(*objects, size=(sample["width"], sample["height"]))
    write(root, number, caption + "\n", xml)


def pixels(box: list[float]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(side) for side in box)
    return (x0 + 1, y0 + 1, x1, y1)


def agree(entry: Any, sample: dict[str, Any]) -> None:
    width, height = sample["width"], sample["height"]
    facts = ImageFacts("jpg", width, height, 1, "0" * 64, 1, "0" * 16)
    batch = Batch(name="b", split="train", format="folder", root="r", licence="x")
    problems: Counter[str] = Counter()
    record = record_of(entry, facts, problems, source="flickr", batch=batch)
    assert not problems
    assert record.caption == sample["grounding"]["caption"]
    assert len(record.phrases) == len(sample["grounding"]["regions"])
    for phrase, region in zip(record.phrases, sample["grounding"]["regions"], strict=True):
        assert [[phrase.start, phrase.end]] == region["tokens_positive"]
        found = [record.regions[index].box_xyxy for index in phrase.regions]
        expected = [tuple(float(round(side)) for side in box) for box in region["bbox"]]
        assert found == expected


def test_a_list_may_have_suffixes_and_files_a_byte_order_mark(tmp_path: Path) -> None:
    write(tmp_path, sentences="\ufeff" + SENTENCES)
    (tmp_path / "val.txt").write_bytes(b"\xef\xbb\xbf1.jpg\r\n\r\n")
    (entry,) = listed(tmp_path, names="val.txt")
    assert (entry.file, entry.problem) == ("images/1.jpg", "")
    assert entry.caption.startswith("Two young guys")


def test_a_refusal_says_what_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, "1", xml=XML.replace("<width>500", "<width>wide"))
    write(tmp_path, "2", sentences="[/EN#1/people Two men look .")
    first, second = listed(tmp_path)
    assert first.problem_detail.startswith("1.xml: invalid literal")
    assert second.problem_detail.startswith("2.txt: a broken mark in")
