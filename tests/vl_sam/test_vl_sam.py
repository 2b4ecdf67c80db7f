"""VL-SAM from end to end, through the path that users' checkpoints and files take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faster_coco_eval.core.mask import decode, toBbox
from PIL import Image, ImageDraw
from tiny_families import save_tiny_family
from tiny_llava import save_tiny_llava
from tiny_sam import save_tiny_sam
from tiny_speaker import taught
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from opendet.annotators.finders import is_told_names, load_finder
from opendet.annotators.weights import folder_digest
from opendet.curate.finding import FindConfig
from opendet.vl_sam.attention import AttentionFlow
from opendet.vl_sam.config import VlSamConfig, read_vl_sam_config
from opendet.vl_sam.method import VlSam, load_vl_sam

ASKED = "What is there?"
SAYS = "a red dog, two cats"


def photo() -> Image.Image:
    """A grainy picture of a ball in a meadow."""
    rng = np.random.default_rng(0)
    image = Image.new("RGB", (120, 90), (60, 140, 60))
    ImageDraw.Draw(image).ellipse((30, 20, 75, 65), (200, 40, 40))
    pixels = np.asarray(image, np.int64) + rng.integers(-20, 20, (90, 120, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    told = [(photo(), ASKED, SAYS)]
    return {
        "llava": taught(save_tiny_llava(folder / "a"), folder / "tiny-llava", told, chat=True),
        "qwen": taught(
            save_tiny_family(folder / "b", "qwen2_5_vl"), folder / "tiny-qwen", told, chat=True
        ),
        "silent": save_tiny_family(folder / "silent", "qwen2_5_vl", speaks="</s>"),
        "babbling": save_tiny_family(folder / "babbling", "llava_next"),
        "sam": save_tiny_sam(folder / "tiny-sam", "sam"),
        "sam2": save_tiny_sam(folder / "tiny-sam2", "sam2"),
    }


def config(
    models: dict[str, Path], model: str, segmenter: str = "sam", **knobs: Any
) -> VlSamConfig:
    return VlSamConfig.model_validate(
        {
            "model": str(models[model]),
            "segmenter": str(models[segmenter]),
            "device": "cpu",
            "questions": [ASKED],
            "max_new_tokens": 40,
            "floor": 0.0,
            "min_score": 0.0,
            "corners": False,
            **knobs,
        }
    )


@pytest.mark.parametrize(("model", "segmenter"), [("llava", "sam"), ("qwen", "sam2")])
def test_a_photograph_becomes_named_boxes_and_masks(
    model: str, segmenter: str, models: dict[str, Path]
) -> None:
    method = VlSam(config(models, model, segmenter))
    assert method.name == f"tiny-{model} with tiny-{segmenter}"
    digests = folder_digest(models[model]), folder_digest(models[segmenter])
    assert method.revision == "+".join(digests)
    [seen] = method.detect([photo()])
    assert len(seen) > 0
    assert {name for names in seen.names for name in names} == {"red dog", "cats"}
    assert seen.boxes_xyxy.shape == (len(seen), 4)
    assert seen.prompts is None
    assert seen.masks is not None
    assert len(seen.masks) == len(seen.names) == len(seen)
    assert seen.scores.tolist() == sorted(seen.scores.tolist(), reverse=True)
    for box, code in zip(seen.boxes_xyxy.tolist(), seen.masks, strict=True):
        assert code is not None
        mask = {"size": [90, 120], "counts": code}
        assert decode(mask).any()
        [[x, y, w, h]] = toBbox([mask])
        assert box == pytest.approx([x, y, x + w, y + h])
    [again] = VlSam(config(models, model, segmenter)).detect([photo()])
    assert again.masks == seen.masks
    assert torch.equal(again.scores, seen.scores)


def test_each_names_map_is_the_attention_of_its_own_tokens(models: dict[str, Path]) -> None:
    """Against the attention that the library keeps of the prompt and the answer as one text."""
    method = VlSam(config(models, "llava"))
    sights = method.look(photo())
    assert [one.map.name for one in sights] == ["red dog", "cats"]
    processor = AutoProcessor.from_pretrained(models["llava"])
    model = AutoModelForImageTextToText.from_pretrained(
        models["llava"], attn_implementation="eager"
    ).eval()
    content = [{"type": "image", "image": photo()}, {"type": "text", "text": ASKED}]
    prompt = processor.apply_chat_template(
        [[{"role": "user", "content": content}]],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    )  # fmt: skip
    said = processor.tokenizer(SAYS, add_special_tokens=False, return_tensors="pt")["input_ids"]
    ids = torch.cat((prompt["input_ids"], said), 1)
    with torch.inference_mode():
        seen = model(
            input_ids=ids,
            pixel_values=prompt["pixel_values"],
            attention_mask=torch.ones_like(ids),
            output_attentions=True,
        )
    flow = AttentionFlow()
    for layer in seen.attentions:
        flow.add(layer[0])
    assert flow.rollout is not None
    letters = [processor.tokenizer.decode(one) for one in said[0]]
    ends = np.cumsum([len(one) for one in letters])
    for sight in sights:
        start = SAYS.index(sight.map.name)
        stop = start + len(sight.map.name)
        rows = [
            ids.shape[1] - len(letters) + n
            for n, end in enumerate(ends)
            if end > start and end - len(letters[n]) < stop
        ]
        image = (ids[0] == model.config.image_token_id).nonzero()[:, 0]
        expected = flow.rollout[rows].mean(0)[image].reshape(2, 2)
        assert sight.map.grid == pytest.approx(expected.numpy(), abs=1e-6)
        assert sight.map.shown_xyxy == pytest.approx((15, 0, 105, 90))  # the middle square


def test_quarters_are_looked_at_too(models: dict[str, Path]) -> None:
    method = VlSam(config(models, "llava", corners=True))
    views = {one.view for one in method.look(photo())}
    assert (0, 0, 120, 90) in views
    assert (60, 45, 120, 90) in views
    [seen] = method.detect([photo()])
    assert seen.masks is not None
    assert all(decode({"size": [90, 120], "counts": one}).shape == (90, 120) for one in seen.masks)


def test_the_language_model_may_be_shown_less_than_the_segmenter(models: dict[str, Path]) -> None:
    whole, small = (
        VlSam(config(models, "qwen", longest_side=side)).look(photo()) for side in (1024, 60)
    )
    assert whole[0].map.grid.shape == (3, 4)  # a token for 28 x 28 pixels
    assert all(one.map.grid.shape == (2, 2) for one in small)
    assert all(one.map.shown_xyxy == (0, 0, 120, 90) for one in (*whole, *small))
    for hit in (hit for one in small for hit in one.hits):
        assert decode({"size": [90, 120], "counts": hit.code}).any()


def test_as_an_annotator(models: dict[str, Path]) -> None:
    told = config(models, "qwen").model_dump(mode="json")
    [section] = FindConfig.model_validate({"detectors": [told]}).detectors
    assert isinstance(section, VlSamConfig)
    assert not is_told_names(section)
    finder = load_finder(section)
    [found, none] = finder.find([photo(), Image.new("RGB", (4, 4))], [("zebra",), ()])
    assert found
    assert all(one.mask and one.name in ("red dog", "cats") for one in found)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert isinstance(none, list)
    least = scores[len(scores) // 2]
    [surer] = VlSam(config(models, "qwen", floor=least, min_score=least)).find([photo()], [()])
    assert all(one.score >= least for one in surer)
    assert len(VlSam(config(models, "qwen", most=1)).find([photo()], [()])[0]) == 1


def test_an_answer_that_names_nothing_finds_nothing_and_is_counted(
    models: dict[str, Path],
) -> None:
    method = VlSam(config(models, "silent", corners=True, own_questions=3))
    [seen] = method.detect([photo()])
    assert len(seen) == 0
    assert seen.boxes_xyxy.shape == (0, 4)
    assert seen.masks == []
    assert method.find([photo()], [()]) == [[]]
    assert method.refused == {"nothing named": 10, "question not written": 3}
    assert method.questions == (ASKED,)
    assert method.detect([]) == []


def test_any_picture_will_do(models: dict[str, Path]) -> None:
    method = VlSam(config(models, "llava", corners=True))
    pictures = [photo().convert("L"), photo().convert("RGBA"), photo().resize((31, 130)),
                photo().resize((5, 5))]  # fmt: skip
    assert len(method.detect(pictures)) == 4


@pytest.mark.parametrize(("model", "segmenter"), [("llava", "sam"), ("qwen", "sam2")])
def test_a_strip_that_no_model_takes_is_counted(
    model: str, segmenter: str, models: dict[str, Path]
) -> None:
    """Qwen-VL refuses a side of more than 200 times the other; SAM would make it 0 pixels wide."""
    method = VlSam(config(models, model, segmenter))
    found = method.detect([photo().resize((1, 1500)), photo().resize((2500, 6))])
    assert [len(one) for one in found] == [0, 0]
    assert method.refused == {"too narrow for a model": 2}


def test_sampled_answers_hang_on_the_seed_alone(models: dict[str, Path]) -> None:
    def said(seed: int) -> list[str]:
        sampled = config(
            models, "babbling", temperature=0.8, top_p=0.9, seed=seed, max_new_tokens=16
        )  # fmt: skip
        return [one.map.name for one in VlSam(sampled).look(photo())]

    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = said(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    assert said(1) == first
    assert len({tuple(said(seed)) for seed in range(3)}) > 1


# --- pictures of maps


def test_maps_are_saved_one_for_each_name(models: dict[str, Path], tmp_path: Path) -> None:
    method = VlSam(config(models, "llava"))
    method.detect([photo()])
    [dog, cats] = method.save_maps(tmp_path / "maps", ["ball"])
    assert [dog.name, cats.name] == ["ball-000-red-dog.png", "ball-001-cats.png"]
    with Image.open(dog) as picture:
        assert picture.size == (120, 90)
        pixels = np.asarray(picture.convert("RGB"), np.int64)
    changed = np.abs(pixels - np.asarray(photo(), np.int64)).max(-1) > 0
    assert changed[:, 20:100].mean() > 0.9  # the square that LLaVA was shown
    assert changed.mean() < 0.95
    assert (pixels == [0, 255, 0]).all(-1).any()  # the inner point
    assert (pixels == [255, 0, 0]).all(-1).any()
    method.detect([photo(), photo()])
    assert len(method.save_maps(tmp_path / "two")) == 4
    assert len(list((tmp_path / "two").glob("image1-*.png"))) == 2


# --- what a person may do wrong


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_yaml_file_names_the_models(models: dict[str, Path], tmp_path: Path) -> None:
    text = f"model: {models['llava']}\nsegmenter: {models['sam']}\nquestions: ['{ASKED}']\n"
    path = write(tmp_path / "vl.yaml", text)
    method = load_vl_sam(path, device="cpu", min_score=0.0, corners=False)
    assert len(method.detect([photo()])[0]) > 0
    assert read_vl_sam_config(path).corners


def test_a_file_that_is_no_configuration_is_one_clear_line(tmp_path: Path) -> None:
    cases = {
        "segmentor: x\n": "segmentor: no such key (did you mean segmenter?)",
        "- model\n": "is no section of keys",
        "threshold: otso\n": "did you mean otsu",
        "model: [\n": "is not YAML",
        "questions: []\n": "questions",
    }
    for text, words in cases.items():
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are looked at below
            read_vl_sam_config(write(tmp_path / "vl.yaml", text))
        assert words in str(caught.value)
        assert "vl.yaml" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"there is no file .*none\.yaml"):
        read_vl_sam_config(tmp_path / "none.yaml")
    absent = write(tmp_path / "vl.yaml", "model: ./absent\nsegmenter: ./absent\n")
    with pytest.raises(ValueError, match=r"vl\.yaml: model: there is no folder \./absent"):
        load_vl_sam(absent)


def test_folders_that_are_not_what_they_should_be(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bare = save_tiny_family(tmp_path / "bare", "qwen2_5_vl", chat_template=False)
    llava, sam = str(models["llava"]), str(models["sam"])
    cases = {
        ("", sam): ".model is empty",
        ("./absent", sam): ".model: there is no folder ./absent",
        (str(tmp_path / "empty"), sam): ".model: cannot load",
        (sam, sam): "it is a sam, not one of llava, llava_next",
        (str(bare), sam): "no chat template",
        (llava, ""): ".segmenter is empty",
        (llava, llava): "detectors.segmenter: cannot load",
    }
    for (model, segmenter), words in cases.items():
        with pytest.raises(ValueError, match=r"^regions\.detectors\.") as caught:
            VlSam(VlSamConfig(model=model, segmenter=segmenter, device="cpu"))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_fused_kernel_is_one_clear_line_before_the_first_image(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_eager(_: Any, wanted: str) -> None:
        raise ValueError(f"this kernel has no other implementation, such as {wanted}")

    monkeypatch.setattr(PreTrainedModel, "set_attn_implementation", no_eager)
    with pytest.raises(
        ValueError, match=r"^regions.*tiny-llava gives no attention weights: .*eager"
    ) as caught:
        VlSam(config(models, "llava"))
    assert "\n" not in str(caught.value)
