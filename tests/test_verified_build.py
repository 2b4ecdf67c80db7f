"""The stage `verify` in a whole build: by a model that sees pixels, and by the build's own CLIP."""

import json
from pathlib import Path
from typing import Any

from answer_server import Asked, Says, answering, completion, error
from tiny_llava import save_tiny_llava

from opendet.manifest import read_manifest
from opendet.record import Record
from opendet.schema import read_records
from tests.cli_world import COCO, make_project, run_cli, stats_of, write_pictures


def metrics(project: Path, stage: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        (project / f"datasets/tiny/metrics/{stage}.json").read_text()
    )[stage]
    return told


def records(project: Path, stage: str) -> list[Record]:
    folder = project / "datasets/tiny" / stage
    parts = read_manifest(folder).parts
    return [one for part in parts for one in read_records(folder / f"{part.shard.name}.parquet")]


def build(root: Path, verify: dict[str, Any], **sections: Any) -> Path:
    project = make_project(root / "project", COCO, {"verify": verify, **sections})
    write_pictures(project)
    ended = run_cli(project, "data", "build")
    assert ended.code == 0, ended.err
    return project


def test_without_a_verifier_the_records_are_those_of_embed(tmp_path: Path) -> None:
    project = build(tmp_path, {})
    for part in read_manifest(project / "datasets/tiny/verify").parts:
        name = f"{part.shard.name}.parquet"
        assert set(part.files) == {name}
        embedded, verified = (project / "datasets/tiny" / s / name for s in ("embed", "verify"))
        assert verified.read_bytes() == embedded.read_bytes()
    assert "asked" not in metrics(project, "verify")


def test_the_build_s_clip_verifies_and_the_filter_refuses(tmp_path: Path) -> None:
    verify = {"annotator": "clip", "hard_negatives": 2, "absent_below": 1.0, "clip_scale": 1.0}
    rules = {"min_margin": None, "min_side": 8, "min_name_belief": 0.5}
    project = build(tmp_path, verify, filter=rules)
    found = records(project, "filter")
    large = [record.regions[0] for record in found]
    assert all(region.name_checked is not None for region in large)
    refused = [
        region
        for region in large
        if region.name_checked is not None and (region.name_checked.score or 0.0) < 0.5
    ]
    assert all((region.refusal == "name judged wrong") == (region in refused) for region in large)
    told = metrics(project, "verify")
    assert told["absent"] == told["tried"] > 0
    assert sum(len(record.absent) for record in found) == told["absent"]
    assert {"precision", "recall"} <= told.keys()
    assert run_cli(project, "data", "verify").code == 0
    story = run_cli(project, "data", "why", "train-p0").out
    assert "verified   name by " in story
    assert "absent     " in story
    assert stats_of(project)["verify"]["samples_in"] == 6


def test_a_model_is_asked_once_whatever_the_threshold(tmp_path: Path) -> None:
    llava = save_tiny_llava(tmp_path / "tiny-llava")
    model = {"model": str(llava), "device": "cpu", "max_new_tokens": 2}
    verify = {"annotator": "vision_language", "hard_negatives": 1, "vision_language": model}
    project = build(tmp_path, verify)
    told = metrics(project, "verify")
    regions = sum(len(record.regions) for record in records(project, "embed"))
    assert told["asked"] + told["remembered"] == 2 * regions + told_names(project) + 6
    config = project / "configs" / "tiny.yaml"
    config.write_text(config.read_text().replace("verify:\n", "verify:\n  least_belief: 0.9\n"))
    assert run_cli(project, "data", "build").code == 0
    again = metrics(project, "verify")
    assert again["asked"] == 0
    assert again["remembered"] == told["asked"] + told["remembered"]
    assert again["unread"] == told["unread"]


def told_names(project: Path) -> int:
    return sum(
        len({region.names[0] for region in record.regions if region.names})
        for record in records(project, "embed")
    )


def test_a_sick_server_quarantines_and_retry_asks_for_the_rest(tmp_path: Path) -> None:
    well: list[bool] = []
    asked_of: list[str] = []

    def answer(asked: Asked, before: int) -> Says:
        asked_of.append(asked.prompt)
        return completion("yes") if well or len(asked_of) % 9 else error(503, "busy")

    with answering(answer) as server:
        served = {"address": server.address, "backoff_s": 0.001, "retries": 0, "concurrency": 1}
        project = build(tmp_path, {"annotator": "served", "served": served})
        sick = [
            entry
            for part in read_manifest(project / "datasets/tiny/verify").parts
            for entry in part.quarantined
        ]
        assert sick
        assert all(entry.stage == "verify" for entry in sick)
        well.append(True)
        assert run_cli(project, "data", "retry", "verify").code == 0
    told = metrics(project, "verify")
    assert (told["quarantined"], told["images_out"]) == (0, 6)
    checked = [
        region.name_checked for record in records(project, "verify") for region in record.regions
    ]
    assert all(one is not None and one.score == 1.0 for one in checked)
    assert told["names"] == len(checked)


def test_a_rule_without_its_verifier_is_one_clear_line(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", COCO, {"filter": {"min_box_belief": 0.5}})
    write_pictures(project)
    ended = run_cli(project, "data", "build")
    assert ended.code != 0
    assert "filter.min_box_belief needs a verifier that sees boxes" in ended.line
