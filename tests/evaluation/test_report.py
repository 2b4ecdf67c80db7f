"""The page: whole without the network, deaf to hostile text, and true to its inputs."""

import base64
import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opendet.evaluation.config import ReportConfig
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.report import render_report, write_report
from opendet.evaluation.report_examples import planted_errors
from opendet.evaluation.report_gather import gather
from opendet.evaluation.report_inputs import Curve, ReportInputs, StageLedger
from opendet.evaluation.report_pictures import compare, crop_uri, evenly
from opendet.evaluation.report_sections import agreement_histogram, refusals
from opendet.record import Provenance, Record, Region
from opendet.sources.images import decode_upright

HOSTILE = "\"'><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>"


class Tags(HTMLParser):
    """Every tag with its attributes, and the text outside of the style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def inputs(toy_build) -> ReportInputs:  # type: ignore[no-untyped-def]
    return gather(toy_build.folder)


@pytest.fixture(scope="module")
def page(toy_build, inputs) -> str:  # type: ignore[no-untyped-def]
    return render_report(inputs, toy_build.read_image, ReportConfig())


def assert_self_contained(page: str) -> None:
    for tag, attributes in Tags(page).tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "form", "base", "video"}
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href", "xlink:href", "srcset", "poster", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:image/jpeg;base64,", "#")), (tag, value[:60])
    assert not re.search(r"url\(|@import", page)


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert_self_contained(page)
    assert "http://" not in page
    assert "https://" not in page


def test_the_policy_allows_this_style_and_pictures_inside_and_no_more(page: str) -> None:
    policy = next(
        one["content"]
        for tag, one in Tags(page).tags
        if tag == "meta" and one.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"style-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy


def test_hostile_text_stays_text(toy_build, inputs: ReportInputs) -> None:  # type: ignore[no-untyped-def]
    def spoilt(record: Record) -> Record:
        bad = Provenance(HOSTILE, HOSTILE)
        regions = tuple(
            replace(one, label=HOSTILE + str(number), names=(HOSTILE,), rival=HOSTILE)
            for number, one in enumerate(record.regions)
        )
        return replace(record, caption=HOSTILE, caption_from=bad, regions=regions)

    bad = replace(
        inputs,
        build=HOSTILE,
        title=HOSTILE,
        records=tuple(map(spoilt, inputs.records)),
        predictions=tuple(
            replace(one, names=tuple((HOSTILE, HOSTILE) for _ in one.names))
            for one in inputs.predictions
        ),
        ledgers=tuple(
            replace(one, dropped={HOSTILE: 1}, quarantined={HOSTILE: 1}) for one in inputs.ledgers
        ),
        curves=(Curve(HOSTILE, ((0, 1), (1, 2))),),
        metrics={**inputs.metrics, HOSTILE: {HOSTILE: HOSTILE}},
        pool=tuple(replace(one, medoid=replace(one.medoid, name=HOSTILE)) for one in inputs.pool),
        versions={HOSTILE: HOSTILE},
        seconds={HOSTILE: 1.0},
    )
    page = render_report(bad, toy_build.read_image, ReportConfig())
    assert_self_contained(page)
    assert HOSTILE not in page
    assert Tags(page).text.count(HOSTILE) > 20  # It is shown, as text.


def text_of(toy_build, inputs: ReportInputs) -> str:  # type: ignore[no-untyped-def]
    config = ReportConfig(pictures=2, crops=1, prototypes=1)
    return Tags(render_report(inputs, toy_build.read_image, config)).text


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda i: {"metrics": _with(i, agnostic_ap50=0.12345)}, "0.123"),
        (lambda i: {"metrics": _with(i, named_ap50={"trained": 0.98765})}, "0.988"),
        (lambda i: {"metrics": _with(i, names={"exact": 0.4321})}, "43.2%"),
        (lambda i: {"ledgers": _ledgers(i, "source", dropped={"odd": 321})}, "odd 321"),
        (lambda i: {"ledgers": _ledgers(i, "embed", quarantined={"boom": 77})}, "boom 77"),
        (lambda i: {"ledgers": _ledgers(i, "shards", samples_out=4567)}, "4\u202f567"),
        (lambda i: {"ledgers": _tally(i, **{"refused.too_small": 99})}, "99 ("),
        (lambda i: {"ledgers": _tally(i, **{"planted.caught": 1, "planted.judged": 7})}, "14.3%"),
        (lambda i: {"seconds": {"train": 754.0}}, "12 min 34 s"),
        (lambda i: {"versions": {"torch": "99.9"}}, "99.9"),
        (lambda i: {"curves": (Curve("loss", ((0, 3.0), (5, 2.718))),)}, "2.72"),
        (lambda i: {"pool": (i.pool[-1].__class__("fine", 0, 0, 888, i.pool[-1].medoid),)}, "888"),
    ],
)
def test_the_numbers_are_the_inputs(  # type: ignore[no-untyped-def]
    toy_build, inputs: ReportInputs, change: Callable[[ReportInputs], dict[str, object]], shown: str
) -> None:
    assert shown not in text_of(toy_build, inputs)
    changed = replace(inputs, **change(inputs))  # type: ignore[arg-type]
    assert shown in text_of(toy_build, changed)


def _with(inputs: ReportInputs, **judged: object) -> dict[str, object]:
    return {**inputs.metrics, "evaluate": {**inputs.metrics["evaluate"], **judged}}


def _ledgers(inputs: ReportInputs, stage: str, **changes: object) -> tuple[StageLedger, ...]:
    return tuple(
        replace(one, **changes) if one.stage == stage else one  # type: ignore[arg-type]
        for one in inputs.ledgers
    )


def _tally(inputs: ReportInputs, **counts: int) -> tuple[StageLedger, ...]:
    own = next(one.tally for one in inputs.ledgers if one.stage == "filter")
    return _ledgers(inputs, "filter", tally={**own, **counts})


def test_the_same_inputs_give_the_same_page(toy_build, inputs, page: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert render_report(inputs, toy_build.read_image, ReportConfig()) == page
    write_report(tmp_path / "report.html", page)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_an_empty_build_says_what_is_absent(tmp_path: Path) -> None:
    inputs = gather(tmp_path)
    assert inputs.ledgers == inputs.records == inputs.pool == ()

    def read_image(record: Record) -> bytes:
        raise AssertionError("there is no image to read")

    text = Tags(render_report(inputs, read_image, ReportConfig())).text
    for sentence in (
        "the detector has not been evaluated",
        "the detector has not been trained",
        "No stage has left a manifest",
        "no pool of prototypes",
    ):
        assert sentence in text


def test_the_pool_is_drawn_and_judged(toy_build, inputs: ReportInputs, page: str) -> None:  # type: ignore[no-untyped-def]
    """Each fine prototype a dot with its name, each figure a row; without vectors no picture."""
    fine = [one for one in inputs.pool if one.level == "fine"]
    assert page.count("<circle ") == len(fine) > 1
    assert f"All {len(fine)} fine prototypes" in page
    assert f"<title>{fine[0].medoid.name}: " in page
    assert "fine purity" in text_of(toy_build, inputs)
    assert len(inputs.pool_figures) > 5
    bare = text_of(toy_build, replace(inputs, pool=(), pool_vectors={}, pool_figures=()))
    assert "All of it at once" not in bare
    assert "Its health" not in bare


def test_each_missing_part_is_absent_alone(toy_build, inputs: ReportInputs) -> None:  # type: ignore[no-untyped-def]
    empty = ReportInputs("x")
    for name in ("ledgers", "metrics", "records", "predictions", "curves", "pool", "seconds"):
        without = replace(inputs, **{name: getattr(empty, name)})
        assert "Where all this comes from" in text_of(toy_build, without)


def test_gathered_from_the_folder(toy_build, inputs: ReportInputs) -> None:  # type: ignore[no-untyped-def]
    assert inputs.title == "Toy scenes"
    assert inputs.procedural
    assert [one.stage for one in inputs.ledgers[:2]] == ["source", "caption"]
    source = inputs.ledgers[0]
    assert source.dropped == {"exact duplicate": 3}
    assert source.quarantined == {"OSError: image file is truncated": 1}
    assert source.samples_in == source.samples_out + 4
    assert list(inputs.records) == toy_build.records
    assert inputs.seconds == {"prototypes": 3.2, "train": 281.4}
    assert gather(toy_build.folder, seconds={"train": 1.0}).seconds == {"train": 1.0}


def test_a_damaged_manifest_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged") as raised:
        gather(tmp_path)
    assert "\n" not in str(raised.value)


def test_what_the_build_is_said_honestly(toy_build, inputs: ReportInputs) -> None:  # type: ignore[no-untyped-def]
    text = text_of(toy_build, inputs)
    assert "procedural scenes" in text
    assert "captions and descriptions were written by a grammar" in text
    theirs = tuple(replace(one, caption_from=Provenance("source")) for one in inputs.records)
    captioned = text_of(toy_build, replace(inputs, records=theirs))
    assert "The descriptions were written by a grammar" in captioned
    assert "trained on" not in text
    own = {record.key for record in inputs.records if record.split == "val"}
    trained = tuple(
        replace(one, split="train") if one.key in own else one for one in inputs.records
    )
    real = replace(inputs, records=trained, procedural=False)
    assert "judged on images that it was trained on" in text_of(toy_build, real)
    assert "procedural scenes" not in text_of(toy_build, real)


def test_example_crops_are_of_filtered_splits_only(toy_build, inputs: ReportInputs) -> None:  # type: ignore[no-untyped-def]
    found = planted_errors(inputs, toy_build.read_image, ReportConfig(crops=99))
    assert found is not None
    assert len(found.caught_crops) == found.caught
    assert len(found.caught_crops) + len(found.missed_crops) == found.planted
    assert len(found.wrongly_refused_crops) == found.refused - found.caught
    everything = (*found.caught_crops, *found.missed_crops, *found.wrongly_refused_crops)
    assert all(one.key.startswith("toy-train") for one in everything)
    assert sum(refusals(inputs).values()) == sum(
        not one.kept for record in inputs.records for one in record.regions
    )


def test_the_histogram_holds_every_judged_region(inputs: ReportInputs) -> None:
    chart = agreement_histogram(inputs)
    assert chart is not None
    counted = sum(int(bar.title.rsplit(" ", 1)[1]) for bar in chart.bars)
    regions = [r for one in inputs.records if one.split == "train" for r in one.regions]
    assert counted == len(regions)
    assert {bar.series for bar in chart.bars} == {0, 1}


def picture(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "JPEG")
    return file.getvalue()


def test_truth_beside_prediction(inputs: ReportInputs) -> None:
    names = ("red star", "blue ring", "green moon")
    boxes = [(0, 0, 20, 20), (30, 0, 50, 20), (0, 30, 20, 50)]
    regions = tuple(
        Region(box, Provenance("source"), label=name)  # type: ignore[arg-type]
        for box, name in zip(boxes, names, strict=True)
    )
    record = replace(inputs.records[0], width=100, height=50, regions=regions)
    found = ImagePrediction(
        record.key,
        np.array([boxes[1], boxes[0], (80, 30, 100, 50), boxes[2]], np.float64),
        np.array([0.9, 0.8, 0.7, 0.1]),
        (("blue ring",), ("pink cross", "red star"), ("ghost",), ("green moon",)),
    )
    shown = compare(record, found, picture(100, 50), shown_above=0.5, match_iou=0.5)
    assert [(one.mark, one.verdict) for one in shown.lines] == [
        ("1", "wrong"),
        ("2", "right"),
        ("3", "missed"),
        ("a", "extra"),
    ]
    assert shown.lines[0].others == "red star"
    assert [one.mark for one in shown.found_boxes] == ["2", "1", "a"]
    first = shown.true_boxes[1]
    assert (first.x, first.y, first.width, first.height) == (30, 0, 20, 40)


def test_pictures_stand_upright_and_small(inputs: ReportInputs) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # Turned by a quarter.
    Image.new("RGB", (1600, 800)).save(file, "JPEG", exif=exif)
    assert decode_upright(file.getvalue()).size == (800, 1600)
    record = replace(inputs.records[0], width=800, height=1600)
    found = ImagePrediction(record.key, np.zeros((0, 4)), np.zeros(0), ())
    shown = compare(record, found, file.getvalue(), shown_above=0.5, match_iou=0.5)
    assert (shown.width, shown.height) == (320, 640)


@pytest.mark.parametrize("box", [(0, 0, 100, 50), (0, 0, 1, 1), (99, 49, 100, 50)])
def test_crops_of_any_box_are_squares(box: tuple[float, float, float, float]) -> None:
    uri = crop_uri(decode_upright(picture(100, 50)), box)
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    assert decode_upright(content).size == (112, 112)


@pytest.mark.parametrize(("count", "most"), [(0, 5), (3, 5), (5, 5), (100, 6), (7, 1), (4, 0)])
def test_examples_are_spread_evenly(count: int, most: int) -> None:
    places = evenly(count, most)
    assert len(set(places)) == len(places) == min(count, most)
    assert places == sorted(places)
    assert all(0 <= place < count for place in places)
    assert most != 6 or places == [8, 25, 41, 58, 75, 91]
