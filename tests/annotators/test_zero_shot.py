"""Zero-shot detectors of four classes, through the path that a user's checkpoint takes."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lacking import lacking
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tiny_detectors import save_tiny_grounding_dino, save_tiny_owl
from transformers import (
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
    BertTokenizer,
    CLIPConfig,
    DetrConfig,
)

from opendet.annotators import owl_queries
from opendet.annotators.detection import Found
from opendet.annotators.grounding_prompt import PromptWriter
from opendet.annotators.zero_shot import ZeroShot, ZeroShotConfig

OWLS, DINOS = ("owl-vit", "owl-v2"), ("grounding-dino", "mm-grounding-dino")
SAVERS: dict[str, Callable[[Path], Path]] = {
    "owl-vit": lambda folder: save_tiny_owl(folder, version=1),
    "owl-v2": lambda folder: save_tiny_owl(folder, version=2),
    "grounding-dino": lambda folder: save_tiny_grounding_dino(folder, mm=False),
    "mm-grounding-dino": lambda folder: save_tiny_grounding_dino(folder, mm=True),
}
NAMES = ("cat", "dog", "bird", "car")
BIAS = "box_head.dense2.bias"
Checkpoints = dict[str, Path]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    folder = tmp_path_factory.mktemp("models")
    return {kind: save(folder / kind) for kind, save in SAVERS.items()}


@cache
def load(folder: Path | str, **knobs: Any) -> ZeroShot:
    everything = {"floor": 0.0, "text_threshold": 0.0, "device": "cpu"}
    return ZeroShot(ZeroShotConfig(model=str(folder), **(everything | knobs)))


def images(*sizes: tuple[int, int]) -> list[Image.Image]:
    """Pictures of different content, in these widths and heights."""
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (6, 8, 3), np.uint8) for _ in sizes]
    return [Image.fromarray(one).resize(size) for one, size in zip(pixels, sizes, strict=True)]


def same(ours: Sequence[Found], theirs: Sequence[Found], tolerance: float) -> None:
    """Equal but for rounding, in any order."""
    assert len(ours) == len(theirs)

    def key(one: Found) -> tuple[Any, ...]:
        return (one.name, *(round(side, 2) for side in one.box_xyxy))

    for one, other in zip(sorted(ours, key=key), sorted(theirs, key=key), strict=True):
        assert one.name == other.name
        assert one.score == pytest.approx(other.score, abs=tolerance)
        assert one.box_xyxy == pytest.approx(other.box_xyxy, abs=tolerance * 100)


def clipped(result: dict[str, Any], labels: Sequence[str], image: Image.Image) -> list[Found]:
    """The library's answer, as ours are."""
    found = []
    boxes, scores = result["boxes"].tolist(), result["scores"].tolist()
    for (x0, y0, x1, y1), score, label in zip(boxes, scores, labels, strict=True):
        x0, x1 = max(x0, 0), min(x1, image.width)
        y0, y1 = max(y0, 0), min(y1, image.height)
        if x1 - x0 >= 1e-3 and y1 - y0 >= 1e-3:
            found.append(Found((x0, y0, x1, y1), label, score))
    return found


@pytest.mark.parametrize("kind", OWLS)
def test_an_owl_with_one_template_answers_as_the_library_does(
    kind: str, checkpoints: Checkpoints
) -> None:
    folder = checkpoints[kind]
    processor: Any = AutoProcessor.from_pretrained(folder)
    model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    shown = images((64, 48), (40, 90), (50, 50))
    texts = [[f"a photo of a {name}" for name in NAMES]] * len(shown)
    inputs = processor(text=texts, images=shown, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    results = processor.post_process_grounded_object_detection(
        outputs, threshold=0.0, target_sizes=[(one.height, one.width) for one in shown]
    )
    ours = load(folder, templates=("a photo of a {}",)).find(shown, [NAMES] * len(shown))
    assert {one.name for found in ours for one in found} > {"dog"}
    for found, result, image in zip(ours, results, shown, strict=True):
        labels = [NAMES[number] for number in result["labels"]]
        same(found, clipped(result, labels, image), 1e-5)
        assert [one.score for one in found] == sorted([one.score for one in found], reverse=True)


@pytest.mark.parametrize("kind", DINOS)
def test_a_grounding_dino_answers_as_the_library_does_where_names_are_one_token(
    kind: str, checkpoints: Checkpoints
) -> None:
    folder = checkpoints[kind]
    processor: Any = AutoProcessor.from_pretrained(folder)
    model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    [image] = images((64, 48))
    inputs = processor(text=[list(NAMES)], images=[image], return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    # tokens that belong to no name speak for none: the first, the last and the full stops
    places = [1 + 2 * number for number in range(len(NAMES))]
    spoken = torch.full_like(outputs.logits, float("-inf"))
    spoken[..., places] = outputs.logits[..., places]
    outputs.logits = spoken
    [result] = processor.post_process_grounded_object_detection(
        outputs, threshold=0.0, text_threshold=0.0, target_sizes=[(48, 64)]
    )
    labels = [NAMES[place // 2] for place in spoken[0].argmax(-1).tolist()]
    [found] = load(folder).find([image], [NAMES])
    same(found, clipped(result, labels, image), 1e-5)
    assert len({one.name for one in found}) > 1


@pytest.mark.parametrize("kind", DINOS)
def test_the_score_of_a_name_is_the_mean_of_its_tokens(kind: str, checkpoints: Checkpoints) -> None:
    folder = checkpoints[kind]
    processor: Any = AutoProcessor.from_pretrained(folder)
    model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    [image] = images((64, 48))
    text = "red wine glass. dog. x-ray machine."
    inputs = processor(text=text, images=image, return_tensors="pt")
    with torch.inference_mode():
        tokens = model(**inputs).logits[0].sigmoid()
    spans = {"red Wine glass": (1, 4), "dog": (5, 6), "X-ray machine": (7, 11)}
    means = torch.stack([tokens[:, slice(*span)].mean(1) for span in spans.values()], 1)
    scores, which = means.max(1)
    [found] = load(folder).find([image], [tuple(spans)])
    wanted = sorted(zip(scores.tolist(), [list(spans)[n] for n in which], strict=True))
    assert [one.name for one in reversed(found)] == [name for _, name in wanted]
    assert [one.score for one in reversed(found)] == pytest.approx([s for s, _ in wanted], abs=1e-5)


@pytest.mark.parametrize("kind", SAVERS)
def test_an_answer_does_not_hang_on_the_batch(kind: str, checkpoints: Checkpoints) -> None:
    shown = images((64, 48), (40, 90), (64, 48), (120, 60), (64, 48), (30, 30))
    asked = [NAMES, ("red dog", "Bird"), ("a traffic light!", *NAMES), (), ("cat",), NAMES]
    finder = load(checkpoints[kind], batch_size=6)
    together = finder.find(shown, asked)
    assert together[3] == []
    for image, names, found in zip(shown, asked, together, strict=True):
        [alone] = load(checkpoints[kind], batch_size=1).find([image], [names])
        same(found, alone, 1e-4)
        assert {one.name for one in found} <= set(names)
    assert finder.find([], []) == []
    assert finder.find(shown[:2], [(), ()]) == [[], []]


@pytest.mark.parametrize("kind", DINOS)
def test_padding_would_change_an_answer(kind: str, checkpoints: Checkpoints) -> None:
    """Why images of different sizes never share a batch."""
    processor: Any = AutoProcessor.from_pretrained(checkpoints[kind])
    model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(checkpoints[kind]).eval()
    small, large = images((64, 48), (40, 90))

    def logits(*shown: Image.Image) -> torch.Tensor:
        text = ["cat. dog."] * len(shown)
        inputs = processor(text=text, images=list(shown), return_tensors="pt")
        with torch.inference_mode():
            found: torch.Tensor = model(**inputs).logits[0].sigmoid()
        return found

    assert (logits(small) - logits(small, small)).abs().max() < 1e-5
    assert (logits(small) - logits(small, large)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", SAVERS)
def test_names_come_back_to_the_letter(kind: str, checkpoints: Checkpoints) -> None:
    names = (
        "St. Bernard", "st bernard", "CAT", "cat", "7-Up", "X-ray machine (red)", "wine glass?",
        "dog", "dog", " bird ", "traffic\nlight", "blue, green", "a [SEP] car",
    )  # fmt: skip
    shown = images(*[(64, 48)] * len(names))
    finder = load(checkpoints[kind])
    # asked alone, each is found, and called what it was asked as
    for found, name in zip(finder.find(shown, [(name,) for name in names]), names, strict=True):
        assert {one.name for one in found} == {name}
    [together] = finder.find(shown[:1], [names])
    assert {one.name for one in together} <= set(names)
    [repeated] = finder.find(
        shown[:1], [("Dog", "dog", "Dog")] if kind in DINOS else [("dog",) * 3]
    )
    [once] = finder.find(shown[:1], [("Dog",) if kind in DINOS else ("dog",)])
    same(repeated, once, 1e-6)


@pytest.mark.parametrize("kind", DINOS)
def test_a_name_of_which_nothing_is_read_is_not_found(kind: str, checkpoints: Checkpoints) -> None:
    finder = load(checkpoints[kind])
    [image] = images((64, 48))
    assert finder.find([image], [("", "?", "...", " ", "\u2603", "[SEP]")]) == [[]]
    [found] = finder.find([image], [("?", "cat", "\u2603", "dog")])
    [plain] = finder.find([image], [("cat", "dog")])
    same(found, plain, 1e-6)


def test_a_prompt_is_what_berts_own_tokenizer_makes_of_the_text(shared_data: Path) -> None:
    folders = list((shared_data / "tokenizers" / "bert_base_uncased").rglob("vocab.txt"))
    tokenizer = BertTokenizer.from_pretrained(folders[0].parent)
    writer = PromptWriter(tokenizer, delimiters=(101, 102, 1012, 1029), limit=256)
    names = ("Cat", "two dogs' bowls", "X-ray machine (red)", "caf\u00e9 au lait", "7-Up can")
    assert writer.lists((*names, "CAT", "\U0001f642")) == [names]
    text = ". ".join(name.lower() for name in names) + "."
    prompt = writer.prompt(names)
    assert list(prompt.tokens) == tokenizer(text)["input_ids"]
    spoken = [tokenizer.decode(prompt.tokens[start:end]) for start, end in prompt.spans]
    assert spoken[0] == "cat"
    assert spoken[-1].replace(" ", "") == "7-upcan"


@pytest.mark.parametrize("kind", DINOS)
def test_a_list_that_is_longer_than_the_model_reads_is_asked_in_pieces(
    kind: str, checkpoints: Checkpoints
) -> None:
    colours, things = ("red", "blue", "green", "a", "the"), ("cat", "dog", "bird", "car", "square")
    long = [f"{a} {b} {c}" for a in colours for b in things for c in things]  # 4 tokens each
    finder = load(checkpoints[kind], most=1000)
    [image] = images((64, 48))
    [found] = finder.find([image], [tuple(long)])
    pieces = [tuple(long[start : start + 63]) for start in (0, 63)]  # 2 + 63 * 4 = 254 tokens
    apart = [one for names in pieces for one in finder.find([image], [names])[0]]
    same(found, apart, 1e-4)
    assert [one.score for one in found] == sorted([one.score for one in found], reverse=True)
    assert len(load(checkpoints[kind], most=3).find([image], [tuple(long)])[0]) == 3
    [found] = finder.find([image], [("dog " * 253,)])
    assert found
    with pytest.raises(ValueError, match=r"254 tokens is longer than the detector reads \(253\)"):
        finder.find([image], [("cat", "dog " * 254)])


def test_templates_are_averaged_in_the_space_of_embeddings(checkpoints: Checkpoints) -> None:
    processor: Any = AutoProcessor.from_pretrained(checkpoints["owl-vit"])
    model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(checkpoints["owl-vit"]).eval()
    [image] = images((64, 48))
    templates = ("a photo of a {}", "the {}.")

    def embedded(text: str) -> torch.Tensor:
        inputs = processor(text=[[text]], images=image, return_tensors="pt")
        with torch.inference_mode():
            found: torch.Tensor = model(**inputs).text_embeds[0]
        return found

    queries = torch.cat(
        [
            torch.cat([embedded(one.format(name)) for one in templates]).mean(0)[None]
            for name in NAMES
        ]
    )
    pixels = processor(images=image, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        features = model.image_embedder(pixels)[0].flatten(1, 2)
        scores = model.class_predictor(features, queries[None])[0][0].sigmoid().amax(1)
    finder = load(checkpoints["owl-vit"], templates=templates)
    [found] = finder.find([image], [NAMES])
    assert [one.score for one in found] == pytest.approx(
        sorted(scores.tolist(), reverse=True), abs=1e-5
    )
    assert finder.find([image], [NAMES]) == [found]  # from what it remembers
    same(finder.find([image], [NAMES[::-1]])[0], found, 1e-6)
    [other] = load(checkpoints["owl-vit"]).find([image], [NAMES])
    assert other != found
    very_long = "a long name " * 20  # read as far as the model reads
    assert load(checkpoints["owl-vit"]).find([image], [(very_long,)])[0][0].name == very_long


def test_a_forgotten_name_is_embedded_again(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    [image] = images((64, 48))
    remembering = load(checkpoints["owl-v2"])
    wanted = {name: remembering.find([image], [(name,)])[0] for name in NAMES}
    monkeypatch.setattr(owl_queries, "REMEMBERED", 2)
    forgetful = load(checkpoints["owl-v2"], most=299)
    for name in ("cat", "dog", "cat", "bird", "dog", "car"):
        assert forgetful.find([image], [(name,)]) == [wanted[name]]  # to the last bit
    assert forgetful.find([image], [NAMES]) == remembering.find([image], [NAMES])
    assert list(forgetful._family._embedded) == ["bird", "car"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("templates", [(), ("a photo",), ("{} and {}",)])
def test_a_template_has_one_place_for_the_name(templates: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        ZeroShotConfig(templates=templates)


def test_names_with_braces_are_names(checkpoints: Checkpoints) -> None:
    [found] = load(checkpoints["owl-vit"]).find(images((64, 48)), [("{0} {name}",)])
    assert found[0].name == "{0} {name}"


@pytest.mark.parametrize("kind", SAVERS)
def test_boxes_are_inside_the_image_and_floor_and_most_are_kept(
    kind: str, checkpoints: Checkpoints
) -> None:
    shown = images((64, 48), (200, 10), (1, 1), (7, 300))
    for image, found in zip(shown, load(checkpoints[kind]).find(shown, [NAMES] * 4), strict=True):
        for one in found:
            x0, y0, x1, y1 = one.box_xyxy
            assert 0 <= x0 < x1 <= image.width
            assert 0 <= y0 < y1 <= image.height
            assert 0 <= one.score <= 1
    [everything] = load(checkpoints[kind]).find(shown[:1], [NAMES])
    middle = everything[len(everything) // 2].score
    [above] = load(checkpoints[kind], floor=middle).find(shown[:1], [NAMES])
    assert above == [one for one in everything if one.score >= middle]
    assert load(checkpoints[kind], most=2).find(shown[:1], [NAMES]) == [everything[:2]]


@pytest.mark.parametrize("kind", DINOS)
def test_a_name_is_given_where_one_of_its_tokens_is_sure_enough(
    kind: str, checkpoints: Checkpoints
) -> None:
    [everything] = load(checkpoints[kind]).find(images((64, 48)), [NAMES])
    middle = everything[len(everything) // 2].score
    [said] = load(checkpoints[kind], text_threshold=middle).find(images((64, 48)), [NAMES])
    assert said == [one for one in everything if one.score >= middle]


@pytest.mark.parametrize("kind", DINOS)
def test_an_image_that_is_too_narrow_is_one_clear_line(kind: str, checkpoints: Checkpoints) -> None:
    with pytest.raises(ValueError, match="no image as narrow as 1 x 500"):
        load(checkpoints[kind]).find(images((1, 500)), [NAMES])


@pytest.mark.parametrize("kind", SAVERS)
def test_half_precision(kind: str, checkpoints: Checkpoints) -> None:
    shown = images((64, 48), (40, 90))
    finder = load(checkpoints[kind], dtype="bfloat16")
    for half, whole in zip(
        finder.find(shown, [NAMES] * 2),
        load(checkpoints[kind]).find(shown, [NAMES] * 2),
        strict=True,
    ):
        assert half[0].score == pytest.approx(whole[0].score, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("owl-vit", "class_head.dense0.weight", "a score that is no number"),
        ("owl-v2", BIAS, "a box that is no number"),
        ("grounding-dino", "model.text_projection.weight", "a score that is no number"),
        ("mm-grounding-dino", "bbox_embed.0.layers.2.bias", "that is no number"),
    ],
)
def test_what_is_no_number_is_one_clear_line(
    kind: str, part: str, message: str, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints[kind], tmp_path / kind)
    weights = load_file(folder / "model.safetensors")
    weights[part] = torch.full_like(weights[part], float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        load(folder).find(images((64, 48)), [NAMES])
    assert load(folder).revision != load(checkpoints[kind]).revision


def test_provenance_holds_no_path(checkpoints: Checkpoints) -> None:
    finder = load(checkpoints["owl-v2"])
    assert finder.name == "owl-v2"
    assert len(finder.revision) == 12


def test_a_model_that_cannot_be_loaded_is_one_clear_line(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    CLIPConfig().save_pretrained(tmp_path / "clip")
    DetrConfig().save_pretrained(tmp_path / "detr")
    (tmp_path / "empty").mkdir()
    save_tiny_grounding_dino(tmp_path / "vocabulary", mm=True, stop=7)
    cases = {
        "": "regions.detectors is empty: name a folder",
        "./no/such/folder": "regions.detectors: there is no folder ./no/such/folder",
        str(tmp_path / "absent"): "there is no folder",
        str(tmp_path / "empty"): "cannot load",
        "nobody/has-this-model": "cannot load 'nobody/has-this-model'",
        str(tmp_path / "clip"): "holds a clip model .zero_shot takes checkpoints of OWL-ViT, OWLv2",
        str(tmp_path / "detr"): "holds a detr model",
        str(tmp_path / "vocabulary"): r"full stop are 101, 102 and 7, and the model parts names",
        str(
            _without(checkpoints["owl-v2"], tmp_path / "a", "processor_config.json")
        ): "cannot load",
        str(_without(checkpoints["owl-v2"], tmp_path / "b", "model.safetensors")): "cannot load",
        str(_damaged(checkpoints["owl-v2"], tmp_path / "c")): "cannot load",
        str(
            lacking(checkpoints["owl-v2"], tmp_path / "d", "box_head.dense2.bias")
        ): "its weights lack 1 tensors, as box_",
    }
    for model, message in cases.items():
        with pytest.raises(ValueError, match=message) as caught:
            load(model)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith("regions.detectors")


def _without(checkpoint: Path, folder: Path, file: str) -> Path:
    shutil.copytree(checkpoint, folder)
    (folder / file).unlink()
    return folder


def _damaged(checkpoint: Path, folder: Path) -> Path:
    shutil.copytree(checkpoint, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return folder


def test_its_config_needs_no_torch() -> None:
    code = (
        "import sys, opendet.annotators.zero_shot as z; z.ZeroShotConfig(); "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "set()\n", ran.stderr
