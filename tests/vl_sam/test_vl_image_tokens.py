"""Where an image and a name lie in a sequence, family by family."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_families import save_tiny_family
from tiny_llava import save_tiny_llava, tiny_tokenizer
from tiny_speaker import save_tiny_speaker
from transformers import AutoConfig, AutoProcessor

from opendet.annotators.noun_phrases import Span
from opendet.vl_sam.tokens import image_tokens, name_spans, shown_area, token_spans, tokens_at

KINDS = ("llava", "llava_next", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")
SIZE = (112, 84)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = {"llava": save_tiny_llava(folder / "llava")}
    for kind in ("llava_next", "llava_onevision", "qwen2_5_vl"):
        paths[kind] = save_tiny_family(folder / kind, kind)
    for kind in ("qwen2", "qwen3"):
        paths[f"{kind}_vl"] = save_tiny_speaker(folder / kind, kind)
    return paths


def loaded(path: Path) -> tuple[Any, Any]:
    return AutoConfig.from_pretrained(path), AutoProcessor.from_pretrained(path)


def asked(processor: Any, image: Image.Image) -> Any:
    content = [{"type": "image", "image": image}, {"type": "text", "text": "name it"}]
    return processor.apply_chat_template(
        [[{"role": "user", "content": content}]],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )


def shapes_of(kind: str, processor: Any, inputs: Any) -> tuple[int, int]:
    """Rows and columns that the checkpoints' sizes lead to."""
    if not kind.startswith("qwen"):
        return 2, 2  # 28 pixels in patches of 14
    side = 2 * processor.image_processor.patch_size
    _, rows, columns = inputs["image_grid_thw"][0].tolist()
    height, width = rows * side // 2, columns * side // 2
    return height // side, width // side


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_image_is_the_first_grid_of_its_tokens(kind: str, saved: dict[str, Path]) -> None:
    config, processor = loaded(saved[kind])
    inputs = asked(processor, Image.new("RGB", SIZE))
    found = image_tokens(config, processor, inputs, SIZE)
    assert (found.rows, found.columns) == shapes_of(kind, processor, inputs)
    assert len(found.places) == found.rows * found.columns
    assert found.rows * found.columns > 3
    ids = inputs["input_ids"][0]
    assert bool((ids[found.places] == config.image_token_id).all())
    first = int(found.places[0])
    assert found.places.tolist() == list(range(first, first + len(found.places)))
    assert int(ids[first - 1]) != config.image_token_id
    total = int((ids == config.image_token_id).sum())
    tiled = kind in ("llava_next", "llava_onevision")
    assert (total > len(found.places)) == tiled


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_cells_of_qwens_grid_lie_row_by_row(kind: str, saved: dict[str, Path]) -> None:
    """One white cell lies in the patches of the token of its row and column."""
    config, processor = loaded(saved[kind])
    side = 2 * processor.image_processor.patch_size
    size = (3 * side, 2 * side)
    for row, column in ((0, 0), (0, 2), (1, 1)):
        image = Image.new("RGB", size)
        corner = (column * side, row * side)
        image.paste((255, 255, 255), (*corner, corner[0] + side, corner[1] + side))
        inputs = asked(processor, image)
        found = image_tokens(config, processor, inputs, size)
        assert (found.rows, found.columns) == (2, 3)
        assert found.shown_xyxy == (0, 0, *map(float, size))
        bright = inputs["pixel_values"].mean(1).reshape(6, 4).mean(1)  # by token
        assert int(bright.argmax()) == 3 * row + column


@pytest.mark.parametrize("kind", ["llava_next", "llava_onevision"])
def test_the_first_tile_is_the_whole_image_stretched(kind: str, saved: dict[str, Path]) -> None:
    config, processor = loaded(saved[kind])
    image = Image.new("RGB", SIZE)
    image.paste((255, 255, 255), (56, 0, 112, 42))  # the right upper quarter
    inputs = asked(processor, image)
    whole = inputs["pixel_values"][0, 0].mean(0)  # (28, 28)
    quarters = whole.reshape(2, 14, 2, 14).mean((1, 3))
    assert int(quarters.argmax()) == 1
    assert float(quarters[0, 1]) > float(quarters[0, 0]) + 1
    assert shown_area(config, processor, SIZE) == (0, 0, 112, 84)


def white_part(pixels: torch.Tensor) -> list[float]:
    """x0, y0, x1, y1 of the bright pixels, in shares of the grid's side."""
    grey = pixels.mean(0)
    bright = (grey > (3 * grey.max() + grey.min()) / 4).numpy()
    rows, columns = np.nonzero(bright)
    side = len(bright)
    return [columns.min() / side, rows.min() / side, (columns.max() + 1) / side,
            (rows.max() + 1) / side]  # fmt: skip


@pytest.mark.parametrize("size", [(112, 84), (56, 140), (90, 90)])
@pytest.mark.parametrize("how", ["cropped", "stretched", "padded"])
def test_what_llava_is_shown_is_where_it_is_shown(
    how: str, size: tuple[int, int], saved: dict[str, Path]
) -> None:
    """A white square in the middle lies where `shown_area` says."""
    config, processor = loaded(saved["llava"])
    eyes = processor.image_processor
    if how == "stretched":
        eyes.size = {"height": 28, "width": 28}
    if how == "padded":
        from transformers import LlavaImageProcessor

        eyes = processor.image_processor = LlavaImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, do_pad=True
        )
    image = Image.new("RGB", size)
    cx, cy = size[0] / 2, size[1] / 2
    white = (int(cx - 14), int(cy - 14), int(cx + 14), int(cy + 14))
    image.paste((255, 255, 255), white)
    x0, y0, x1, y1 = shown_area(config, processor, size)
    expected = [
        (white[0] - x0) / (x1 - x0),
        (white[1] - y0) / (y1 - y0),
        (white[2] - x0) / (x1 - x0),
        (white[3] - y0) / (y1 - y0),
    ]
    pixels = eyes(image, return_tensors="pt")["pixel_values"][0]
    assert white_part(pixels) == pytest.approx(expected, abs=0.08)
    if how == "cropped":
        assert x1 - x0 == pytest.approx(min(size))
    if how == "padded":
        assert x1 - x0 == pytest.approx(max(size))


def test_another_number_of_tokens_is_one_clear_line(saved: dict[str, Path]) -> None:
    config, processor = loaded(saved["llava"])
    inputs = asked(processor, Image.new("RGB", SIZE))
    inputs["input_ids"] = inputs["input_ids"][:, inputs["input_ids"][0] != config.image_token_id]
    with pytest.raises(
        ValueError, match=r"^tiny shows an image in 0 tokens, which is no grid of 2 x 2: .*llava"
    ) as caught:
        image_tokens(config, processor, inputs, SIZE, "tiny")
    assert "\n" not in str(caught.value)


def test_clips_class_token_is_no_part_of_the_grid(saved: dict[str, Path]) -> None:
    config, processor = loaded(saved["llava"])
    five = torch.full((1, 5), config.image_token_id)
    inputs = {"input_ids": torch.cat((torch.tensor([[9]]), five), 1)}
    assert image_tokens(config, processor, inputs, SIZE).places.tolist() == [2, 3, 4, 5]


# --- words


def test_each_token_wrote_its_characters() -> None:
    tokenizer = tiny_tokenizer()
    text = "a café, the main object"
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    ended = [*tokens, tokenizer.eos_token_id]
    written, spans = token_spans(tokenizer, ended)
    assert written == text
    assert len(spans) == len(ended)
    assert spans[0].start == 0
    assert spans[-1] == Span(len(text), len(text))
    assert "".join(text[one.start : one.end] for one in dict.fromkeys(spans)) == text
    for word in ("café", "object", "main"):
        where = Span(text.index(word), text.index(word) + len(word))
        numbers = tokens_at(spans, where)
        piece = tokenizer.decode([ended[number] for number in numbers])
        assert word in piece
        assert len(piece.strip()) == len(word)
    assert tokens_at(spans, Span(len(text), len(text) + 1)) == []
    assert token_spans(tokenizer, []) == ("", [])


def test_names_are_found_where_the_answer_says_them() -> None:
    text = "1. **Dog house**\n2. A dog\n3. Red_fire  truck, hot-dog"
    names = ("dog", "dog house", "red fire truck", "hot-dog", "cat", "og")
    found = {name: text[one.start : one.end] for name, one in name_spans(text, names).items()}
    assert found == {
        "dog": "dog", "dog house": "Dog house", "red fire truck": "Red_fire  truck",
        "hot-dog": "hot-dog",
    }  # fmt: skip
    assert list(found) == ["dog", "dog house", "red fire truck", "hot-dog"]
    assert name_spans(text, ["dog"])["dog"] == Span(5, 8)  # nothing longer asked for
    assert name_spans(text, names)["dog"].start == text.index("A dog") + 2
    assert name_spans("a dog house", ["dog", "dog house"])["dog"] == Span(2, 5)
