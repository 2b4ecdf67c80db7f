"""The stage on toy detectors whose result is known."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.evaluate import Evaluation, evaluate
from opendet.evaluation.predictions import read_predictions, write_predictions
from opendet.evaluation.tiers import count_names, tiers_by_count, truth_labels
from opendet.record import Provenance, Record, Region

SOURCE = Provenance("source")
LABELS = ["red star", "blue ring", "green moon", "pink bolt"]
TIERS = dict(zip(LABELS, ["frequent", "common", "rare", "unseen"], strict=True))


def region(label: str | None, box_xyxy: tuple[float, ...], **more: Any) -> Region:
    return Region(box_xyxy, SOURCE, label=label, **more)  # type: ignore[arg-type]


def scene(number: int, *regions: Region) -> Record:
    return Record(
        key=f"toy-{number:03d}",
        source="toy",
        batch="toy",
        split="val",
        licence="CC0-1.0",
        file=f"{number}.png",
        format="png",
        bytes=1,
        sha256="0" * 64,
        width=100,
        height=100,
        regions=regions,
    )


def scenes() -> list[Record]:
    """Two objects in each of eight images, every label four times; an image without any."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(8):
        left, right = rng.integers(1, 20, 2).tolist()
        found.append(
            scene(
                number,
                region(LABELS[number % 4], (left, 10, left + 25, 60)),
                region(LABELS[(number + 1) % 4], (50 + right, 30, 75 + right, 90)),
            )
        )
    return [*found, scene(8)]


@dataclass(frozen=True)
class Found:
    boxes_xyxy: torch.Tensor
    scores: torch.Tensor
    names: list[list[str]]
    prompts: np.ndarray | None = None
    masks: list[str | None] | None = None


Change = Callable[[list[Region]], list[tuple[Any, float, list[str]]]]


def detector(records: Sequence[Record], say: Change) -> Callable[[Sequence[Any]], list[Found]]:
    """Finds in the n-th image that it is shown whatever `say` makes of the n-th record."""
    regions: Iterator[Record] = iter(records)

    def detect(images: Sequence[Any]) -> list[Found]:
        found = []
        for _ in images:
            said = say(list(next(regions).regions))
            found.append(
                Found(
                    torch.tensor([one[0] for one in said]).reshape(-1, 4),
                    torch.tensor([one[1] for one in said]),
                    [one[2] for one in said],
                )
            )
        return found

    return detect


def words(texts: Sequence[str]) -> np.ndarray:
    """(N, D): a text is the sum of its words, as a text tower roughly has it."""
    vectors = []
    for text in texts:
        parts = text.replace(",", " ").split()
        vector = sum(np.random.default_rng(sum(part.encode())).normal(size=64) for part in parts)
        vectors.append(vector / np.linalg.norm(vector))
    return np.stack(vectors)


def run(say: Change, records: list[Record] | None = None, **knobs: Any) -> Evaluation:
    records = scenes() if records is None else records
    images = [(record, Image.new("RGB", (100, 100))) for record in records]
    return evaluate(detector(records, say), images, words, TIERS, EvaluateConfig(**knobs))


def perfect(regions: list[Region]) -> list[tuple[Any, float, list[str]]]:
    return [(one.box_xyxy, 0.9, [one.label or "", "a thing"]) for one in regions]


def test_a_perfect_detector_scores_one_everywhere() -> None:
    metrics = run(perfect).metrics["evaluate"]
    assert metrics["images"] == 9
    assert metrics["objects"] == 16
    assert metrics["agnostic_ap"] == metrics["agnostic_ap50"] == metrics["agnostic_ap75"] == 1.0
    assert set(metrics["named_ap50"]) == {"all", "trained", *TIERS.values()}
    assert all(value == 1.0 for value in metrics["named_ap50"].values())
    assert all(value == 1.0 for value in metrics["names"].values())


def test_a_blind_detector_scores_zero() -> None:
    metrics = run(lambda regions: []).metrics["evaluate"]
    assert metrics["agnostic_ap50"] == 0.0
    assert metrics["named_ap50"]["all"] == 0.0
    assert metrics["names"] == {"matched": 0.0}  # No match, so no share of right names.


def test_wrong_names_cost_only_the_named_metrics() -> None:
    def misname(regions: list[Region]) -> list[tuple[Any, float, list[str]]]:
        return [(one.box_xyxy, 0.9, ["yellow cross"]) for one in regions]

    metrics = run(misname, top_classes=1).metrics["evaluate"]
    assert metrics["agnostic_ap50"] == 1.0
    assert metrics["names"]["matched"] == 1.0
    assert metrics["names"]["exact"] == 0.0
    assert metrics["named_ap50"]["all"] < 0.5


def test_one_bad_tier_shows_in_its_own_number() -> None:
    def miss_unseen(regions: list[Region]) -> list[tuple[Any, float, list[str]]]:
        return perfect([one for one in regions if one.label != "pink bolt"])

    named = run(miss_unseen).metrics["evaluate"]["named_ap50"]
    assert named["unseen"] < 0.05
    assert named["trained"] > 0.95
    assert named["all"] == pytest.approx((3 * named["trained"] + named["unseen"]) / 4, abs=1e-5)


def test_the_second_beam_counts_in_the_protocol_and_apart_from_the_first() -> None:
    def second(regions: list[Region]) -> list[tuple[Any, float, list[str]]]:
        return [(one.box_xyxy, 0.9, ["white cube", one.label or ""]) for one in regions]

    metrics = run(second).metrics["evaluate"]
    assert metrics["names"]["exact"] == 0.0
    assert metrics["names"]["any_beam"] == 1.0
    assert metrics["names"]["similar"] > metrics["first_beam"]["similar"]
    alone = run(second, reading="first").metrics["evaluate"]
    assert alone["named_ap50"]["all"] == metrics["first_beam"]["named_ap50"]
    assert alone["names"]["similar"] == metrics["first_beam"]["similar"]


def test_other_readings_stand_apart_and_change_nothing() -> None:
    def second(regions: list[Region]) -> list[tuple[Any, float, list[str]]]:
        return [(one.box_xyxy, 0.9, ["white cube", one.label or ""]) for one in regions]

    metrics = run(second, temperatures=(1.0,)).metrics["evaluate"]
    apart = metrics["alternatives"]
    assert set(apart) == {"mean", "max", "top_1", "temperature_1"}
    assert apart["max"]["similar"] == 1.0 > apart["mean"]["similar"] - 1e-9
    for change in ({"reading": "max"}, {"reading": "mean"}, {"top_classes": 1}):
        alone = run(second, temperatures=(), **change).metrics["evaluate"]
        name = change.get("reading", "top_1")
        assert alone["named_ap50"]["all"] == apart[name]["named_ap50"]
        assert alone["named_ap"]["all"] == apart[name]["named_ap"]
        assert alone["names"]["similar"] == apart[name]["similar"]
    without = run(second, temperatures=()).metrics["evaluate"]
    del apart["temperature_1"]
    assert without == metrics


def test_the_protocol_of_generateu_is_whole() -> None:
    own = EvaluateConfig(protocol="generateu")
    assert (own.reading, own.template, own.top_classes) == ("joined", "a {name}", 15)
    assert (own.temperature, own.max_detections, own.per_class) == (100.0, 300, 10_000)
    assert (own.score_threshold, own.beams) == (0.0, 3)
    assert run(perfect, protocol="generateu").metrics["evaluate"]["protocol"] == "generateu"
    assert EvaluateConfig(protocol="generateu", split="test", top_classes=15).split == "test"
    with pytest.raises(ValueError, match="the protocol generateu has top_classes 15, not 1: take"):
        EvaluateConfig(protocol="generateu", top_classes=1)


def test_recall_by_limit_and_size() -> None:
    metrics = run(perfect).metrics["evaluate"]
    assert set(metrics["agnostic_ar"]) == {"all", "medium"}, "no object is small or large"
    assert metrics["agnostic_ar"]["all"] == {"10": 1.0, "100": 1.0}
    more = run(perfect, max_detections=300).metrics["evaluate"]
    assert more["agnostic_ar"]["all"] == {"10": 1.0, "100": 1.0, "300": 1.0}
    assert metrics["agnostic_ap_by_size"] == {"medium": 1.0}


def test_the_alignment_of_prompts_with_the_true_names() -> None:
    records = scenes()
    waiting = iter(records)

    def detect(images: Sequence[Any]) -> list[Found]:
        found = []
        for _ in images:
            regions = next(waiting).regions
            boxes = torch.tensor([one.box_xyxy for one in regions]).reshape(-1, 4)
            boxes = torch.cat((boxes, torch.tensor([[0.0, 90, 5, 99]])))  # finds no object
            said = words([one.label or "" for one in regions] + ["lie"])
            prompts = said * np.resize([1.0, -1.0], len(said))[:, None]  # one right, one opposite
            scores = torch.linspace(0.5, 0.9, len(boxes))  # the best last: order must follow
            found.append(Found(boxes, scores, [["thing"]] * len(boxes), prompts))
        return found

    images = [(record, Image.new("RGB", (100, 100))) for record in records]
    config = EvaluateConfig(template="{name}")
    metrics = evaluate(detect, images, words, TIERS, config, taught_as="{name}").metrics
    assert metrics["evaluate"]["alignment"] == {"mean": 0.0, "sd": 1.0, "pairs": 16}


def test_prompts_of_another_space_have_no_alignment(caplog: pytest.LogCaptureFixture) -> None:
    one = scenes()[0]

    def detect(images: Sequence[Any]) -> list[Found]:
        boxes = torch.tensor([region.box_xyxy for region in one.regions])
        return [Found(boxes, torch.ones(2), [["x"]] * 2, np.ones((2, 3), np.float32))]

    image = Image.new("RGB", (100, 100))
    metrics = evaluate(detect, [(one, image)], words, None, EvaluateConfig()).metrics["evaluate"]
    assert "alignment" not in metrics
    assert "prompts are 3 wide and text vectors 64" in caplog.text


def test_names_are_judged_in_the_template() -> None:
    asked: list[str] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return words(texts)

    images = [(one, Image.new("RGB", (9, 9))) for one in scenes()]
    config = EvaluateConfig(template="a photo of a {name}.")
    evaluate(detector(scenes(), perfect), images, encode, None, config)
    assert "a photo of a red star." in asked
    assert "a photo of a red star, a thing." in asked
    assert all(text.startswith("a photo of a ") and text.endswith(".") for text in asked)


def test_shifted_boxes_fail_at_75_and_not_at_50() -> None:
    def shift(regions: list[Region]) -> list[tuple[Any, float, list[str]]]:
        return [
            ((x0 + 5, y0, x1 + 5, y1), 0.9, [one.label or ""])
            for one in regions
            for x0, y0, x1, y1 in [one.box_xyxy]
        ]

    metrics = run(shift).metrics["evaluate"]  # 20 of 30 pixels shared: IoU 2/3.
    assert metrics["agnostic_ap50"] == 1.0
    assert metrics["agnostic_ap75"] == 0.0


def test_the_truth_is_the_label_whatever_the_filter_did() -> None:
    refused = [
        replace(
            one,
            regions=tuple(replace(r, refusal="disagrees", names=("lie",)) for r in one.regions),
        )
        for one in scenes()
    ]
    assert run(perfect, refused).metrics == run(perfect).metrics


def test_crowds_and_unlabelled_regions_are_nobodys_truth() -> None:
    crowded = scene(
        0,
        region("red star", (0, 0, 30, 30)),
        region("blue ring", (40, 40, 90, 90), crowd=True),
        region(None, (35, 0, 60, 20)),
    )

    def say(regions: list[Region]) -> list[tuple[Any, float, list[str]]]:
        return perfect([one for one in regions if one.label == "red star"])

    metrics = run(say, [crowded]).metrics["evaluate"]
    assert metrics["objects"] == 1
    assert metrics["agnostic_ap"] == 1.0
    assert metrics["named_ap50"] == {"all": 1.0, "trained": 1.0, "frequent": 1.0}


def test_thresholds_and_the_order_of_predictions() -> None:
    def three(regions: list[Region]) -> list[tuple[Any, float, list[str]]]:
        boxes = [(0, 0, 9, 9), (10, 0, 19, 9), (20, 0, 29, 9)]
        return [
            (box, score, [str(score)]) for box, score in zip(boxes, (0.2, 0.01, 0.7), strict=True)
        ]

    first = run(three).predictions[0]
    assert [beams[0] for beams in first.names] == ["0.7", "0.2"]
    assert first.boxes_xyxy[:, 0].tolist() == [20, 0]
    assert len(run(three, max_detections=1).predictions[0].scores) == 1


def test_batches_do_not_matter() -> None:
    assert run(perfect, batch_size=1).metrics == run(perfect, batch_size=5).metrics


def test_a_split_without_objects_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match="no labelled object") as raised:
        run(perfect, [scene(0)])
    assert "\n" not in str(raised.value)


def test_without_tiers_only_all_is_reported() -> None:
    images = [(record, Image.new("RGB", (100, 100))) for record in scenes()]
    found = evaluate(detector(scenes(), perfect), images, words, None, EvaluateConfig())
    assert found.metrics["evaluate"]["named_ap50"] == {"all": 1.0}


def test_tiers_from_what_training_names() -> None:
    config = EvaluateConfig(frequent_from=3, common_from=2)
    kept = region("x", (0, 0, 1, 1), names=("x", "ex"))
    refused = replace(kept, refusal="small")
    other = replace(kept, names=("y",), label="y")
    counts = count_names([scene(0, kept, kept, kept, refused), scene(1, other, other)])
    assert counts == {"x": 3, "y": 2}
    assert truth_labels([scene(0, kept), scene(1, other)]) == {"x", "y"}
    assert tiers_by_count(counts | {"z": 1}, ["z", "y", "x", "w"], config) == {
        "w": "unseen",
        "x": "frequent",
        "y": "common",
        "z": "rare",
    }


def test_predictions_round_trip_with_equal_bytes(tmp_path: Path) -> None:
    predictions = run(perfect).predictions
    write_predictions(tmp_path / "a.parquet", predictions)
    write_predictions(tmp_path / "b.parquet", predictions)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    again = read_predictions(tmp_path / "a.parquet")
    assert [one.key for one in again] == [one.key for one in predictions]
    assert [one.names for one in again] == [one.names for one in predictions]
    for mine, theirs in zip(again, predictions, strict=True):
        np.testing.assert_array_equal(mine.boxes_xyxy, theirs.boxes_xyxy)
        np.testing.assert_array_equal(mine.scores, theirs.scores)
