"""Detectors of fixed classes, through the path that a user's checkpoint takes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tiny_closed_set import (
    NAMES,
    save_tiny_deformable_detr,
    save_tiny_detr,
    save_tiny_rt_detr,
    save_torchvision,
)
from transformers import pipeline

from opendet.annotators.closed_set import ClosedSet, ClosedSetConfig
from opendet.annotators.detection import Found

MOBILENET = "fasterrcnn_mobilenet_v3_large_fpn"
SAVERS = {
    "detr": save_tiny_detr,
    "deformable_detr": save_tiny_deformable_detr,
    "rt_detr": save_tiny_rt_detr,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: the DETR family's folders, and torchvision's file."""
    folder = tmp_path_factory.mktemp("models")
    for family, save in SAVERS.items():
        save(folder / family)
    save_torchvision(folder / "faster.safetensors", MOBILENET)
    return folder


def detr(folder: Path, **knobs: object) -> ClosedSet:
    return ClosedSet(ClosedSetConfig(model=str(folder), device="cpu", **{"floor": 0.0, **knobs}))


def torchvision(model: Path | str, **knobs: object) -> ClosedSet:
    told = {"architecture": MOBILENET, "class_names": ("", *NAMES), "shortest_side": 48, **knobs}
    return ClosedSet(ClosedSetConfig(model=str(model), device="cpu", **told))


def pictures(count: int = 3) -> list[Image.Image]:
    """Noise, of two sizes in turn."""
    rng = np.random.default_rng(0)
    shapes = [(60, 90, 3), (70, 40, 3)]
    return [Image.fromarray(rng.integers(0, 256, shapes[n % 2], np.uint8)) for n in range(count)]


def find(detector: ClosedSet, images: list[Image.Image]) -> list[list[Found]]:
    return detector.find(images, [("whatever",)] * len(images))


def in_order(found: list[Found], image: Image.Image) -> None:
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        x0, y0, x1, y1 = one.box_xyxy
        assert min(x0, y0, image.width - x1, image.height - y1, x1 - x0, y1 - y0) >= 0
        assert (0 <= one.score <= 1, one.mask) == (True, "")


def near(one: Found, box: dict[str, int], image: Image.Image) -> bool:
    """To the pixel, as the pipeline rounds its boxes, and does not clip them."""
    corners = np.array([box["xmin"], box["ymin"], box["xmax"], box["ymax"]])
    limits = [image.width, image.height] * 2
    return bool((np.abs(corners.clip(0, limits) - one.box_xyxy) <= 1.01).all())


def alike(first: list[Found], second: list[Found]) -> None:
    """The same things, but for the last digits."""
    assert [one.name for one in first] == [one.name for one in second]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose((*a.box_xyxy, a.score), (*b.box_xyxy, b.score), atol=1e-2)


@pytest.mark.parametrize("family", SAVERS)
def test_the_detr_family_finds_what_transformers_own_pipeline_finds(
    models: Path, family: str
) -> None:
    detector, images = detr(models / family, most=100), pictures(2)
    own = pipeline("object-detection", model=str(models / family), device="cpu")
    for image, things in zip(images, find(detector, images), strict=True):
        in_order(things, image)
        said = own(image, threshold=0.0)
        # the pipeline keeps boxes without area, at the border, that are left out here
        assert 0 < len(things) <= len(said)
        for one in things:
            same = [
                x for x in said if x["label"] == one.name and abs(x["score"] - one.score) < 1e-4
            ]
            assert any(near(one, x["box"], image) for x in same)
    assert (detector.name, len(detector.revision)) == (family, 12)


def test_a_query_that_is_told_its_box_says_it_in_the_images_pixels(tmp_path: Path) -> None:
    """All weights of the heads are nothing, so that their biases alone speak."""
    folder = save_tiny_detr(tmp_path / "told")
    weights = load_file(folder / "model.safetensors")
    for key, tensor in weights.items():
        if key.startswith(("class_labels_classifier", "bbox_predictor.layers.2")):
            tensor.zero_()
            if key.endswith("classifier.bias"):
                tensor.copy_(torch.tensor([0.0, 2.0, 0.0, 1.0]))  # the last: nothing
            elif key.endswith("bias"):
                tensor.copy_(torch.logit(torch.tensor([0.5, 0.25, 0.4, 0.2])))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    [found] = find(detr(folder, most=5), [Image.new("RGB", (200, 100))])
    sure = float(np.exp(2) / (2 + np.exp(1) + np.exp(2)))
    assert len(found) == 5
    for one in found:
        assert one.name == "dog"
        np.testing.assert_allclose(one.box_xyxy, (60, 15, 140, 35), atol=1e-3)
        assert one.score == pytest.approx(sure, abs=1e-5)


def test_faster_rcnn_finds_what_torchvisions_own_model_finds(models: Path) -> None:
    from torchvision.models import detection
    from torchvision.transforms.functional import to_tensor

    knobs = {"min_size": 48, "box_score_thresh": 0.1, "box_nms_thresh": 0.5}
    own = detection.fasterrcnn_mobilenet_v3_large_fpn(
        weights=None, weights_backbone=None, num_classes=4, box_detections_per_img=20, **knobs
    ).eval()
    own.load_state_dict(load_file(models / "faster.safetensors"))
    detector = torchvision(models / "faster.safetensors", floor=0.1, most=20, nms_iou=0.5)
    for image, things in zip(pictures(), find(detector, pictures()), strict=True):
        in_order(things, image)
        with torch.inference_mode():
            [said] = own([to_tensor(image)])
        names = [("", *NAMES)[label] for label in said["labels"].tolist()]
        boxes = [tuple(box) for box in said["boxes"].tolist()]
        rows = zip(boxes, names, said["scores"].tolist(), strict=True)
        alike(things, [Found(box, name, score, "") for box, name, score in rows])
        assert things
    assert (detector.name, len(detector.revision)) == ("faster", 12)


@pytest.mark.parametrize("architecture", ["retinanet_resnet50_fpn", "fcos_resnet50_fpn"])
def test_one_stage_detectors_say_the_class_that_their_bias_favours(
    tmp_path: Path, architecture: str
) -> None:
    file = save_torchvision(
        tmp_path / "one-stage" / "model.safetensors",
        architecture,
        outputs=3,
        **{"head.classification_head.cls_logits.weight": 0},
    )
    weights = load_file(file)
    bias = weights["head.classification_head.cls_logits.bias"]
    bias.copy_(torch.tensor([-9.0, 1.0, -9.0]).repeat(len(bias) // 3))  # class after class
    save_file(weights, file)
    told = {"architecture": architecture, "class_names": NAMES, "most": 7}
    detector = torchvision(file.parent, **told)
    [found] = find(detector, pictures(1))
    in_order(found, pictures(1)[0])
    assert {one.name for one in found} == {"dog"}
    assert 1 <= len(found) <= 7
    assert detector.name == "one-stage"


def test_an_answer_does_not_hang_on_what_else_is_in_the_batch(models: Path) -> None:
    images = pictures(4)
    for alone, batched in (
        (detr(models / "rt_detr", batch_size=1), detr(models / "rt_detr", batch_size=4)),
        (
            torchvision(models / "faster.safetensors", batch_size=1),
            torchvision(models / "faster.safetensors", batch_size=4),
        ),
    ):
        for one, other in zip(find(alone, images), find(batched, images), strict=True):
            assert len(one) == len(other) > 0
            np.testing.assert_allclose([x.score for x in one], [x.score for x in other], atol=1e-4)
        assert alone.find([], []) == []


def test_proposals_have_no_name_and_unused_classes_no_boxes(models: Path, tmp_path: Path) -> None:
    file, images = models / "faster.safetensors", pictures(1)
    [named] = find(torchvision(file), images)
    [nameless] = find(torchvision(file, class_agnostic=True, class_names=()), images)
    assert {one.name for one in named} == set(NAMES)
    assert [(one.box_xyxy, one.score) for one in nameless] == [
        (one.box_xyxy, one.score) for one in named
    ]
    assert {one.name for one in nameless} == {""}
    [cats] = find(torchvision(file, class_names=("__background__", "cat", "N/A", "")), images)
    assert cats == [one for one in named if one.name == "cat"]
    unused = save_tiny_detr(tmp_path / "unused", id2label={0: "N/A", 1: "N/A", 2: "N/A"})
    assert find(detr(unused), images) == [[]]


def test_class_names_from_a_file_are_part_of_the_revision(models: Path, tmp_path: Path) -> None:
    listed = tmp_path / "names.txt"
    listed.write_text("cat\n\nsofa\n", "utf-8")
    own, told = detr(models / "detr"), detr(models / "detr", class_names_file=listed)
    assert told.revision.startswith(own.revision + "+")
    found = [one for one in find(own, pictures(1))[0] if one.name != "dog"]
    assert find(told, pictures(1)) == [found]
    listed.write_text("cat\n\ncouch\n", "utf-8")
    assert detr(models / "detr", class_names_file=listed).revision != told.revision


def test_floor_and_most_bound_what_is_remembered(models: Path) -> None:
    for make in (
        lambda **knobs: detr(models / "deformable_detr", **knobs),
        lambda **knobs: detr(models / "rt_detr", **knobs),
    ):
        [found] = find(make(floor=0.0, most=150), pictures(1))
        assert len(find(make(floor=0.0, most=3), pictures(1))[0]) == 3
        between = (found[0].score + found[-1].score) / 2
        [sure] = find(make(floor=between, most=150), pictures(1))
        assert 0 < len(sure) < len(found)
        assert min(one.score for one in sure) >= between


def test_narrow_numbers_say_about_the_same(models: Path) -> None:
    [wide] = find(detr(models / "detr"), pictures(1))
    [narrow] = find(detr(models / "detr", dtype="bfloat16"), pictures(1))
    assert abs(wide[0].score - narrow[0].score) < 0.05
    [found] = find(torchvision(models / "faster.safetensors", dtype="bfloat16"), pictures(1))
    assert found


def test_numbers_that_are_none_are_one_clear_line(models: Path, tmp_path: Path) -> None:
    head, rpn = "roi_heads.box_predictor.bbox_pred.bias", "rpn.head.cls_logits.weight"
    weights = load_file(models / "faster.safetensors")
    for key in (head, rpn):
        file = tmp_path / f"{key}.safetensors"
        save_file({**weights, key: torch.full_like(weights[key], float("nan"))}, file)
        with pytest.raises(ValueError, match="is no number: its weights are damaged"):
            find(torchvision(file), pictures(1))
    folder = save_tiny_detr(tmp_path / "damaged")
    weights = load_file(folder / "model.safetensors")
    weights["class_labels_classifier.bias"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="is no number: its weights are damaged"):
        find(detr(folder), pictures(1))


def refusal(make: object) -> str:
    with pytest.raises(ValueError, match=r"^regions\.detectors") as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_of_torchvision_that_do_not_fit_are_one_clear_line(
    models: Path, tmp_path: Path
) -> None:
    file = models / "faster.safetensors"
    (tmp_path / "pickled.pth").write_bytes(b"no")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    cases = {
        "is empty: name a .safetensors file": lambda: torchvision(""),
        "there is no file": lambda: torchvision(tmp_path / "absent.safetensors"),
        "model.safetensors": lambda: torchvision(tmp_path),
        "no other kind is read": lambda: torchvision(tmp_path / "pickled.pth"),
        "it is no .safetensors file": lambda: torchvision(tmp_path / "broken.safetensors"),
        "lack head.classification_head": lambda: torchvision(
            file, architecture="fcos_resnet50_fpn"
        ),
        "Error(s) in loading": lambda: torchvision(file, architecture="fasterrcnn_resnet50_fpn"),
        "lists 3: list one for each": lambda: torchvision(file, class_names=NAMES),
        "is the background": lambda: torchvision(file, class_names=(*NAMES, "")),
        "does not say what its 4 classes": lambda: torchvision(file, class_names=()),
        "cannot read class_names_file": lambda: torchvision(
            file, class_names=(), class_names_file=tmp_path / "absent.txt"
        ),
    }
    for words, make in cases.items():
        assert words in refusal(make)


def test_checkpoints_that_are_no_detectors_are_one_clear_line(models: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel, DetrModel

    bare = save_tiny_detr(tmp_path / "bare")
    DetrModel.from_pretrained(bare).save_pretrained(bare)
    text = tmp_path / "text"
    BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(text)
    blind = save_tiny_detr(tmp_path / "blind")
    (blind / "preprocessor_config.json").unlink()
    mute = save_tiny_detr(tmp_path / "mute", id2label={n: f"LABEL_{n}" for n in range(3)})
    cases = {
        "is empty": "",
        "there is no folder": str(tmp_path / "absent"),
        "its weights lack": str(bare),
        "BertConfig": str(text),
        "image processor": str(blind),
        "does not say what its 3 classes": str(mute),
    }
    for words, model in cases.items():
        assert words in refusal(lambda model=model: ClosedSet(ClosedSetConfig(model=model)))
    assert "lists 2" in refusal(lambda: detr(models / "detr", class_names=("cat", "dog")))
    renamed = detr(mute, class_names=("a", "b", "c"))
    assert {one.name for one in find(renamed, pictures(1))[0]} <= {"a", "b", "c"}


def test_knobs_that_do_not_go_together_are_errors() -> None:
    for knobs, words in (
        ({"class_names": ("a",), "class_names_file": "b.txt"}, "not both"),
        ({"shortest_side": 64}, "of torchvision's architectures only"),
        ({"architecture": "yolo"}, "fasterrcnn_resnet50_fpn"),
        ({"nms": 0.5}, "nms"),
    ):
        with pytest.raises(ValidationError, match=words):
            ClosedSetConfig.model_validate(knobs)
    plain = ClosedSetConfig(model="x")
    assert ClosedSetConfig.model_validate(plain.model_dump()) == plain
