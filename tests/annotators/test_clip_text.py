"""A CLIP text tower in transformers' format, saved to a folder and loaded by path."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, T5Config, T5ForConditionalGeneration

from opendet.annotators.clip_text import ClipText
from opendet.annotators.tiny_clip import write_tokenizer

TEXTS = ("red star", "blue ring", "a dog on a sofa")


def tiny_clip(folder: Path) -> CLIPModel:
    tokens, _ = write_tokenizer(folder, TEXTS, 300)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = CLIPConfig(
        text_config={
            **shape,
            "num_attention_heads": 2,
            "vocab_size": tokens,
            "max_position_embeddings": 16,
            "eos_token_id": tokens - 1,
            "bos_token_id": tokens - 2,
            "pad_token_id": 0,
        },
        vision_config={**shape, "num_attention_heads": 2, "image_size": 32, "patch_size": 16},
        projection_dim=24,
    )
    torch.manual_seed(0)
    model = CLIPModel(config)
    model.save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CLIPModel]:
    folder = tmp_path_factory.mktemp("clip")
    return folder, tiny_clip(folder)


def test_a_whole_clips_text_tower_says_what_the_clip_says(home: tuple[Path, CLIPModel]):
    folder, whole = home
    tower = ClipText.load(str(folder))
    rows = tower.encode_texts(TEXTS)
    tokens = tower._tokens(list(TEXTS))
    with torch.inference_mode():
        output = whole.get_text_features(**tokens)
    features = output if isinstance(output, torch.Tensor) else output.pooler_output
    theirs = torch.nn.functional.normalize(features, dim=-1).numpy()
    assert rows.shape == (3, tower.width) == (3, 24)
    np.testing.assert_allclose(rows, theirs, atol=1e-6)
    assert abs(rows[0] @ rows[1]) < 0.999  # the texts are told apart


def test_what_else_is_asked_changes_no_bit(home: tuple[Path, CLIPModel]):
    tower = ClipText.load(str(home[0]))
    together = tower.encode_texts([*TEXTS, "a text that is longer than its own context " * 3])
    alone = np.concatenate([tower.encode_texts([text]) for text in TEXTS])
    assert (together[:3] == alone).all()
    assert tower.encode_texts([]).shape == (0, 24)


def test_the_revision_is_that_of_the_weights(home: tuple[Path, CLIPModel], tmp_path: Path):
    first = ClipText.load(str(home[0])).revision
    assert ClipText.load(str(home[0])).revision == first
    other = tiny_clip(tmp_path)
    with torch.no_grad():
        other.text_projection.weight.mul_(2)
    other.save_pretrained(tmp_path)
    assert ClipText.load(str(tmp_path)).revision != first


def test_a_folder_without_a_tower_is_one_clear_line(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no CLIP text tower at .*name a folder") as refusal:
        ClipText.load(str(tmp_path))
    assert "\n" not in str(refusal.value)


def test_another_model_is_refused_and_not_drawn_at_random(tmp_path: Path):
    write_tokenizer(tmp_path, TEXTS, 300)
    config = T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is no CLIP|no CLIP text tower"):
        ClipText.load(str(tmp_path))
