"""Our own detector as an annotator: it says what `opendet detect` says, one name a thing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from opendet.annotators.own_detector import Own, OwnConfig
from opendet.annotators.weights import folder_digest
from opendet.manifest import FileStamp
from opendet.predict import Detector
from opendet.predict_config import PredictConfig
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.model.naming_worlds import CONCEPTS, export_named
from tests.model.worlds import build_detector

SIZES = [(64, 48), (40, 90), (33, 33)]


def export(folder: Path, weights: dict[str, torch.Tensor] | None = None) -> Path:
    detector = build_detector()
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(folder, detector, weights or own_tensors(detector), resize=resize, training={})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("own") / "model")


def config_of(model: Path, **told: Any) -> OwnConfig:
    return OwnConfig.model_validate({"model": str(model), "device": "cpu", "floor": 0.0, **told})


def _images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


def test_it_says_what_the_detector_says(model: Path) -> None:
    """The boxes, the scores, and the first of the names, whatever names are asked for."""
    found = Own(config_of(model)).find(_images(), [("zebra",)] * 3)
    said = Detector.load(model, PredictConfig(score_threshold=0, device="cpu")).detect(_images())
    for ours, theirs, (width, height) in zip(found, said, SIZES, strict=True):
        assert ours
        assert len(ours) <= len(theirs)
        known = {
            (tuple(box), names[0], score)
            for box, names, score in zip(
                theirs.boxes_xyxy.tolist(), theirs.names, theirs.scores.tolist(), strict=True
            )
        }
        for one in ours:
            assert (one.box_xyxy, one.name, one.score) in known
            x0, y0, x1, y1 = one.box_xyxy
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
        assert [one.score for one in ours] == sorted((one.score for one in ours), reverse=True)


def test_floor_most_and_batches(model: Path) -> None:
    everything = Own(config_of(model)).find(_images(), [()] * 3)
    assert Own(config_of(model, batch_size=1)).find(_images(), [()] * 3) == [
        Own(config_of(model)).find([image], [()])[0] for image in _images()
    ]
    scores = sorted((one.score for image in everything for one in image), reverse=True)
    floor = scores[len(scores) // 2]
    sure = Own(config_of(model, floor=floor)).find(_images(), [()] * 3)
    assert [len(image) for image in sure] == [
        sum(one.score >= floor for one in image) for image in everything
    ]
    few = Own(config_of(model, most=2)).find(_images(), [()] * 3)
    assert all(len(image) <= 2 for image in few)
    assert Own(config_of(model)).find([], []) == []


def test_in_bfloat16(model: Path) -> None:
    found = Own(config_of(model, dtype="bfloat16")).find(_images(), [()] * 3)
    assert all(np.isfinite([*one.box_xyxy, one.score]).all() for image in found for one in image)
    assert found != Own(config_of(model)).find(_images(), [()] * 3)


def test_by_prototypes_a_score_is_of_thing_and_name(tmp_path: Path) -> None:
    """And nothing below the floor is told, which the name's probability may bring a thing to."""
    model = export_named(tmp_path / "model")
    everything = Own(config_of(model, namer="prototypes")).find(_images(), [()] * 3)
    assert {one.name for image in everything for one in image} <= set(CONCEPTS)
    written = Own(config_of(model, namer="t5")).find(_images(), [()] * 3)
    assert [len(image) for image in written] == [len(image) for image in everything]
    assert written[0][0].score > everything[0][0].score
    floor = everything[0][1].score
    some = Own(config_of(model, namer="prototypes", floor=floor)).find(_images(), [()] * 3)
    assert some[0] == [one for one in everything[0] if one.score >= floor]


def test_a_namer_that_the_model_has_not(model: Path) -> None:
    with pytest.raises(
        ValueError, match=r"regions\.detectors: the model has no prototypes"
    ) as error:
        Own(config_of(model, namer="prototypes"))
    assert "\n" not in str(error.value)


def test_its_name_and_revision_hold_no_path(model: Path, tmp_path: Path) -> None:
    digest = FileStamp.of(model / "model.safetensors").sha256
    finder = Own(config_of(model, revision=digest[:16]))
    assert (finder.name, finder.revision) == ("opendet", folder_digest(model))
    (tmp_path / "cells").symlink_to(model)
    assert Own(config_of(tmp_path / "cells")).name == "opendet", "the folder that is meant"
    assert Own(config_of(export(tmp_path / "cells-v2"))).name == "cells-v2"


def _broken(tmp_path: Path, kind: str, model: Path) -> OwnConfig:
    if kind == "empty":
        return config_of(Path())
    if kind == "gone":
        return config_of(tmp_path / "gone")
    if kind == "nothing":
        return config_of(tmp_path)
    if kind == "pin":
        return config_of(model, revision="0123456789ab")
    return config_of(model, device="cuda")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("empty", "holds no model"),
        ("gone", "there is no folder"),
        ("nothing", "holds no model"),
        ("pin", "not the revision 0123456789ab"),
        ("gpu", "GPU"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    tmp_path: Path, model: Path, kind: str, says: str
) -> None:
    if kind == "gpu" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match=r"regions\.detectors") as error:
        Own(_broken(tmp_path, kind, model))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_no_model_named() -> None:
    with pytest.raises(ValueError, match="there is no folder ''"):
        Own(OwnConfig())


def test_numbers_that_are_none(tmp_path: Path) -> None:
    """A NaN is above no threshold: without a check it would be an image without objects."""
    tensors = {name: tensor.clone() for name, tensor in own_tensors(build_detector()).items()}
    for name, tensor in tensors.items():
        if name.startswith("decoder."):
            tensor.fill_(torch.nan)
    finder = Own(config_of(export(tmp_path / "nan", tensors)))
    with pytest.raises(ValueError, match="no numbers"):
        finder.find(_images(), [()] * 3)
