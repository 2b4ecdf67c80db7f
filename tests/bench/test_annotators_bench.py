"""The annotators' bench runs the stages themselves, here with tiny models on a CPU."""

import math
from dataclasses import replace
from pathlib import Path

from opendet.bench.annotator_world import photographs, tiny
from opendet.bench.annotators import measure, model_calls, speeds
from opendet.bench.harness import Place
from opendet.sources.images import decode_upright

FEW = replace(tiny(), images=4, crop_images=4, plain=2, tokens=4)


def test_it_measures_stages_and_the_plain_loop(tmp_path: Path) -> None:
    told = speeds(FEW, "cpu", tmp_path)
    assert list(told) == ["captions", "regions", "CLIP crops"]
    assert [one["count"] for one in told.values()] == [4, 8, 8]
    for one in told.values():
        assert one["rate"] > 0
        assert 0 < one["waits"] < 1  # the models are called, and something else is done too
    assert [kind for kind, one in told.items() if "plain" in one] == ["captions", "regions"]
    assert list(tmp_path.iterdir()) == []  # the models are gone


def test_a_cpu_s_numbers_have_no_goals(tmp_path: Path) -> None:
    rows = list(measure(Place(tmp_path)))
    assert len(rows) == 8
    assert all(row.holds is None for row in rows)
    assert all(math.isfinite(float(row.value)) for row in rows)


def test_calls_are_timed_within_the_block_only() -> None:
    from transformers import LlavaForConditionalGeneration

    before = LlavaForConditionalGeneration.generate
    with model_calls("cpu") as seconds:
        assert LlavaForConditionalGeneration.generate is not before
    assert LlavaForConditionalGeneration.generate is before
    assert seconds == []


def test_its_photographs_decode() -> None:
    [first, second] = photographs(2, FEW)
    assert decode_upright(first.content).size == FEW.size_wh
    assert first.content != second.content
    assert len(first.record.regions) == FEW.regions
