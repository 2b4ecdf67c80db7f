"""Boxes in text: each dialect's own examples, what is refused and why, and any text at all."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.kosmos2.processing_kosmos2 import (
    clean_text_and_extract_entities_with_bboxes,
)

from opendet.annotators.box_answers import (
    ParsedBoxes,
    parse_florence2,
    parse_kosmos2,
    parse_qwen2,
    parse_qwen2_5,
    parse_qwen3,
)

REASONS = {
    *("cut off", "malformed", "no box", "no name", "overlong name", "out of range", "inverted"),
    *("degenerate", "overlong answer"),
}


def parse_qwen2_5_of_a_photo(text: str) -> ParsedBoxes:
    return parse_qwen2_5(text, width=644, height=448)


PARSERS: dict[str, Callable[[str], ParsedBoxes]] = {
    "qwen2": parse_qwen2,
    "qwen2_5": parse_qwen2_5_of_a_photo,
    "qwen3": parse_qwen3,
    "florence2": parse_florence2,
    "kosmos2": parse_kosmos2,
}
CAT = (0.1, 0.2, 0.5, 0.9)


def ref(name: str, *boxes: str) -> str:
    marks = "".join(f"<|box_start|>{box}<|box_end|>" for box in boxes)
    return f"<|object_ref_start|>{name}<|object_ref_end|>{marks}"


def item(box: object, **rest: object) -> str:
    return json.dumps({"bbox_2d": box, **rest})


def spots(*bins: int) -> str:
    return "".join(f"<loc_{number}>" for number in bins)


def test_qwen2_names_and_boxes_in_thousandths() -> None:
    answer = f"There are {ref(' the cat ', '(100,200),(500,900)', '(0,0),(1000,1000)')} here."
    assert parse_qwen2(answer) == ParsedBoxes((("the cat", CAT), ("the cat", (0, 0, 1, 1))), {})


def test_qwen2_5_json_in_pixels_of_what_the_model_was_shown() -> None:
    listed = f"[\n\t{item([64.4, 44.8, 322, 448], label='cat', colour='red')},\n]"
    for answer in (listed, f"```json\n{listed}\n```", f'Here it is, a "cat: {listed}', listed[1:]):
        parsed = parse_qwen2_5(answer, width=644, height=448)
        assert parsed == ParsedBoxes((("cat", pytest.approx((0.1, 0.1, 0.5, 1))),), {})


def test_qwen3_json_in_thousandths() -> None:
    name = 'a {strange} "cat"'
    answer = f"[{item([100, 200, 500, 900], label=name)}]"
    assert parse_qwen3(answer) == ParsedBoxes(((name, CAT),), {})


def test_florence2_takes_the_middle_of_a_bin() -> None:
    answer = f"</s><s>cat{spots(0, 1, 998, 999)}{spots(1, 2, 3, 4)}tall man{spots(5, 6, 7, 8)}</s>"
    cat, other, man = parse_florence2(answer).found
    assert cat == ("cat", pytest.approx((0.0005, 0.0015, 0.9985, 0.9995)))
    assert other[0] == "cat"
    assert man == ("tall man", pytest.approx((0.0055, 0.0065, 0.0075, 0.0085)))
    assert not parse_florence2(answer).refused


@given(st.lists(st.tuples(*[st.integers(0, 31)] * 4), min_size=1, max_size=4))
def test_kosmos2_boxes_are_those_of_the_models_own_reader(
    patches: list[tuple[int, int, int, int]],
) -> None:
    pairs = [
        (min(y0, y1) * 32 + min(x0, x1), max(y0, y1) * 32 + max(x0, x1))
        for x0, y0, x1, y1 in patches
    ]
    marks = [f"<patch_index_{low:04}><patch_index_{high:04}>" for low, high in pairs]
    boxes = "</delimiter_of_multi_objects/>".join(marks)
    answer = f"<grounding> A photo of<phrase> two cats</phrase><object>{boxes}</object>."
    _, [(name, _, expected)] = clean_text_and_extract_entities_with_bboxes(answer)
    parsed = parse_kosmos2(answer)
    assert parsed == ParsedBoxes(tuple((name, box) for box in expected), {})


@pytest.mark.parametrize(
    ("dialect", "answer", "kept", "refused"),
    [
        ("qwen2", ref("cat", "(100,200),(500,900)") + ref("do")[:-9], 1, {"cut off": 1}),
        ("qwen2", ref("cat", "(1,2),(5,9)") + ref("dog", "(1,2),(3,4)")[:-3], 1, {"cut off": 1}),
        ("qwen2", ref("dog") + ref("cat", "(1,2),(5,9)"), 1, {"no box": 1}),
        ("qwen2", "<|box_start|>(1,2),(5,9)<|box_end|>", 0, {"no name": 1}),
        ("qwen2", ref(" ", "(1,2),(5,9)"), 0, {"no name": 1}),
        ("qwen2", ref("cat", "(1,2),(5,1001)", "(1,2),(5,9)"), 1, {"out of range": 1}),
        ("qwen2", ref("cat", "(5,2),(1,9)", "(5,2),(5,9)"), 0, {"inverted": 1, "degenerate": 1}),
        ("qwen2", ref("cat", "1,2,5,9", "(1.5,2),(5,9)", "(-1,2),(5,9)"), 0, {"malformed": 3}),
        ("qwen2", ref("c" * 201, "(1,2),(5,9)"), 0, {"overlong name": 1}),
        ("qwen2", "I see no such thing.", 0, {"no box": 1}),
        ("qwen2_5", "```json\n[]\n```", 0, {}),
        ("qwen2_5", f"[{item([1, 2, 5, 9], label='a')}, {item([1, 2, 645, 9], label='b')}]", 1,
         {"out of range": 1}),
        ("qwen2_5", f"[{item([1, 2, 5, 9], label='a')}, {{\"bbox_2d\": [1, 2", 1, {"cut off": 1}),
        ("qwen2_5", f"[{item([1, 2, 5, 9], label='a')}, {{\"label\": \"d",
         1, {"cut off": 1}),
        ("qwen2_5", f"[{item([1, 2, 5], label='a')}, {item('1 2 5 9', label='b')}]", 0,
         {"malformed": 2}),
        ("qwen2_5", f"[{item([1, 2, 5, '9'], label='a')}, {item([True, 2, 5, 9], label='b')}]", 0,
         {"malformed": 2}),
        ("qwen2_5", f"[{item([1, 2, 5, 9], label=3)}, {{cat}}]", 0, {"malformed": 2}),
        ("qwen2_5", f"[{item([1, 2, 5, 9])}, {json.dumps({'label': 'a'})}]", 0,
         {"no name": 1, "no box": 1}),
        ("qwen2_5", item([float("nan"), 2, 5, 9], label="a"), 0, {"out of range": 1}),
        ("qwen2_5", item([1, 2, float("inf"), 10**400], label="a"), 0, {"out of range": 1}),
        ("qwen3", item([5, 9, 1, 2], label="a"), 0, {"inverted": 1}),
        ("qwen3", item([1, 2, 5, 9], label="<|im_end|>"), 0, {"malformed": 1}),
        ("florence2", f"cat{spots(1, 2, 3, 4, 5)}", 1, {"cut off": 1}),
        ("florence2", f"cat{spots(1, 2, 3, 4)}do", 1, {"cut off": 1}),
        ("florence2", f"cat{spots(1, 2, 3, 4, 5)}dog{spots(1, 2, 3, 4)}", 1, {"malformed": 1}),
        ("florence2", f"{spots(1, 2, 3, 4)}cat{spots(1, 2, 3, 1000)}", 0,
         {"no name": 1, "out of range": 1}),
        ("florence2", f"cat{spots(3, 2, 1, 4)}{spots(3, 2, 3, 4)}", 0,
         {"inverted": 1, "degenerate": 1}),
        ("florence2", f"cat<poly>{spots(1, 2, 3, 4)}", 0, {"malformed": 1}),
        ("florence2", "</s><s></s><pad>", 0, {}),
        ("kosmos2", "<phrase>cat</phrase><object><patch_index_0001><patch_index_0034>", 0,
         {"cut off": 1}),
        ("kosmos2", "<phrase>cat</phrase><object><patch_index_0001><patch_index_0034>"
         "</delimiter_of_multi_objects/><patch_index_00", 1, {"cut off": 1}),
        ("kosmos2", "<object><patch_index_0001><patch_index_0034></object>", 0, {"no name": 1}),
        ("kosmos2", "<phrase>cat</phrase> and <phrase>dog</phrase><object>1 2</object>", 0,
         {"no box": 1, "malformed": 1}),
        ("kosmos2", "<phrase>cat</phrase><object><patch_index_0034><patch_index_0001></object>", 0,
         {"inverted": 1}),
        ("kosmos2", "<phrase>cat</phrase><object><patch_index_0034><patch_index_1024></object>", 0,
         {"out of range": 1}),
        ("kosmos2", "a cat on a mat", 0, {"no box": 1}),
        ("kosmos2", "", 0, {}),
    ],
)  # fmt: skip
def test_what_is_not_to_the_letter_is_counted(
    dialect: str, answer: str, kept: int, refused: dict[str, int]
) -> None:
    parsed = PARSERS[dialect](answer)
    assert len(parsed.found) == kept
    assert parsed.refused == refused


MARKS = [
    *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "(1,2),(3,4)"),
    *("[", "]", "{", "}", '"', "\\", '{"bbox_2d": [1, 2, 3, 4], "label": "cat"}', '"label": "a"'),
    *('"bbox_2d":', "[1, 2, 3, 4]", "[NaN, -1, 1e999, 9]", ",", "```json", "```", "</s>", "<pad>"),
    *("<loc_1>", "<loc_999>", "<loc_1000>", "<loc_1><loc_2><loc_3><loc_4>", "<poly>", "<loc_"),
    *("<phrase>", "</phrase>", "<object>", "</object>", "</delimiter_of_multi_objects/>"),
    *("<patch_index_0001><patch_index_0034>", "<patch_index_1023>", "<grounding>", "cat", " ", "٣"),
]


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@given(st.lists(st.one_of(st.sampled_from(MARKS), st.text(max_size=5)), max_size=30))
def test_any_text_gives_valid_boxes_and_known_reasons(
    parse: Callable[[str], ParsedBoxes], pieces: list[str]
) -> None:
    parsed = parse("".join(pieces))
    for name, (x0, y0, x1, y1) in parsed.found:
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        assert name == " ".join(name.split()) != ""
    assert set(parsed.refused) <= REASONS
    assert min(parsed.refused.values(), default=1) > 0


GOOD = {
    "qwen2": ref("cat", "(100,200),(500,900)", "(1,2),(3,4)") + ref("dog", "(1,2),(5,9)"),
    "qwen2_5": f"[{item([1, 2, 5, 9], label='cat')}, {item([1, 2, 5, 9], label='dog')}]",
    "qwen3": f"[{item([1, 2, 5, 9], label='cat')}, {item([1, 2, 5, 9], label='dog')}]",
    "florence2": f"cat{spots(1, 2, 3, 4, 5, 6, 7, 8)}dog{spots(1, 2, 3, 4)}",
    "kosmos2": "<phrase>cat</phrase><object><patch_index_0001><patch_index_0034></object> and"
    "<phrase> dog</phrase><object><patch_index_0001><patch_index_0034></object>",
}


@pytest.mark.parametrize("dialect", GOOD)
def test_an_answer_cut_anywhere_keeps_what_was_whole(dialect: str) -> None:
    parse, answer = PARSERS[dialect], GOOD[dialect]
    whole = parse(answer)
    assert len(whole.found) > 1
    assert not whole.refused
    counts = []
    for end in range(len(answer)):
        parsed = parse(answer[:end])
        assert parsed.found == whole.found[: len(parsed.found)]
        counts.append(len(parsed.found))
    assert counts == sorted(counts)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize("mark", [*MARKS, '{"a":', '{"', "[[", '{"bbox_2d": [', "<phrase><object>"])
def test_a_long_answer_is_read_in_no_time(parse: Callable[[str], ParsedBoxes], mark: str) -> None:
    before = time.perf_counter()
    parsed = parse(mark * (100_000 // len(mark)))
    assert time.perf_counter() - before < 2
    assert parsed.refused["overlong answer"] == 1
