"""The configurations that come along: whole, true to the papers' schedules, and buildable."""

from pathlib import Path

import pytest
import yaml

from opendet.config import Config, load_config
from opendet.evaluation.open_vocabulary import ov_coco_split
from opendet.model.config import BackboneConfig, DetectorConfig
from opendet.model.detector import OpenDetector
from opendet.model.no_namer import NoNamer
from opendet.sources.card import read_card
from tests.model.naming_worlds import known_axes
from tests.model.worlds import build_detector

ROOT = Path(__file__).resolve().parent.parent
BUILDS = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
PAPER = [build for build in BUILDS if build.startswith("vg_")]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
IMAGES = 77_396
"""Of Visual Genome, that the paper trains on."""
SMALL = {
    "backbone": BackboneConfig(name="tiny", tiny_channels=(8, 16, 16, 16)),
    "width": 32,
    "encoder_layers": 1,
    "heads": 4,
    "points": 2,
    "feedforward": 32,
    "queries": 12,
    "queries_min": 3,
    "distiller_hidden": 32,
}


def _config(build: str) -> Config:
    return load_config(ROOT / "configs" / f"{build}.yaml")


@pytest.mark.parametrize("build", BUILDS)
def test_it_loads_has_a_card_and_every_section_that_dvc_asks_for(build: str) -> None:
    _config(build)
    read_card(ROOT / "datasets" / build / "source.yaml")
    assert (ROOT / "datasets" / build / "README.md").is_file()
    written = yaml.safe_load((ROOT / "configs" / f"{build}.yaml").read_text())
    asked = {
        section
        for stage in STAGES.values()
        for files in stage["params"]
        for section in files["configs/${build}.yaml"]
    }
    assert asked <= written.keys()


@pytest.mark.parametrize("build", PAPER)
def test_the_paper_s_schedule(build: str) -> None:
    config = _config(build)
    epochs = int(build.rpartition("_")[2])
    images = config.train.steps * 4 * config.loader.batch_size  # on 4 GPUs
    assert images / IMAGES == pytest.approx(epochs, abs=0.5)
    assert 4 * config.loader.batch_size == 16
    names = {"t": "swin_tiny", "s": "swin_small", "l": "swin_large"}
    size = build.split("_")[2] if "swin" in build else "t"
    assert config.detector.backbone.name.startswith(names[size])
    assert config.namer.t5 == "google/flan-t5-base"
    assert config.clip.template == config.evaluate.template == "a {name}"


def test_the_baseline_has_every_switch_off_and_the_rest_alike() -> None:
    baseline, full = _config("vg_generateu_31"), _config("vg_swin_t_31")
    off = {
        "cross_layers": 0,
        "self_layers": 6,
        "denoising_pairs": 0,
        "selection": "topk",
        "aligner": "vision_to_language",
        "iou_head": True,
        "prompt": "query",
    }
    assert baseline.detector == full.detector.model_copy(update=off)
    assert baseline.namer == full.namer.model_copy(update={"head": "full"})
    no_loss = {
        "object_loss": "focal",
        "align_loss": "one_hot",
        "align_over": "queries",
        "text_denoising_weight": 0.0,
        "distillation_weight": 0.0,
    }
    assert baseline.objective == full.objective.model_copy(update=no_loss)
    assert baseline.train == full.train
    assert baseline.loader == full.loader


@pytest.mark.parametrize("build", PAPER)
def test_its_detector_builds(build: str) -> None:
    """At a toy's sizes: the switches are the configuration's."""
    config = DetectorConfig.model_validate(_config(build).detector.model_dump() | SMALL)
    detector = build_detector(config)
    assert len(detector.decoder.layers) == 6
    assert detector.config.cross_layers == (0 if "generateu" in build else 4)


def test_ov_coco_teaches_boxes_of_base_names_and_knows_the_novel_ones() -> None:
    """DeCo-DETR's numbers, and the generalised setting: the 17 are known by name alone."""
    config, split = _config("deco_detr_ov_coco"), ov_coco_split()
    assert config.objective.deco.novel_names == split["novel"]
    base, val = read_card(ROOT / "datasets" / "deco_detr_ov_coco" / "source.yaml").batches
    assert (base.split, val.split) == ("train", "val")
    assert base.annotations == "annotations/instances_train2017_base48.json"
    assert base.root == read_card(ROOT / "datasets" / "deco_pool_coco" / "source.yaml").root
    deco, head = config.objective.deco, config.detector.prototypes
    assert (deco.momentum, deco.teacher_temperature, head.temperature) == (0.99, 0.07, 0.07)
    assert (config.detector.layers, config.detector.heads, config.detector.queries) == (6, 8, 2000)
    assert config.detector.backbone.name.startswith("resnet50")
    assert 8 * config.loader.batch_size == 64
    assert (config.detector.semantics, head.gradient) == ("prototypes", "isolated")


def test_ov_coco_reads_the_pool_that_is_linked_beside_it() -> None:
    """The same CLIP, asked in the same way, and the same clusters."""
    ours, pool = _config("deco_detr_ov_coco"), _config("deco_pool_coco")
    assert ours.clip == pool.clip
    assert ours.prototypes == pool.prototypes
    assert ours.text == pool.text


def test_the_ov_coco_detector_builds_without_a_text_encoder() -> None:
    """At a toy's sizes, but with its own switches: no T5, no aligner, a prototype head."""
    config = _config("deco_detr_ov_coco")
    toy = config.detector.model_dump() | SMALL
    toy["prototypes"] |= {"predictor_heads": 2}
    detector = OpenDetector(
        DetectorConfig.model_validate(toy),
        NoNamer(config.namer, 16),
        known_axes(("cat", "dog", "cow", "bus")),
    )
    assert not [name for name, _ in detector.named_parameters() if name.startswith("namer.")]
    assert len(detector.aligners) == 0
    assert detector.prototypes is not None
    assert detector.prototypes.names == ("cat", "dog", "cow", "bus")
