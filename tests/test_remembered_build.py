"""What models said is not asked again: not for another threshold, nor for images known already."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from answer_server import AnswerServer, answering, completion
from onnx_world import write_constant

from opendet.schema import read_records
from tests.cli_world import SCENES, make_project, run_cli, write_card

STAGES = ("source", "caption", "regions", "describe")
IMAGES = 100
SAID = "A red mug and two blue boxes lie on a grey floor. A dog sleeps beside them."


def card(*batches: tuple[str, int]) -> dict[str, Any]:
    named = [{"name": name, "split": "train", "count": count} for name, count in batches]
    return {**SCENES, "batches": named}


def configuration(address: str, detector: Path, **changed: Any) -> dict[str, Any]:
    served = {"annotator": "served", "served": {"address": address, "backoff_s": 0.01}}
    onnx = {"annotator": "onnx", "model": str(detector), "layout": "nms", "class_names": ["mug"]}
    return {
        "source": {"shard_samples": 20},
        "caption": {**served, "max_characters": changed.get("max_characters", 200)},
        "regions": {
            "tagger": "grammar",
            "detectors": [{**onnx, "min_score": changed.get("min_score", 0.3)}],
        },
        "describe": {**served, "max_name_words": changed.get("max_name_words", 5)},
    }


def configure(project: Path, config: dict[str, Any]) -> None:
    path = project / "configs" / "tiny.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | config))


def counts(project: Path) -> dict[str, tuple[int, int]]:
    """Stage -> how often it asked its model in the last run, and how often it did not have to."""
    found = {}
    for stage in STAGES[1:]:
        path = project / "datasets" / "tiny" / "metrics" / f"{stage}.json"
        numbers = json.loads(path.read_text())[stage]
        found[stage] = (numbers["asked"], numbers["remembered"])
    return found


def regions_of(project: Path) -> int:
    folder = project / "datasets" / "tiny" / "describe"
    return sum(len(one.regions) for path in folder.glob("*.parquet") for one in read_records(path))


def build(project: Path, server: AnswerServer) -> int:
    """How many questions reached the server."""
    before = len(server.questions)
    ended = run_cli(project, "data", "build", *STAGES)
    assert ended.code == 0, ended.err
    return len(server.questions) - before


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """Finds two things in every image, one of them not for sure."""
    said = {
        "boxes": np.array([[2, 2, 20, 20], [20, 20, 30, 31]], np.float32),
        "scores": np.array([0.9, 0.4], np.float32),
        "labels": np.array([0, 0], np.int64),
    }
    return write_constant(tmp_path / "detector.onnx", said)


def test_models_are_asked_for_what_is_new_alone(tmp_path: Path, detector: Path) -> None:
    project = make_project(tmp_path / "project", card(("first", IMAGES)))
    with answering(lambda asked, before: completion(SAID)) as server:
        configure(project, configuration(server.address, detector))
        at_first = build(project, server)
        assert regions_of(project) == 2 * IMAGES
        assert at_first == 3 * IMAGES  # a caption each, and two regions
        assert counts(project) == {
            "caption": (IMAGES, 0),
            "regions": (IMAGES, 0),
            "describe": (2 * IMAGES, 0),
        }

        # Other thresholds: captions are cut, the second box goes, names are shorter.
        changes = {"max_characters": 60, "min_score": 0.5, "max_name_words": 1}
        configure(project, configuration(server.address, detector, **changes))
        assert build(project, server) == 0
        assert regions_of(project) == IMAGES
        assert counts(project) == {
            "caption": (0, IMAGES),
            "regions": (0, IMAGES),
            "describe": (0, IMAGES),
        }

        # One image in a hundred is new.
        write_card(project, card(("first", IMAGES), ("second", IMAGES // 100)))
        assert 0 < build(project, server) <= 0.015 * at_first
        asked = sum(asked for asked, _ in counts(project).values())
        assert 0 < asked <= 0.015 * (at_first + IMAGES)

        # All is made anew, and nobody is asked.
        with_all = regions_of(project)
        for folder in (project / ".opendet" / "tiny", project / "datasets" / "tiny" / "source"):
            assert folder.is_dir()
        run_cli(project, "data", "build", "source")
        (project / ".opendet" / "tiny").rename(tmp_path / "put away")
        assert build(project, server) == 0
        assert regions_of(project) == with_all


def test_without_a_store_each_build_asks_anew(tmp_path: Path, detector: Path) -> None:
    project = make_project(tmp_path / "project", card(("first", 5)))
    with answering(lambda asked, before: completion(SAID)) as server:
        config = configuration(server.address, detector)
        configure(project, {**config, "run": {"actors": 0, "answers": ""}})
        assert build(project, server) == 15
        changed = configuration(server.address, detector, max_characters=60, max_name_words=1)
        configure(project, {**changed, "run": {"actors": 0, "answers": ""}})
        assert build(project, server) == 15
        ended = run_cli(project, "data", "answers")
        assert (ended.code, ended.line) == (1, "tiny keeps no answers: its run.answers is empty")


def test_actors_of_ray_ask_each_question_once_and_publish_the_same(
    tmp_path: Path, detector: Path
) -> None:
    """Two processes add to one store; a third of the answers is there already."""
    bytes_of = []
    with answering(lambda asked, before: completion(SAID)) as server:
        for name, actors in (("alone", "0"), ("two", "2")):
            project = make_project(tmp_path / name, card(("first", 30)))
            configure(project, configuration(server.address, detector))
            before = len(server.questions)
            for count in (10, 30):
                write_card(project, card(("first", 10), *([("second", 20)] if count == 30 else [])))
                ended = run_cli(project, "data", "build", *STAGES, "--actors", actors)
                assert ended.code == 0, ended.err
            assert len(server.questions) - before == 3 * 30
            asked = counts(project)
            assert asked == {"caption": (20, 0), "regions": (20, 0), "describe": (40, 0)}
            data = project / "datasets" / "tiny"
            files = [path for stage in STAGES for path in sorted((data / stage).iterdir())]
            bytes_of.append({str(path.relative_to(data)): path.read_bytes() for path in files})
    assert bytes_of[0] == bytes_of[1]


def test_a_store_that_cannot_be_used_ends_the_stage(tmp_path: Path, detector: Path) -> None:
    project = make_project(tmp_path / "project", card(("first", 5)))
    with answering(lambda asked, before: completion(SAID)) as server:
        config = configuration(server.address, detector)
        configure(project, {**config, "run": {"actors": 0, "answers": "params.yaml"}})
        ended = run_cli(project, "data", "build", *STAGES)
    assert ended.code == 1
    assert "run.answers: " in ended.err.splitlines()[-1]
    assert not (project / "datasets" / "tiny" / "caption").exists()


def test_the_store_is_shown_packed_exported_and_emptied(tmp_path: Path, detector: Path) -> None:
    project = make_project(tmp_path / "project", card(("first", 5)))
    ended = run_cli(project, "data", "answers")
    assert (ended.code, "there is no answer store" in ended.line) == (1, True)
    with answering(lambda asked, before: completion(SAID)) as server:
        configure(project, configuration(server.address, detector))
        build(project, server)
        shown = run_cli(project, "data", "answers", "--pack")
        assert shown.code == 0
        assert "packed 20 answers of 2 kinds" in shown.out  # one model answers two stages alike
        assert "tiny-vlm" in shown.out
        assert "detector" in shown.out

        assert run_cli(project, "data", "answers", "--export", "all.jsonl").code == 0
        lines = [json.loads(line) for line in (project / "all.jsonl").read_text().splitlines()]
        assert len(lines) == 20
        assert {line["answer"]["text"] for line in lines if "text" in line["answer"]} == {SAID}

        changed = configuration(server.address, detector, max_characters=60)
        configure(project, changed)
        assert build(project, server) == 0  # from the pack

        ended = run_cli(project, "data", "answers", "--export", "pipelines")
        assert (ended.code, "pipelines is a folder" in ended.line) == (1, True)
        ended = run_cli(project, "data", "answers", "--pack", "--remove-idle", "1")
        assert (ended.code, "give one of --pack" in ended.line) == (1, True)
        ended = run_cli(project, "data", "answers", "--remove", "nothing")
        assert (ended.code, "no kind is called nothing" in ended.line) == (1, True)
        ended = run_cli(project, "data", "answers", "--remove-idle", "90")
        assert "removed 0 answers of 0 kinds; 2 kinds stay" in ended.out
        ended = run_cli(project, "data", "answers", "--remove-idle", "0")
        assert "removed 20 answers of 2 kinds; 0 kinds stay" in ended.out
