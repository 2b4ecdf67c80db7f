"""SAM 3's concepts as a finder, through the path that a user's checkpoint takes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from faster_coco_eval.core.mask import decode
from PIL import Image
from safetensors.torch import load_file
from tiny_llava import save_tiny_llava
from tiny_sam import save_tiny_sam3, save_tiny_sam3_video
from transformers import Sam3Model, Sam3Processor

from opendet.annotators.concepts import Concepts, ConceptsConfig
from opendet.annotators.detection import Found
from opendet.annotators.weights import folder_digest

NAMES = ("red dog", "a blue square", "zebra")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam3(tmp_path_factory.mktemp("models") / "tiny-sam3")


def config(checkpoint: Path | str, **knobs: object) -> ConceptsConfig:
    return ConceptsConfig.model_validate(
        {"model": str(checkpoint), "device": "cpu", "floor": 0.0, **knobs}
    )


def photos(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sides = rng.integers(40, 90, (count, 2))
    return [Image.fromarray(rng.integers(0, 256, (int(h), int(w), 3), np.uint8)) for w, h in sides]


def same(found: list[Found], others: list[Found]) -> None:
    """Equal but for a batch's rounding, which may change the places of equal scores."""
    assert len(found) == len(others)
    key = lambda one: (one.name, round(one.box_xyxy[0], 2), round(one.box_xyxy[1], 2))  # noqa: E731
    for one, other in zip(sorted(found, key=key), sorted(others, key=key), strict=True):
        assert one.name == other.name
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.box_xyxy == pytest.approx(other.box_xyxy, abs=1e-2)
        assert bool(one.mask) == bool(other.mask)


def test_instances_are_those_of_the_librarys_own_reader(checkpoint: Path) -> None:
    [photo] = photos(1)
    processor = Sam3Processor.from_pretrained(checkpoint)
    model = Sam3Model.from_pretrained(checkpoint).eval()
    finder = Concepts(config(checkpoint, floor=0.2))
    [found] = finder.find([photo], [NAMES])
    size_hw = photo.height, photo.width
    answers = []
    for name in NAMES:
        inputs = processor(images=photo, text=name, return_tensors="pt")
        inputs.pop("original_sizes")
        with torch.inference_mode():
            seen = model(**inputs)
        [read] = processor.post_process_instance_segmentation(
            seen, threshold=0.2, target_sizes=[size_hw]
        )
        mine = sorted((one for one in found if one.name == name), key=lambda one: -one.score)
        order = read["scores"].argsort(descending=True, stable=True)
        assert len(mine) == len(order)
        answers.append([round(one.score, 4) for one in mine])
        for one, row in zip(mine, order.tolist(), strict=True):
            assert one.score == pytest.approx(float(read["scores"][row]), abs=1e-5)
            inside = np.clip(read["boxes"][row].numpy(), 0, [*size_hw[::-1]] * 2)
            assert one.box_xyxy == pytest.approx(inside.tolist(), abs=1e-2)
            drawn = read["masks"][row].numpy().astype(bool)
            mine_drawn = decode({"size": list(size_hw), "counts": one.mask}) if one.mask else 0
            assert np.mean(drawn ^ np.asarray(mine_drawn, bool)) <= 0.002
    assert sum(map(len, answers)) > 3
    assert len(set(map(tuple, answers))) == 3  # a name makes a difference
    assert any(one.mask for one in found)


def test_answers_do_not_hang_on_what_is_asked_beside_them(checkpoint: Path) -> None:
    images = photos(3)
    names = [NAMES, (), NAMES[:1]]
    together = Concepts(config(checkpoint, batch_size=2, names_per_call=2)).find(images, names)
    alone = Concepts(config(checkpoint, batch_size=1, names_per_call=1))
    for image, wanted, found in zip(images, names, together, strict=True):
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        [expected] = alone.find([image], [wanted])
        same(found, expected)
    assert len(together[0]) == 3 * 7
    assert together[1] == []
    assert [one.name for one in together[2]] == ["red dog"] * 7
    assert alone.find([], []) == []


def test_an_image_is_looked_at_once_and_an_unasked_one_never(checkpoint: Path) -> None:
    finder = Concepts(config(checkpoint, batch_size=4, names_per_call=1))
    seen: list[int] = []
    finder._model.vision_encoder.register_forward_hook(
        lambda _module, _inputs, outputs: seen.append(len(outputs.fpn_hidden_states[0]))
    )
    finder.find(photos(3), [NAMES, (), NAMES])
    assert seen == [2]


def test_boxes_lie_in_the_image_and_only_the_surest_are_remembered(checkpoint: Path) -> None:
    images = photos(4)
    for image, found in zip(
        images, Concepts(config(checkpoint, most=5)).find(images, [NAMES] * 4), strict=True
    ):
        assert len(found) == 5
        for one in found:
            x0, y0, x1, y1 = one.box_xyxy
            assert 0 <= x0 < x1 <= image.width
            assert 0 <= y0 < y1 <= image.height
            assert 0 <= one.score <= 1
    [everything] = Concepts(config(checkpoint)).find(images[:1], [NAMES])
    floor = everything[10].score
    [sure] = Concepts(config(checkpoint, floor=floor)).find(images[:1], [NAMES])
    assert sure == everything[:11]


def test_a_name_longer_than_the_model_reads_is_asked_in_part(checkpoint: Path) -> None:
    [found] = Concepts(config(checkpoint)).find(photos(1), [("a very long name " * 20,)])
    assert len(found) == 7


def test_a_score_that_is_no_number_is_one_clear_line(checkpoint: Path) -> None:
    finder = Concepts(config(checkpoint))
    with torch.no_grad():
        finder._model.detr_decoder.presence_head.layer3.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="no number") as caught:
        finder.find(photos(1), [NAMES])
    assert "\n" not in str(caught.value)


def test_sam3s_own_folder_gives_its_detector(tmp_path: Path) -> None:
    both = save_tiny_sam3_video(tmp_path / "sam3")
    finder = Concepts(config(both))
    weights = load_file(both / "model.safetensors")
    for name, weight in finder._model.detr_decoder.state_dict().items():
        assert torch.equal(weight, weights[f"detector_model.detr_decoder.{name}"])
    assert len(finder.find(photos(1), [NAMES])[0]) == 21


def test_a_model_that_cannot_be_loaded_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases = {
        "": "is empty: name a folder",
        "./no/such/folder": "no folder ./no/such/folder",
        str(tmp_path / "empty"): "cannot load",
        "nobody/has-this-model": "cannot load 'nobody/has-this-model'",
        str(save_tiny_llava(tmp_path / "llava")): "it is a llava, not one of sam3",
    }
    for model, words in cases.items():
        with pytest.raises(ValueError, match=r"^regions\.detectors") as caught:
            Concepts(config(model))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_provenance_holds_no_path(checkpoint: Path) -> None:
    finder = Concepts(config(checkpoint, dtype="bfloat16"))
    assert (finder.name, finder.revision) == ("tiny-sam3", folder_digest(checkpoint))
    [found] = finder.find(photos(1), [NAMES[:1]])
    assert len(found) > 0
