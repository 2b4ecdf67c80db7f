"""The lint finds each planted defect at its place, and nothing else."""

import copy
import json
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opendet.inspect.lint import (
    LintConfig,
    LintReport,
    lint_image,
    lint_lines,
    lint_shards,
)
from opendet.inspect.lint_kinds import KINDS, Severity
from opendet.inspect.lint_line import view_of_line
from opendet.inspect.lint_tokens import most_tokens, token_rule
from opendet.inspect.lint_view import view_of_record
from opendet.record import Phrase, Provenance, Record, Region, Turn

Line = dict[str, Any]
EVERY = 10**9
BERT = "tokenizers/bert_base_uncased/streaming/text/convert/enwiki/mds/vocab.txt"


def grounded(number: int = 0) -> Line:
    """A line of GroundingCap with nothing wrong."""
    caption = "A brown dog chases the red ball near some wooden boxes."
    boxes = {
        "a brown dog": [[10.5, 20, 110, 90]],
        "the red ball": [[200, 200, 260, 262]],
        "some wooden boxes": [[300, 10, 360, 60], [380, 10, 640, 60.5]],
    }
    regions = [
        {"bbox": box, "phrase": phrase, "tokens_positive": [span_of(caption, phrase)]}
        for phrase, box in boxes.items()
    ]
    return {
        "filename": f"{number:09}.jpg",
        "height": 480,
        "width": 640,
        "grounding": {"caption": caption, "regions": regions},
        "conversations": [
            {"from": "human", "value": "<image>\nDescribe the image."},
            {"from": "gpt", "value": "A dog runs. Its ball is ahead."},
        ],
        "tags": ["dog", "ball"],
        "a key of somebody's own": [1, None],
    }


def spanless(number: int = 0) -> Line:
    """A line of Open-GroundingDino's dialect with nothing wrong."""
    line = grounded(number)
    del line["tags"], line["conversations"]
    for region in line["grounding"]["regions"]:
        del region["tokens_positive"]
        region["bbox"] = region["bbox"][0]
    return line


def detected(number: int = 0) -> Line:
    """A line of pure detection with nothing wrong."""
    boxes = [[10, 10, 50, 50], [60, 10, 90, 50], [100, 10, 150, 50]]
    instances = [{"bbox": box, "label": 3, "category": "dog"} for box in boxes]
    size = {"height": 480, "width": 640}
    return {"filename": f"{number:09}.jpg", **size, "detection": {"instances": instances}}


def span_of(caption: str, phrase: str) -> list[int]:
    start = caption.lower().index(phrase.lower())
    return [start, start + len(phrase)]


def region(line: Line, number: int = 1) -> Line:
    found: Line = line["grounding"]["regions"][number]
    return found


# --- corruptions: each edits a clean line, whatever its words are


def set_box(*box: object) -> Callable[[Line], None]:
    return lambda line: region(line).update(bbox=[list(box)])


def set_span(*spans: object) -> Callable[[Line], None]:
    return lambda line: region(line).update(tokens_positive=list(spans))


def set_(name: str, value: object) -> Callable[[Line], None]:
    return lambda line: line.update({name: value})


def without(name: str) -> Callable[[Line], None]:
    return lambda line: line.pop(name)


def set_turns(*turns: tuple[str, str]) -> Callable[[Line], None]:
    said = [{"from": speaker, "value": text} for speaker, text in turns]
    return set_("conversations", said)


def rename(name: str) -> Callable[[Line], None]:
    """Another name at the caption's end, so that no other span moves."""

    def corrupt(line: Line) -> None:
        grounding = line["grounding"]
        start = len(grounding["caption"]) + 1
        grounding["caption"] += f" {name} "
        region(line).update(phrase=name, tokens_positive=[[start, start + len(name)]])

    return corrupt


def add_to_caption(text: str) -> Callable[[Line], None]:
    def corrupt(line: Line) -> None:
        line["grounding"]["caption"] += text

    return corrupt


def lead_caption(text: str) -> Callable[[Line], None]:
    """The caption begins with more, and the spans know it."""

    def corrupt(line: Line) -> None:
        line["grounding"]["caption"] = text + line["grounding"]["caption"]
        for one in line["grounding"]["regions"]:
            one["tokens_positive"] = [
                [start + len(text), end + len(text)] for start, end in one["tokens_positive"]
            ]

    return corrupt


def shrink_span(line: Line) -> None:
    region(line)["tokens_positive"][0][1] -= 1


def widen_span(line: Line) -> None:
    region(line)["tokens_positive"][0][1] += 1


def overlap(line: Line) -> None:
    """A fourth phrase inside the second one's span."""
    start, end = region(line)["tokens_positive"][0]
    inner = line["grounding"]["caption"][start + 1 : end]
    box = [[500, 300, 530, 330]]
    line["grounding"]["regions"].append(
        {"bbox": box, "phrase": inner, "tokens_positive": [[start + 1, end]]}
    )


def double_box(line: Line) -> None:
    x0, y0, x1, y1 = region(line)["bbox"][0]
    region(line)["bbox"].append([x0 + (x1 - x0) / 100, y0, x1, y1])


def mention_again(line: Line) -> None:
    phrase, caption = region(line)["phrase"], line["grounding"]["caption"]
    line["grounding"]["caption"] += f" {phrase}"
    start = len(caption) + 1
    again = {**region(line), "tokens_positive": [[start, start + len(phrase)]]}
    line["grounding"]["regions"].append(again)


def too_few(line: Line) -> None:
    region(line, 2)["bbox"] = region(line, 2)["bbox"][:1]
    del line["grounding"]["regions"][0]


def many_texts(line: Line) -> None:
    region(line).update(phrase=["the", "red", "ball"], tokens_positive=[[19, 22], [23, 26]])


Corruption = tuple[str, str, Callable[[Line], None]]
NAN, INF = float("nan"), float("inf")
ANYWHERE: list[Corruption] = [
    ("box.malformed", "region 1, box 0", set_box(1, 2, 3)),
    ("box.malformed", "region 1, box 0", set_box(1, 2, 30, "40")),
    ("box.malformed", "region 1, box 0", set_box(1, 2, 30, True)),
    ("box.malformed", "region 1, box 0", set_box(1, 2, 30, None)),
    ("box.malformed", "region 1, box 0", lambda line: region(line).update(bbox="1 2 30 40")),
    ("box.not_finite", "region 1, box 0", set_box(1, NAN, 30, 40)),
    ("box.not_finite", "region 1, box 0", set_box(1, 2, INF, 40)),
    ("box.not_finite", "region 1, box 0", set_box(1, 2, 10**400, 40)),
    ("box.inverted", "region 1, box 0", set_box(300, 200, 260, 262)),
    ("box.inverted", "region 1, box 0", set_box(200, 270, 260, 262)),
    ("box.tiny", "region 1, box 0", set_box(200, 200, 200.9, 262)),
    ("box.tiny", "region 1, box 0", set_box(200, 200, 260, 200)),
    ("box.thin", "region 1, box 0", set_box(200, 200, 201, 262)),
    ("box.outside", "region 1, box 0", set_box(-90, 20, -10, 60)),
    ("box.outside", "region 1, box 0", set_box(640, 20, 660, 60)),
    ("box.overhang", "region 1, box 0", set_box(200, 400, 260, 481.5)),
    ("box.edge", "region 1, box 0", set_box(-0.5, 200, 40, 262)),
    ("box.whole_image", "region 1, box 0", set_box(0, 0, 640, 470)),
    ("box.duplicate", "region 1, box 1", double_box),
    ("box.mentioned_again", "region 3, box 0", mention_again),
    ("region.boxless", "region 1", lambda line: region(line).update(bbox=[])),
    ("region.boxless", "region 1", lambda line: region(line).pop("bbox")),
    ("region.phraseless", "region 1", lambda line: region(line).pop("phrase")),
    ("region.phraseless", "region 1", lambda line: region(line).update(phrase=[])),
    ("region.malformed", "region 1", lambda line: region(line).update(phrase=7)),
    ("region.malformed", "region 1", lambda line: region(line).update(phrase=["a", None])),
    ("image.few_boxes", "", too_few),
    ("span.malformed", "region 1", set_span(3, 9)),
    ("span.malformed", "region 1", set_span([3, 9.5])),
    ("span.malformed", "region 1", set_span([3, True])),
    ("span.missing", "region 1", set_span()),
    ("span.missing", "region 1", lambda line: region(line).pop("tokens_positive")),
    ("span.empty", "region 1", set_span([19, 19])),
    ("span.empty", "region 1", set_span([31, 19])),
    ("span.outside", "region 1", set_span([19, 10_000])),
    ("span.outside", "region 1", set_span([-3, 5])),
    ("span.mismatch", "region 1", shrink_span),
    ("span.mismatch", "region 1", widen_span),
    ("span.overlap", "region 3", overlap),
    ("caption.missing", "", lambda line: line["grounding"].pop("caption")),
    ("caption.missing", "", lambda line: line["grounding"].update(caption=["a dog"])),
    ("caption.too_long", "caption", add_to_caption(" and so on" * 1000)),
    ("caption.unclean", "caption", add_to_caption(" <b>")),
    ("caption.unclean", "caption", add_to_caption(" \u202e")),
    ("caption.unclean", "caption", add_to_caption(" <image>")),
    ("text.speculative", "caption", add_to_caption(" It appears to be a park.")),
    (
        "text.speculative",
        "turn 1",
        set_turns(("human", "<image>"), ("gpt", "A dog, possibly a beagle.")),
    ),
    ("name.empty", "region 1", lambda line: region(line).update(phrase=" ")),
    ("name.empty", "region 1", lambda line: region(line).update(phrase=[""])),
    ("name.too_long", "region 1", rename("very " * 20 + "long")),
    ("name.no_noun", "region 1", rename("the")),
    ("name.no_noun", "region 1", rename("two")),
    ("name.no_noun", "region 1", rename("the 12")),
    ("name.no_noun", "region 1", rename("--")),
    ("name.placeholder", "region 1", rename("unknown")),
    ("name.control", "tag 1", set_("tags", ["dog", "ba\x00ll"])),
    ("name.markup", "tag 1", set_("tags", ["dog", "<br/>ball"])),
    ("name.markup", "tag 1", set_("tags", ["dog", "salt &amp; pepper"])),
    ("name.placeholder", "tag 1", set_("tags", ["dog", "<image>"])),
    ("name.placeholder", "tag 1", set_("tags", ["dog", "[UNK]"])),
    ("name.empty", "tag 0", set_("tags", [""])),
    ("tags.empty", "", set_("tags", [])),
    ("tags.empty", "", set_("tags", None)),
    ("tags.malformed", "", set_("tags", "dog")),
    ("tags.malformed", "", set_("tags", ["dog", 1])),
    ("conversation.malformed", "", set_("conversations", "hello")),
    ("conversation.malformed", "", set_("conversations", [{"from": "human"}])),
    ("conversation.turns", "", set_("conversations", [])),
    ("conversation.turns", "", set_turns(("human", "<image> What?"))),
    ("conversation.turns", "", set_turns(("gpt", "A dog."), ("human", "<image> What?"))),
    (
        "conversation.turns",
        "",
        set_turns(("human", "<image> What?"), ("gpt", "A dog."), ("gpt", "A ball.")),
    ),
    ("conversation.image", "", set_turns(("human", "What?"), ("gpt", "A dog."))),
    ("conversation.image", "", set_turns(("human", "<image> <image> What?"), ("gpt", "A dog."))),
    ("conversation.image", "", set_turns(("human", "What?"), ("gpt", "<image> A dog."))),
    (
        "conversation.image",
        "",
        set_turns(("human", "<image>"), ("gpt", "A dog."), ("human", "<image>"), ("gpt", "Two.")),
    ),
    ("conversation.empty_turn", "turn 1", set_turns(("human", "<image> What?"), ("gpt", " "))),
    ("filename.missing", "", without("filename")),
    ("filename.missing", "", set_("filename", "")),
    ("filename.null", "", set_("filename", None)),
    ("filename.unusable", "", set_("filename", "../a.jpg")),
    ("filename.unusable", "", set_("filename", "/a.jpg")),
    ("filename.unusable", "", set_("filename", "a\nb.jpg")),
    ("filename.unusable", "", set_("filename", "x" * 256)),
    ("filename.unusable", "", set_("filename", "./")),
    ("size.missing", "width", without("width")),
    ("size.null", "height", set_("height", None)),
    ("size.invalid", "height", set_("height", 0)),
    ("size.invalid", "width", set_("width", "640")),
    ("size.invalid", "width", set_("width", 640.5)),
    ("size.invalid", "width", set_("width", 1e20)),
    ("annotation.missing", "", without("grounding")),
    ("annotation.missing", "", set_("grounding", None)),
    ("annotation.malformed", "detection", set_("detection", [])),
    ("annotation.malformed", "region 3", lambda line: line["grounding"]["regions"].append(1)),
]
"""Kind, part, and how to make it: of any line whose second region has one box."""

HERE: list[Corruption] = [
    ("span.count", "region 1", many_texts),
    ("phrase.not_in_caption", "region 1", lambda line: region(line).update(phrase="a cat")),
    ("phrase.not_in_caption", "region 1", lambda line: region(line).update(phrase="ear")),
    ("phrase.not_in_caption", "region 1", lambda line: region(line).update(phrase="the red bal")),
    ("phrase.not_in_caption", "region 1", lambda line: region(line).update(phrase="the red  ball")),
]


def linted(path: Path, lines: list[Line | str | bytes], config: LintConfig | None = None) -> set:
    path.write_bytes(b"".join(raw_of(line) + b"\n" for line in lines))
    return places(lint_lines(path, config or LintConfig(), LintReport(EVERY)))


def raw_of(line: Line | str | bytes) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line)).encode()


def places(report: LintReport) -> set[tuple[str, int | None, str]]:
    found = [
        (kind, place.line, finding.part)
        for kind, ones in report.places.items()
        for place, finding in ones
    ]
    assert len(found) == len(set(found)) == sum(report.counts.values())
    return set(found)


def test_clean_lines_have_no_finding(tmp_path: Path) -> None:
    assert linted(tmp_path / "a.jsonl", [grounded(0), spanless(1), detected(2)]) == set()


def test_each_planted_defect_is_found_at_its_place_and_nothing_else(tmp_path: Path) -> None:
    """One file holds them all; between two of them stands a clean line."""
    lines: list[Line | str | bytes] = []
    planted = set()
    for kind, part, corrupt in ANYWHERE + HERE:
        line = (spanless if kind == "phrase.not_in_caption" else grounded)(len(lines))
        corrupt(line)
        lines += [line, grounded(len(lines) + 1)]
        planted.add((kind, len(lines) - 1, part))
    for kind, raw in (
        ("line.not_json", "{"),
        ("line.not_json", "[" * 100_000),
        ("line.not_json", '{"width": ' + "9" * 5000 + "}"),
        ("line.not_json", "\ufeff{}"),
        ("line.not_object", "[1]"),
        ("line.not_object", "null"),
        ("line.blank", ""),
        ("line.not_utf8", b'{"filename": "\xff"}'),
    ):
        lines += [raw, grounded(len(lines) + 1)]
        planted.add((kind, len(lines) - 1, ""))
    lines.append({**grounded(1), "tags": ["dog"]})
    planted.add(("line.repeated", len(lines), ""))
    lines.append(add_words(grounded(1)))
    planted.add(("image.repeated", len(lines), ""))
    lines.append({**grounded(1), "filename": "./000000001.jpg", "tags": ["ball"]})
    planted.add(("line.repeated", len(lines), ""))
    assert linted(tmp_path / "a.jsonl", lines) == planted
    assert len({kind for kind, _, _ in planted}) > 40


def test_a_line_that_strict_readers_refuse_is_seen_all_the_same(tmp_path: Path) -> None:
    half, deep = {**grounded(1), "tags": ["do\ud800g"]}, grounded(2)
    deep["a key of somebody's own"] = json.loads("[" * 300 + "]" * 300)
    assert linted(tmp_path / "a.jsonl", [half, deep]) == {
        ("line.refused", 1, ""),
        ("name.control", 1, "tag 0"),
        ("line.refused", 2, ""),
    }


def add_words(line: Line) -> Line:
    add_to_caption(" It runs.")(line)
    return line


@pytest.mark.parametrize("lead", ["\t", "  ", "İn İzmir "])
def test_a_caption_that_moves_under_its_spans(tmp_path: Path, lead: str) -> None:
    line = grounded()
    lead_caption(lead)(line)
    found = linted(tmp_path / "a.jsonl", [line])
    shifted = {("span.shifted", 1, f"region {number}") for number in range(3)}
    assert found - {("caption.unclean", 1, "caption")} == shifted  # a tab is a control character
    late = add_words(grounded())
    add_to_caption(" İn İzmir.  ")(late)
    assert linted(tmp_path / "a.jsonl", [late]) == set(), "what comes after the spans moves none"


def test_an_empty_caption(tmp_path: Path) -> None:
    line = grounded()
    line["grounding"].update(caption=" ", regions=[])
    found = linted(tmp_path / "a.jsonl", [line])
    assert found == {("caption.empty", 1, "caption"), ("image.few_boxes", 1, "")}


def test_detection_instances(tmp_path: Path) -> None:
    nameless, numbered, odd, doubled, broken = (detected(number) for number in range(5))
    del nameless["detection"]["instances"][0]["category"]
    del nameless["detection"]["instances"][0]["label"]
    del numbered["detection"]["instances"][0]["category"]
    odd["detection"]["instances"][0].update(category=["dog"], bbox=None)
    doubled["detection"]["instances"].append(dict(doubled["detection"]["instances"][0]))
    broken["detection"]["instances"] = {}
    half = detected(5)
    half["detection"]["instances"][0]["label"] = 1.5
    assert linted(tmp_path / "a.jsonl", [nameless, numbered, odd, doubled, broken, half]) == {
        ("region.phraseless", 1, "instance 0"),
        ("region.label_alone", 2, "instance 0"),
        ("region.malformed", 6, "instance 0"),
        ("region.malformed", 3, "instance 0"),
        ("region.boxless", 3, "instance 0"),
        ("image.few_boxes", 3, ""),
        ("box.duplicate", 4, "instance 3"),
        ("annotation.malformed", 5, "instances"),
        ("image.few_boxes", 5, ""),
    }


def test_a_phrase_in_several_pieces_is_no_defect(tmp_path: Path) -> None:
    line = grounded()
    joined, pieces = copy.deepcopy(line), copy.deepcopy(line)
    region(joined).update(phrase="the ball", tokens_positive=[[19, 22], [27, 31]])
    region(pieces).update(phrase=["the red", "ball"], tokens_positive=[[19, 26], [27, 31]])
    joined["filename"], pieces["filename"] = "1.jpg", "2.jpg"
    assert linted(tmp_path / "a.jsonl", [joined, pieces]) == set()


def test_one_phrase_with_a_region_for_each_box_is_no_defect(tmp_path: Path) -> None:
    line = grounded()
    other = {**region(line), "bbox": [[400, 300, 450, 350]]}
    line["grounding"]["regions"].append(other)
    assert linted(tmp_path / "a.jsonl", [line]) == set()


def test_each_double_is_told_once(tmp_path: Path) -> None:
    """Of a thousand equal boxes, all but the first; nearly equal ones in any order too."""
    line = grounded()
    region(line)["bbox"] = [[200, 200, 260, 262]] * 1000
    found = linted(tmp_path / "a.jsonl", [line])
    assert found == {("box.duplicate", 1, f"region 1, box {n}") for n in range(1, 1000)}
    region(line)["bbox"] = [[202, 200, 260, 262], [200, 200, 260, 262], [204, 200, 260, 262]]
    found = linted(tmp_path / "a.jsonl", [line])
    assert found == {("box.duplicate", 1, f"region 1, box {n}") for n in (1, 2)}


def test_an_iou_of_0_9_is_no_double(tmp_path: Path) -> None:
    for right, doubles in ((290, set()), (291, {("box.duplicate", 1, "region 1, box 1")})):
        line = grounded()
        region(line)["bbox"] = [[200, 200, 300, 262], [200, 200, right, 262]]
        assert linted(tmp_path / "a.jsonl", [line]) == doubles


def test_an_empty_file(tmp_path: Path) -> None:
    assert linted(tmp_path / "a.jsonl", []) == {("file.empty", None, "")}


def test_an_endless_line_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opendet.inspect.lint.MAX_LINE_BYTES", 2000)
    endless = b" " * 4005
    found = linted(tmp_path / "a.jsonl", [endless, grounded(), endless])
    assert found == {("line.too_long", 1, ""), ("line.too_long", 3, "")}


def test_the_real_sample_has_no_error(shared_data: Path) -> None:
    path = shared_data / "coco_entities" / "coco_entities_samples.odvg.jsonl"
    config = LintConfig(vocabulary=shared_data / BERT)
    report = lint_lines(path, config, LintReport(EVERY))
    assert report.images == 17
    assert report.count(Severity.ERROR) == 0, report.kinds
    assert report.counts == {
        "image.repeated": 8,
        "filename.null": 5,
        "size.null": 10,
        "box.mentioned_again": 2,
    }


# --- tokens


def long_line(words: int) -> Line:
    """Its phrases are the last words of a caption of so many more; each word is one token."""
    line = grounded()
    lead_caption("and " * words)(line)
    return line


@pytest.mark.parametrize(
    ("budget", "lost"),
    [(18, set()), (17, {2}), (14, {2}), (13, {1, 2}), (10, {1, 2}), (9, {0, 1, 2})],
)
def test_spans_past_the_budget_are_counted(
    tmp_path: Path, shared_data: Path, budget: int, lost: set[int]
) -> None:
    """After [CLS] and five `and`, `dog` is token 8, `ball` 12 and `boxes` 16; [SEP] is the last."""
    config = LintConfig(budget, shared_data / BERT)
    found = linted(tmp_path / "a.jsonl", [long_line(5)], config)
    assert found == {("tokens.span_lost", 1, f"region {number}") for number in lost}


def test_the_first_lost_token_may_be_one_character(tmp_path: Path, shared_data: Path) -> None:
    """`.` is token 12 of 13: [SEP] takes its place where the budget is 13."""
    line = grounded()
    region(line, 2).update(phrase=".", tokens_positive=[[54, 55]])
    for budget, kinds in ((14, set()), (13, {"tokens.span_lost"})):
        found = linted(tmp_path / "a.jsonl", [line], LintConfig(budget, shared_data / BERT))
        assert {kind for kind, _, _ in found} == {"name.no_noun"} | kinds


@pytest.mark.parametrize(("budget", "risked"), [(27, {2}), (26, {1, 2})])
def test_without_a_vocabulary_what_may_be_lost_is_warned_of(
    tmp_path: Path, budget: int, risked: set[int]
) -> None:
    """Up to `ball` there are 25 letters, and [CLS] and [SEP]."""
    found = linted(tmp_path / "a.jsonl", [grounded()], LintConfig(budget))
    assert found == {("tokens.span_at_risk", 1, f"region {number}") for number in risked}
    assert KINDS["tokens.span_at_risk"][0] is Severity.WARNING
    assert KINDS["tokens.span_lost"][0] is Severity.ERROR


@given(text=st.text(max_size=80))
@example(text="한국")  # each of its letters is a token
def test_the_bound_never_misses(shared_data: Path, text: str) -> None:
    from tokenizers import BertWordPieceTokenizer

    loaded = text.lower().strip()
    tokenizer = BertWordPieceTokenizer(str(shared_data / BERT), lowercase=True)
    assert most_tokens(loaded) >= len(tokenizer.encode(loaded, add_special_tokens=False).ids)


@given(
    caption=st.text(min_size=1, max_size=60),
    ends=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    budget=st.integers(3, 20),
)
def test_a_span_that_is_lost_is_at_risk(
    shared_data: Path, caption: str, ends: tuple[int, int], budget: int
) -> None:
    spans = [sorted(ends)]
    regions = [{"bbox": [0, 0, 9, 9], "phrase": "x", "tokens_positive": spans}]
    view, _ = view_of_line(raw_of({"grounding": {"caption": caption, "regions": regions}}))
    assert view is not None
    if list(token_rule(budget, shared_data / BERT)(view)):
        assert list(token_rule(budget, None)(view))


def test_a_file_that_is_no_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    for content, said in ((b"dog\ncat\n", "lacks [CLS], [SEP], [UNK]"), (b"\xff", "utf-8")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no WordPiece vocabulary") as error:
            token_rule(256, path)
        assert said in str(error.value)
        assert "\n" not in str(error.value)


# --- properties

NOUNS = st.sampled_from(("dog", "ball", "Zebra", "café", "traffic light", "犬", "T-shirt", "ox"))
LEADS = st.sampled_from(("a", "the red", "Some big", "five", "this very old"))
FILL = st.sampled_from((" near ", " and ", ", ", " . ", " looks at "))


@st.composite
def clean_lines(draw: st.DrawFn) -> Line:
    """Three to five phrases, each at its own span, with boxes in cells of their own."""
    count = draw(st.integers(3, 5))
    caption, regions = draw(st.sampled_from(("", "Here is ", "Σ: "))), []
    width, height = draw(st.integers(300, 2000)), draw(st.integers(100, 2000))
    for number in range(count):
        # the number keeps one phrase's words out of another's
        phrase = f"{draw(LEADS)} {draw(NOUNS)} {string.ascii_lowercase[number]}"
        start = len(caption)
        caption += phrase + draw(FILL)
        left = draw(st.floats(0, 0.4))
        x0, x1 = (number + left) * width / count, (number + draw(st.floats(0.6, 1))) * width / count
        y0, y1 = draw(st.floats(0, 0.4)) * height, draw(st.floats(0.6, 1)) * height
        shown = draw(st.sampled_from((phrase, phrase.lower())))
        span = [start, start + len(phrase)]
        box = [x0, y0, min(x1, width), y1]
        regions.append({"bbox": [box], "phrase": shown, "tokens_positive": [span]})
    line = grounded(draw(st.integers(0, 99)))
    line.update(width=width, height=height, grounding={"caption": caption, "regions": regions})
    return line


def kinds_of(line: Line) -> set[str]:
    view, unfit = view_of_line(raw_of(line))
    found = [*unfit, *(lint_image(view) if view else ())]
    assert all(finding.kind in KINDS and finding.says.endswith(".") for finding in found)
    return {finding.kind for finding in found}


@given(line=clean_lines())
def test_a_random_clean_line_has_no_finding(line: Line) -> None:
    assert kinds_of(line) == set()


@given(line=clean_lines(), corruption=st.sampled_from(ANYWHERE))
def test_a_single_corruption_of_it_is_found(line: Line, corruption: Corruption) -> None:
    kind, _, corrupt = corruption
    line["grounding"]["regions"] = line["grounding"]["regions"][:3]
    if kind in ("box.thin", "box.overhang", "box.whole_image", "box.outside", "box.edge"):
        line.update(width=640, height=480)
    if kind == "image.few_boxes":
        line["grounding"]["regions"][:1] = []
    else:
        corrupt(line)
    assert kind in kinds_of(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(line=clean_lines(), value=JSON, data=st.data())
def test_nothing_in_a_line_ends_the_lint(line: Line, value: object, data: st.DataObject) -> None:
    """Any value of JSON at any place of a line is looked at."""
    holder: Any = line
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
        if not holder[key] or not isinstance(holder[key], dict | list) or data.draw(st.booleans()):
            holder[key] = value
            break
        holder = holder[key]
    kinds_of(line)


# --- records

SAID = Provenance("test")


def record() -> Record:
    """A record with nothing wrong, one refused region and one crowd that are nobody's business."""
    boxes = ((10.0, 20.0, 110.0, 90.0), (200.0, 200.0, 260.0, 262.0), (300.0, 10.0, 360.0, 60.0))
    regions = [Region(box, SAID, label="dog", names=("brown dog",)) for box in boxes]
    regions.append(Region((0, 0, 0.1, 0.1), SAID, names=("<image>",), refusal="too small"))
    regions.append(Region((0, 0, 640, 480), SAID, crowd=True))
    return Record(
        key="train-1",
        source="s",
        batch="train",
        split="train",
        licence="MIT",
        file="a.jpg",
        format="jpg",
        bytes=3,
        sha256="0" * 64,
        width=640,
        height=480,
        caption="a dog and a ball",
        phrases=(Phrase(0, 5, (0, 1), SAID), Phrase(10, 16, (), SAID)),
        regions=tuple(regions),
        tags=("dog",),
        conversation=(Turn("human", "<image> What?"), Turn("gpt", "A dog.")),
    )


def record_findings(record: Record) -> set[tuple[str, str]]:
    view, unfit = view_of_record(record)
    return {(finding.kind, finding.part) for finding in [*unfit, *lint_image(view)]}


def with_region(**changes: Any) -> Record:
    regions = list(record().regions)
    regions[1] = replace(regions[1], **changes)
    return replace(record(), regions=tuple(regions))


def test_a_clean_record_has_no_finding() -> None:
    assert record_findings(record()) == set()
    assert record_findings(replace(record(), caption="", phrases=(), conversation=())) == set()


@pytest.mark.parametrize(
    ("broken", "kind", "part"),
    [
        (with_region(box_xyxy=(200.0, 200.0, 200.5, 262.0)), "box.tiny", "region 1"),
        (with_region(box_xyxy=(200.0, 200.0, 900.0, 262.0)), "box.overhang", "region 1"),
        (with_region(box_xyxy=(10.0, 20.0, 110.0, 91.0)), "box.duplicate", "region 1"),
        (with_region(names=("a",)), "name.no_noun", "region 1"),
        (with_region(names=("dog", "<object>")), "name.placeholder", "region 1"),
        (with_region(names=(), label=None), "region.phraseless", "region 1"),
        (with_region(names=(), label="<br>"), "name.markup", "region 1"),
        (with_region(crowd=True), "image.few_boxes", ""),
        (replace(record(), phrases=(Phrase(10, 17, (0,), SAID),)), "span.outside", "phrase 0"),
        (
            replace(record(), phrases=(Phrase(0, 5, (9,), SAID),)),
            "phrase.unknown_region",
            "phrase 0",
        ),
        (replace(record(), caption=" dog and a ball"), "span.shifted", "phrase 0"),
        (replace(record(), tags=(" ",)), "name.empty", "tag 0"),
        (replace(record(), conversation=(Turn("gpt", "<image>"),)), "conversation.turns", ""),
    ],
)
def test_records_share_the_rules(broken: Record, kind: str, part: str) -> None:
    assert (kind, part) in record_findings(broken)


def test_the_shards_of_a_build(finished: Path) -> None:
    """Every record is read; its pictures have one box that is large enough."""
    folder = finished / "datasets" / "tiny" / "shards"
    report = lint_shards(folder, LintConfig(), LintReport(EVERY))
    assert report.images == 6
    assert report.counts["image.few_boxes"] == 6
    place, _ = report.places["image.few_boxes"][0]
    assert place.key == str(place) == "train-p0"
    assert report.count(Severity.ERROR) == 0, report.places


def test_a_name_that_was_refused_is_nobodys_business() -> None:
    """Its box is learned from all the same."""
    assert record_findings(with_region(names=("<br>",), refusal="disagrees")) == set()
    tiny = with_region(box_xyxy=(1.0, 1.0, 1.5, 9.0), refusal="disagrees")
    assert record_findings(tiny) == {("box.tiny", "region 1")}


def test_shards_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"manifest.json is missing"):
        lint_shards(tmp_path, LintConfig(), LintReport())
