"""The builds that remake the seeds' data: their rules hold, with tiny stand-ins for their models.

Cards and configurations are those of the project; where an image set lies, which model is asked and
where it runs are changed, and nothing else.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from answer_server import answering, completion
from clip_world import TINY, samples
from seed_world import (
    WRITERS,
    as_xywh,
    save_doubting_owl,
    write_coco,
    write_llava_cap,
    write_texts,
)
from tiny_closed_set import save_tiny_detr
from tiny_detectors import save_tiny_grounding_dino
from tiny_llava import save_tiny_llava

from opendet.boxes import pairwise_iou
from opendet.config import load_config
from opendet.curate.clip import build_clip
from opendet.manifest import read_manifest
from opendet.record import Record, Region
from opendet.schema import read_records
from opendet.sources.card import read_card, variables_of
from tests.cli_world import ROOT, run_cli

CAPTIONED = ("coco", "v3det", "gqa", "flickr30k", "llava_cap")
SEEDS = (*(f"groundingcap_{one}" for one in CAPTIONED), "deco_pool_coco", "owl_st_folder")
CAPTION = "A cat and a red dog sit on a car. A green circle is near the blue bird."
DESCRIPTION = "a red dog on a car"
UNTIL_FILTER = ("source", "caption", "regions", "describe", "clip", "embed", "verify", "filter")


# --- configurations and cards


@pytest.mark.parametrize("build", SEEDS)
def test_it_loads_and_its_rules_are_the_seed_s(build: str) -> None:
    config = load_config(ROOT / "configs" / f"{build}.yaml")
    [detector] = config.regions.detectors
    rules = config.filter
    if build.startswith("groundingcap"):
        assert (config.caption.annotator, config.describe.annotator) == ("served", "served")
        assert "Qwen2-VL-72B" in config.caption.served.model
        assert (detector.min_score, rules.min_regions, config.loader.flip) == (0.35, 3, 0.0)
        fills = config.regions.source_boxes == "fill"
        assert fills is not build.endswith("llava_cap")
    elif build.startswith("deco"):
        assert (config.prototypes.coarse, config.prototypes.min_samples) == (1203, 4)
        assert (rules.min_agreement, rules.min_margin) == (0.22, None)
    else:
        assert (detector.min_score, detector.image_min_score, rules.min_regions) == (0.1, 0.3, 1)
        assert config.regions.queries.ngrams
        drawn = config.loader.mosaic
        images = sum(side * side * share for side, share in drawn.items()) / sum(drawn.values())
        assert images == pytest.approx(13.2)


@pytest.mark.parametrize("build", SEEDS)
def test_without_its_images_it_is_one_line_that_names_root_and_key(
    build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of(build, tmp_path, lambda config: config)
    monkeypatch.delenv(variable := variable_of(build), raising=False)
    ended = run_cli(project, "data", "build", "--build", build)
    assert ended.code == 1
    said = ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err
    assert f"set {variable}, or mend its `root` in source.yaml" in said
    assert read_card(ROOT / "datasets" / build / "source.yaml").batches[0].root in said


# --- GroundingCap-1M


@pytest.mark.parametrize("part", CAPTIONED)
def test_groundingcap(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = f"groundingcap_{part}"
    data = tmp_path / "data"
    WRITERS[part](data)
    monkeypatch.setenv(variable_of(build), str(data))
    dino = save_tiny_grounding_dino(tmp_path / "dino", mm=False)
    with answering(
        lambda asked, _: completion(CAPTION if "paragraph" in asked.prompt else DESCRIPTION)
    ) as server:
        project = project_of(build, tmp_path, asks(server.address, dino))
        records, dropped = built(project, build, *UNTIL_FILTER)
    assert len(records) == 3
    assert dropped == ({"too few regions": 1} if part == "llava_cap" else {})
    for record in records:
        assert (record.caption, bool(record.tags)) == (CAPTION, True)
        assert any(phrase.regions for phrase in record.phrases)
        kept = [region for region in record.regions if region.kept]
        assert len(kept) >= 3
        assert all(region.names for region in kept)
        assert all(region.description == DESCRIPTION for region in kept)
        assert {one.box_from.score is None or one.box_from.score >= 0.35 for one in kept} == {True}
        own, found = by_source(record)
        assert found
        assert len(own) == (0 if part == "llava_cap" else 2)
        if own:
            assert overlap(found, own) < 0.3


def test_what_the_source_has_is_not_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the detector finds where there are no boxes is there from the start, but for boxes of
    less than a pixel's side, which a source's rounding may leave nothing of."""
    write_llava_cap(tmp_path / "bare")
    monkeypatch.setenv("OPENDET_LLAVA_CAP", str(tmp_path / "bare"))
    monkeypatch.setenv("OPENDET_COCO", str(tmp_path / "coco"))
    dino = save_tiny_grounding_dino(tmp_path / "dino", mm=False)
    with answering(lambda asked, _: completion(CAPTION)) as server:
        tiny = asks(server.address, dino)
        project = project_of("groundingcap_llava_cap", tmp_path / "first", tiny)
        bare = built(project, "groundingcap_llava_cap", *UNTIL_FILTER[:3])[0][:3]
        found = [[as_xywh(*region.box_xyxy) for region in record.regions] for record in bare]
        boxes = [[box for box in one if min(box[2:]) >= 1] for one in found]
        write_coco(tmp_path / "coco", xywh=boxes)
        project = project_of("groundingcap_coco", tmp_path / "second", tiny)
        filled = built(project, "groundingcap_coco", *UNTIL_FILTER[:3])[0]
    assert all(boxes)
    for record, own_xywh in zip(filled, boxes, strict=True):
        own, new = by_source(record)
        assert len(own) == len(own_xywh)
        assert all(min(as_xywh(*region.box_xyxy)[2:]) < 1 for region in new)


def test_groundingcap_is_exported_with_captions_phrases_and_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From COCO's two boxes and a caption to a line that LLMDet's loader reads."""
    write_coco(tmp_path / "data")
    monkeypatch.setenv("OPENDET_COCO", str(tmp_path / "data"))
    dino = save_tiny_grounding_dino(tmp_path / "dino", mm=False)
    build = "groundingcap_coco"
    with answering(lambda asked, _: completion(CAPTION)) as server:
        project = project_of(build, tmp_path, asks(server.address, dino))
        built(project, build, *UNTIL_FILTER, "shards")
    ended = run_cli(project, "data", "export", "groundingcap", "out", "--build", build)
    assert ended.code == 0, ended.err
    lines = (project / "out" / "odvg_train.jsonl").read_text().splitlines()
    line = json.loads(lines[0])
    assert line["conversations"][1] == {"from": "gpt", "value": CAPTION}
    assert line["tags"]
    for region in line["grounding"]["regions"]:
        [[start, end]] = region["tokens_positive"]
        assert line["grounding"]["caption"][start:end] == region["phrase"]


# --- DeCo-DETR's pool


def test_deco_s_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    write_coco(data, "instances_train2017_base48.json", captions=True)
    monkeypatch.setenv("OPENDET_COCO", str(data))
    detr, llava = save_tiny_detr(tmp_path / "detr"), save_tiny_llava(tmp_path / "llava")

    def tiny(config: dict[str, Any]) -> dict[str, Any]:
        proposer = config["regions"]["detectors"][0]
        del proposer["norm_eps"], proposer["architecture"]  # of torchvision's alone
        proposer |= {"model": str(detr), "device": "cpu"}
        config["describe"]["vision_language"] |= {
            "model": str(llava),
            "device": "cpu",
            "dtype": "float32",
            "max_new_tokens": 6,
        }
        # a CLIP of four steps knows nothing, and weights of chance write no English
        config["filter"]["min_agreement"] = -1.0
        config["describe"]["language"] = "any"
        return config

    build = "deco_pool_coco"
    project = project_of(build, tmp_path, tiny)
    records, dropped = built(project, build, *UNTIL_FILTER, "prototypes")
    assert (len(records), dropped) == (3, {})
    for record in records:
        own, found = by_source(record)
        assert len(own) == 2
        assert all(one.label == "cat" for one in own)
        assert all(one.label is None for one in found)
        if found:
            assert overlap(found, own) < 0.7
            assert all((one.box_from.score or 0) >= 0.3 for one in found)
    regions = [region for record in records for region in record.regions]
    assert len(regions) > 6
    assert any(region.kept and region.names and region.description for region in regions)
    assert {one.names_from.model for one in regions if one.names_from} == {"llava"}
    metrics = json.loads((project / f"datasets/{build}/metrics/prototypes.json").read_text())
    assert metrics["prototypes"]["coarse"] >= 1


# --- OWL-ST


def test_owl_st(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a dull picture and five of noise: an image is kept where one box reaches 0.3, with all of
    its boxes from 0.1 on."""
    texts = ["a red dog", "free download", "blue bird and green circle", "traffic light", "", "car"]
    data = tmp_path / "data"
    write_texts(data, texts)
    monkeypatch.setenv("OPENDET_CAPTIONED_IMAGES", str(data))
    owl = save_doubting_owl(tmp_path / "owl")

    def tiny(config: dict[str, Any]) -> dict[str, Any]:
        config["regions"]["detectors"][0] |= {"model": str(owl), "device": "cpu"}
        return config

    build = "owl_st_folder"
    project = project_of(build, tmp_path, tiny)
    ended = run_cli(project, "data", "build", "--build", build, *UNTIL_FILTER[:3])
    assert ended.code == 1
    assert "there is no file" in ended.err.splitlines()[-1]
    assert "vocabulary.txt" in ended.err.splitlines()[-1]
    vocabulary = project / "datasets" / build / "vocabulary.txt"
    vocabulary.write_text("# LVIS\nwine glass\ncat\n")

    records, dropped = built(project, build, *UNTIL_FILTER)
    # Image 4 has no text and left before; of image 0 the surest of eight boxes has 0.28.
    assert [record.key for record in records] == ["web-2", "web-3", "web-5"]
    assert dropped == {"too few regions": 2}
    asked = {"wine glass", "cat", "blue bird", "green circle", "traffic light", "car"}
    said = set()
    for record in records:
        scores = [region.box_from.score or 0 for region in record.regions]
        assert max(scores) >= 0.3 > min(scores) >= 0.1
        assert set(record.tags) == {name for one in record.regions for name in one.names}
        assert all(region.names for region in record.regions)
        assert not any(region.description for region in record.regions)
        said |= {name for one in record.regions for name in one.names}
    assert said & asked
    assert not any("download" in name for name in said)
    assert any(phrase.regions for record in records for phrase in record.phrases)


# --- the commands of the cards


def test_the_cards_commands_make_what_their_builds_read(tmp_path: Path) -> None:
    annotations, texts = tmp_path / "annotations", tmp_path / "images"
    for folder in (annotations, texts):
        folder.mkdir()
    categories = [
        {"id": 1, "name": "person"},
        {"id": 2, "name": "cat"},  # novel
        {"id": 3, "name": "bow_(ribbon)", "synonyms": ["bow_(ribbon)", "hair_bow"]},
    ]
    boxes = [{"image_id": 1, "category_id": number, "bbox": [1, 1, 9, 9]} for number in (1, 2)]
    world = {"images": [], "annotations": boxes, "categories": categories}
    (annotations / "instances_train2017.json").write_text(json.dumps(world))
    (texts / "a.txt").write_text(" a cat\n")
    [base, _] = commands_of("deco_pool_coco")
    [captions, vocabulary] = commands_of("owl_st_folder")

    run_python(base, annotations)
    kept = json.loads((annotations / "instances_train2017_base48.json").read_text())
    assert [one["name"] for one in kept["categories"]] == ["person"]
    assert kept["annotations"] == boxes[:1]
    run_python(captions, tmp_path)
    [line] = (tmp_path / "captions.jsonl").read_text().splitlines()
    said = [{"from": "gpt", "value": "a cat"}]
    assert json.loads(line) == {"filename": "a.jpg", "conversations": said}
    names = run_python(vocabulary, annotations / "instances_train2017.json")
    assert names.splitlines() == ["person", "cat", "bow", "hair bow"]


def commands_of(build: str) -> list[str]:
    """The programs that the card hands to Python."""
    card = (ROOT / "datasets" / build / "README.md").read_text(encoding="utf-8")
    return re.findall(r"<<'END'\n(.*?\n)END\n", card, re.DOTALL)


def run_python(program: str, argument: Path) -> str:
    command = [sys.executable, "-", str(argument)]
    ran = subprocess.run(command, input=program, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


# --- small worlds


def asks(address: str, dino: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """GroundingCap's configuration with another server and a tiny detector."""

    def tiny(config: dict[str, Any]) -> dict[str, Any]:
        for stage in ("caption", "describe"):
            config[stage]["served"] |= {"address": address, "model": ""}
        config["regions"]["detectors"][0] |= {"model": str(dino), "device": "cpu"}
        return config

    return tiny


def variable_of(build: str) -> str:
    card = read_card(ROOT / "datasets" / build / "source.yaml")
    [variable] = variables_of(card.batches[0].root)
    return variable


def project_of(build: str, folder: Path, tiny: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    """A project with that build's own card, and its configuration as `tiny` leaves it."""
    project = folder / "project"
    shutil.copytree(ROOT / "configs" / "prompts", project / "configs" / "prompts")
    (project / "pipelines").symlink_to(ROOT / "pipelines")
    (project / "params.yaml").write_text(f"build: {build}\n")
    (project / "datasets" / build).mkdir(parents=True)
    shutil.copy(ROOT / "datasets" / build / "source.yaml", project / "datasets" / build)
    config = tiny(yaml.safe_load((ROOT / "configs" / f"{build}.yaml").read_text()))
    clip = folder / "clip"
    clip.mkdir()
    build_clip(samples(), TINY, seed=0, folder=clip)
    config["clip"] |= {"model": str(clip), "pretrained": ""}
    config |= {"run": {"actors": 0}, "embed": {"device": "cpu"}}
    config["regions"]["tagger"] = "grammar"  # nltk's data are not on every machine
    (project / "configs" / f"{build}.yaml").write_text(yaml.safe_dump(config))
    return project


def built(project: Path, build: str, *stages: str) -> tuple[list[Record], dict[str, int]]:
    """The records of the filter, or of the last stage before it, and how many images that one
    refused, by reason."""
    ended = run_cli(project, "data", "build", "--build", build, *stages)
    assert ended.code == 0, ended.err
    stage = "filter" if "filter" in stages else stages[-1]
    folder = project / "datasets" / build / stage
    records = [one for path in sorted(folder.glob("*.parquet")) for one in read_records(path)]
    reasons = [entry.reason for part in read_manifest(folder).parts for entry in part.dropped]
    return records, {reason: reasons.count(reason) for reason in reasons}


def by_source(record: Record) -> tuple[list[Region], list[Region]]:
    """The source's own regions, and those that a detector found."""
    own = [region for region in record.regions if region.box_from.model == "source"]
    return own, [region for region in record.regions if region.box_from.model != "source"]


def overlap(found: list[Region], own: list[Region]) -> float:
    """Largest IoU of a box of the one with a box of the other."""
    xyxy = [torch.tensor([one.box_xyxy for one in regions]) for regions in (found, own)]
    return float(pairwise_iou(xyxy[0], xyxy[1])[0].max())
