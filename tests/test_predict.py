"""Detecting: thresholds before names, pixels of the given image, an image alone as in a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from PIL import Image

from opendet.detections import Detections
from opendet.draw import colour_of, draw_detections
from opendet.model.vocabulary import Vocabulary, write_vocabulary
from opendet.predict import Detector
from opendet.predict_config import PredictConfig
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.model.naming_worlds import CONCEPTS, export_named
from tests.model.worlds import TINY_DETECTOR, build_detector

SIZES = [(64, 48), (40, 90), (33, 33)]
ALL = PredictConfig(score_threshold=0.0, device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict") / "model"
    detector = build_detector()
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(folder, detector, own_tensors(detector), resize=resize, training={})
    return folder


def _images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


def test_each_image_has_boxes_in_its_own_pixels_and_names(model: Path) -> None:
    found = Detector.load(model, ALL).detect(_images())
    assert len(found) == len(SIZES)
    for one, (width, height) in zip(found, SIZES, strict=True):
        assert len(one) > 0
        assert one.boxes_xyxy.shape == (len(one), 4)
        assert (one.boxes_xyxy >= 0).all()
        assert (one.boxes_xyxy[:, 2:] <= torch.tensor([width, height])).all()
        assert (one.scores.diff() <= 0).all()
        assert [len(beams) for beams in one.names] == [2] * len(one)
        assert one.prompts is not None
        assert torch.allclose(one.prompts.norm(dim=-1), torch.ones(len(one)))


def test_a_larger_picture_gives_larger_boxes(model: Path) -> None:
    """The picture doubled has its boxes doubled: they are pixels of what was given."""
    small = Image.new("RGB", (64, 32), "navy")
    small.paste("white", (10, 8, 30, 24))
    double = small.resize((128, 64), Image.Resampling.NEAREST)
    one, two = Detector.load(model, ALL).detect([small, double])
    assert two.boxes_xyxy.max() > 1.5 * one.boxes_xyxy.max()


def test_alone_as_in_a_batch(model: Path) -> None:
    detector = Detector.load(model, ALL)
    together = detector.detect(_images())
    for image, one in zip(_images(), together, strict=True):
        (alone,) = detector.detect([image])
        assert torch.allclose(alone.scores, one.scores, atol=1e-5)
        assert torch.allclose(alone.boxes_xyxy, one.boxes_xyxy, atol=1e-2)
        assert alone.names == one.names


def test_queries_that_only_fill_up_a_batch_are_no_objects(tmp_path: Path) -> None:
    """A small image has fewer tokens than its neighbours have queries."""
    detector = build_detector(
        TINY_DETECTOR.model_copy(update={"queries": 100, "selection": "topk"})
    )
    resize = Resize(shortest=64, longest=256, multiple=32)
    export_model(tmp_path, detector, own_tensors(detector), resize=resize, training={})
    asked = Detector.load(tmp_path, ALL.model_copy(update={"beams": 1}))
    together = [len(one) for one in asked.detect(_images())]
    assert together == [len(asked.detect([image])[0]) for image in _images()]
    assert len(set(together)) > 1, "they have not as many tokens"


def test_only_what_is_kept_is_named(model: Path) -> None:
    some = Detector.load(model, ALL.model_copy(update={"max_objects": 2, "beams": 1}))
    named: list[int] = []
    namer: Any = some.network.namer
    ask = namer.name_scored
    namer.name_scored = lambda prompts, beams: named.append(len(prompts)) or ask(prompts, beams)  # type: ignore[func-returns-value]
    found = some.detect(_images())
    assert [len(one) for one in found] == [2, 2, 2]
    assert sum(named) == 6
    everything = Detector.load(model, ALL).detect(_images())
    assert torch.equal(found[0].scores, everything[0].scores[:2])


def test_nothing_found_and_nothing_asked(model: Path) -> None:
    detector = Detector.load(model, ALL.model_copy(update={"score_threshold": 1.0}))
    found = detector.detect(_images())
    assert [len(one) for one in found] == [0, 0, 0]
    assert found[0].boxes_xyxy.shape == (0, 4)
    assert found[0].names == []
    assert detector.detect([]) == []


def test_pictures_of_any_mode(model: Path) -> None:
    detector = Detector.load(model, ALL)
    grey = Image.new("L", (40, 30), 90)
    rgb, same = detector.detect([grey.convert("RGB"), grey])
    assert torch.equal(rgb.boxes_xyxy, same.boxes_xyxy)


def test_naming_in_pieces_changes_no_name(model: Path) -> None:
    whole = Detector.load(model, ALL).detect(_images())
    pieces = Detector.load(model, ALL.model_copy(update={"naming_batch": 3})).detect(_images())
    assert [one.names for one in whole] == [one.names for one in pieces]


@pytest.fixture(scope="module")
def versatile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a T5 and prototypes, whose names were CLIP `abc`'s."""
    return export_named(tmp_path_factory.mktemp("versatile") / "model", clip="abc a {name}")


def asked(**told: Any) -> PredictConfig:
    return PredictConfig.model_validate({"score_threshold": 0.0, "device": "cpu", **told})


def words(*names: str, tower: str = "abc", width: int = 4) -> Vocabulary:
    rows = torch.randn(len(names), width, generator=torch.Generator().manual_seed(0))
    return Vocabulary(names, torch.nn.functional.normalize(rows, dim=1), tower, "a {name}")


def test_prototypes_need_no_text_encoder(versatile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No T5 is built, none of its weights is read, and none is in memory."""
    read: list[str] = []

    class Opened:
        def __init__(self, *told: Any, **more: Any) -> None:
            self.file = safetensors.safe_open(*told, **more)

        def __enter__(self) -> "Opened":
            self.file.__enter__()
            return self

        def __exit__(self, *told: object) -> None:
            self.file.__exit__(*told)

        def keys(self) -> list[str]:
            return list(self.file.keys())

        def get_tensor(self, name: str) -> torch.Tensor:
            read.append(name)
            tensor: torch.Tensor = self.file.get_tensor(name)
            return tensor

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a T5 was built")

    monkeypatch.setattr("opendet.train.export.safe_open", Opened)
    monkeypatch.setattr("opendet.model.saved_namer.T5Namer.empty", refuse)
    detector = Detector.load(versatile, asked(namer="prototypes"))
    assert read
    assert not [name for name in read if name.startswith("namer.")]
    network = detector.network
    assert not [name for name, _ in network.named_parameters() if name.startswith("namer.")]
    assert not [one for one in network.modules() if type(one).__module__.startswith("transformers")]
    found = detector.detect(_images())
    assert {name for one in found for own in one.names for name in own} <= set(CONCEPTS)
    assert all(one.prompts is None for one in found), "nor is a prompt read"
    assert (versatile / "model.safetensors").stat().st_size > sum(
        parameter.nbytes for parameter in network.parameters()
    )
    with pytest.raises(AssertionError, match="a T5 was built"):
        Detector.load(versatile, asked(namer="t5"))


def test_every_namer_finds_the_same_things(versatile: Path) -> None:
    """One checkpoint; what names does not move a box, and only joins the score."""
    loaded = {
        namer: Detector.load(versatile, asked(namer=namer)).detect(_images())
        for namer in ("t5", "prototypes", "cascade")
    }
    loaded["object"] = Detector.load(versatile, asked(namer="prototypes", score="object")).detect(
        _images()
    )
    given = Detector.load(versatile, asked(namer="vocabulary"), vocabulary=words("cat", "dog"))
    loaded["vocabulary"] = given.detect(_images())
    for namer, found in loaded.items():
        for one, theirs in zip(found, loaded["t5"], strict=True):
            boxes = sorted(map(tuple, one.boxes_xyxy.tolist()))
            assert boxes == sorted(map(tuple, theirs.boxes_xyxy.tolist()))
            assert (one.scores.diff() <= 0).all()
            if namer in ("cascade", "object"):
                assert torch.equal(one.scores, theirs.scores)
            elif namer == "prototypes":
                assert (one.scores < theirs.scores).all(), "a name is never certain"


def test_a_cascade_is_as_sure_as_at_clip_s_temperature(versatile: Path) -> None:
    """At the head's own, .07, no prototype's name is likely enough here, and the T5 wrote all."""

    def found(**told: Any) -> dict[tuple[float, ...], tuple[str, float]]:
        """Of each box its first name and its score."""
        seen = Detector.load(versatile, asked(**told)).detect(_images())
        return {
            tuple(box.tolist()): (names[0], float(score))
            for one in seen
            for box, names, score in zip(one.boxes_xyxy, one.names, one.scores, strict=True)
        }

    named, plain = found(namer="prototypes"), found(namer="prototypes", score="object")
    surest = max(named[box][1] / plain[box][1] for box in plain)
    cascade, written = (found(namer=name, unsure_below=surest) for name in ("cascade", "t5"))
    sure = {box for box in cascade if cascade[box][0] != written[box][0]}
    assert sure
    assert all(cascade[box][0] == plain[box][0] for box in sure)


def test_a_score_is_of_the_object_times_that_of_its_name(versatile: Path) -> None:
    (image,) = _images()[:1]
    detector = Detector.load(versatile, asked(namer="prototypes", max_objects=1))
    (one,) = detector.detect([image])
    (plain,) = Detector.load(
        versatile, asked(namer="prototypes", max_objects=1, score="object")
    ).detect([image])
    assert one.names == plain.names
    output = detector.network(*_batch(detector, image))
    head = detector.network.prototypes
    assert head is not None
    query = output.scores()[0].argmax()
    weights = head(output.queries[0, query][None]).weights[0].detach()
    likely = sum(float(weights[i]) for i, name in enumerate(CONCEPTS) if name == one.names[0][0])
    assert float(one.scores[0]) == pytest.approx(float(plain.scores[0]) * likely, rel=1e-4)


def _batch(detector: Detector, image: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    batch = detector._prepare([image])
    return batch.images, batch.sizes_hw


def test_names_without_vectors_are_those_of_prototypes(versatile: Path) -> None:
    found = Detector.load(versatile, asked(names=("disc",))).detect(_images())
    assert {name for one in found for own in one.names for name in own} == {"disc"}


def test_a_vocabulary_of_a_file_and_a_part_of_it(versatile: Path, tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "words", words("cat", "dog", "cow"))
    config = asked(vocabulary=tmp_path / "words", names=("dog", "cow"))
    found = Detector.load(versatile, config).detect(_images())
    assert {name for one in found for own in one.names for name in own} == {"dog", "cow"}


def test_pieces_and_batches_change_no_name_of_any_namer(versatile: Path) -> None:
    for namer in ("prototypes", "cascade"):
        told = {"namer": namer, "unsure_below": 0.5}
        whole = Detector.load(versatile, asked(**told)).detect(_images())
        pieces = Detector.load(versatile, asked(**told, naming_batch=3, batch_size=1))
        assert [one.names for one in whole] == [one.names for one in pieces.detect(_images())]


@pytest.mark.parametrize(
    ("parts", "told", "vocabulary", "says"),
    [
        ({"t5": False}, {"namer": "t5"}, None, "the model has no T5"),
        ({"t5": False}, {"namer": "cascade"}, None, "the model has no T5"),
        ({"prototypes": False}, {"namer": "prototypes"}, None, "has no prototypes to name by"),
        ({"prototypes": False}, {"namer": "cascade"}, None, "has no prototypes to name by"),
        ({"prototypes": False}, {"names": ("cat",)}, None, "text vectors are missing"),
        ({"prototypes": False, "t5": False}, {}, None, "has no prototypes to name by"),
        ({}, {"namer": "vocabulary"}, None, "text vectors are missing"),
        ({}, {"names": ("cat", "star")}, None, r"no prototype of 'cat' \(1 of 2"),
        ({}, {"names": ("emu",)}, words("cat"), "the vocabulary lacks 'emu'"),
        ({}, {}, words("cat", width=5), "5 wide, the model compares 4 by its prototypes"),
        ({}, {"vocabulary_by": "prompts"}, words("cat"), "4 wide, the model compares 32"),
        ({}, {}, words("cat", tower="xyz"), "text tower xyz, the model was trained with abc"),
    ],
)
def test_what_a_model_cannot_do(
    tmp_path: Path,
    parts: dict[str, bool],
    told: dict[str, Any],
    vocabulary: Vocabulary | None,
    says: str,
) -> None:
    folder = export_named(tmp_path / "model", clip="abc a {name}", **parts)
    with pytest.raises(ValueError, match=says) as error:
        Detector.load(folder, asked(**told), vocabulary=vocabulary)
    assert "\n" not in str(error.value)


def test_a_model_without_a_t5_names_by_its_prototypes(tmp_path: Path) -> None:
    folder = export_named(tmp_path / "model", t5=False)
    found = Detector.load(folder, asked()).detect(_images())
    assert {name for one in found for own in one.names for name in own} <= set(CONCEPTS)


@pytest.mark.parametrize(
    "told",
    [
        {"namer": "t5", "names": ("cat",)},
        {"namer": "cascade", "vocabulary": "words"},
        {"namer": "prototypes", "vocabulary": "words"},
    ],
)
def test_a_list_that_nobody_would_read(told: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"namer {told['namer']}"):
        asked(**told)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_broken_folder_says_so_in_one_line(model: Path, tmp_path: Path, file: str) -> None:
    with pytest.raises(ValueError, match="holds no model") as error:
        Detector.load(tmp_path)
    assert "\n" not in str(error.value)
    for path in model.iterdir():
        if path.name != "namer":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / file).write_bytes((model / file).read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged") as error:
        Detector.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_drawing_shows_the_box_and_leaves_the_picture() -> None:
    image = Image.new("RGB", (600, 360), "white")
    boxes = torch.tensor([[150.0, 120.0, 360.0, 300.0], [3.0, 3.0, 594.0, 354.0]])
    found = Detections(boxes, torch.tensor([0.9, 0.1]), [["red star"], ["disc"]], torch.zeros(2, 8))
    drawn = draw_detections(image, found, min_score=0.5)
    assert drawn.getpixel((150, 297)) == colour_of("red star")
    assert drawn.getpixel((3, 180)) == (255, 255, 255), "below the score: not drawn"
    assert image.getextrema() == ((255, 255),) * 3
    assert draw_detections(image, found).getpixel((3, 180)) == colour_of("disc")


@pytest.mark.parametrize("size", [(8, 8), (3000, 10)])
def test_labels_fit_in_no_space(size: tuple[int, int]) -> None:
    boxes = torch.tensor([[0.0, 0.0, float(size[0]), float(size[1])]])
    found = Detections(boxes, torch.tensor([0.9]), [["a very long name " * 9]], torch.zeros(1, 8))
    drawn = draw_detections(Image.new("RGB", size), found)
    assert drawn.size == ((512, 512) if size == (8, 8) else size), "small ones are enlarged"
