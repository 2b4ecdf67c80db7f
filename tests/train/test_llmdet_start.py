"""A language model by the user's path, and what is wrong with one in a line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from opendet.config import load_config
from opendet.model.captioner import Captioner
from opendet.model.config import NamerConfig
from opendet.model.detector import OpenDetector
from opendet.model.no_namer import NoNamer
from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.llmdet_objective import LlmdetObjective
from opendet.train.llmdet_start import (
    CAPTIONER,
    build_captioner,
    language_content,
    load_captioner,
    save_captioner,
)
from tests.model.language_worlds import CHAT, Family, save_tiny_language
from tests.model.worlds import TINY_DETECTOR, build_detector

SMALL = {"grids": {32: 2, 16: 3}, "look_back_layers": 2}


def config_of(language: str | Path, **knobs: object) -> LlmdetConfig:
    return LlmdetConfig.model_validate({**SMALL, "language": str(language), **knobs})


def begin(config: LlmdetConfig, detector: OpenDetector | None = None) -> Captioner:
    return build_captioner(config, detector or build_detector(), seed=5)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_saved_language_model_is_loaded_and_is_no_part_of_the_detector(
    family: Family, tmp_path: Path
) -> None:
    folder = save_tiny_language(tmp_path / "lm", family, chat_template=CHAT)
    detector = build_detector()
    before = {name for name, _ in detector.named_parameters()}
    state = torch.get_rng_state()
    captioner = begin(config_of(folder), detector)
    assert torch.equal(state, torch.get_rng_state())
    detector.captioner = captioner
    added = {name for name, _ in detector.named_parameters()} - before
    assert {name.split(".")[1] for name in added} == {"image", "region", "look_backs"}
    assert (
        set(detector.state_dict()) - before - added == set(build_detector().state_dict()) - before
    )
    embedding = captioner.language._model.get_input_embeddings().weight  # type: ignore[attr-defined]
    kept = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(embedding, kept)
    assert not embedding.requires_grad


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    folder = save_tiny_language(tmp_path / "lm")
    config = config_of(folder, tuning="lora", lora={"rank": 2, "alpha": 4})
    torch.manual_seed(1)
    one = begin(config).state_dict()
    torch.manual_seed(2)
    other = begin(config).state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert sum(name.startswith("corrections.") for name in one) == 3 * 7 * 2


def test_what_is_kept_begins_a_second_stage_that_does_more(tmp_path: Path) -> None:
    folder = save_tiny_language(tmp_path / "lm")
    first = begin(config_of(folder, look_back_layers=0))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter += 1
    assert not load_captioner(tmp_path, first)
    save_captioner(tmp_path, first)
    second = begin(config_of(folder, tuning="lora", lora={"rank": 2, "alpha": 4}))
    new = {name: tensor.clone() for name, tensor in second.state_dict().items()}
    assert load_captioner(tmp_path, second)
    for name, tensor in second.state_dict().items():
        assert torch.equal(tensor, first.state_dict().get(name, new[name]))
    smaller = begin(config_of(folder, region_weight=0))
    with pytest.raises(ValueError, match=r"^train.start_from: .* has an unknown region\.") as error:
        load_captioner(tmp_path, smaller)
    assert "\n" not in str(error.value)
    (tmp_path / CAPTIONER).write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"^train.start_from: cannot load .* from its source"):
        load_captioner(tmp_path, second)


def test_a_version_of_the_language_model_is_that_of_its_files(tmp_path: Path) -> None:
    folder = save_tiny_language(tmp_path / "lm")
    before = language_content(config_of(folder))
    (folder / "generation_config.json").write_text("{}")
    assert language_content(config_of(folder)) != before
    assert language_content(config_of("t5")) == "t5"
    assert language_content(config_of("Qwen/Qwen2-0.5B")) == "Qwen/Qwen2-0.5B"


def test_a_language_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code = save_tiny_language(tmp_path / "lm")
    lacking = load_file(code / "model.safetensors")
    del lacking["model.layers.1.self_attn.q_proj.weight"]
    for language, said in (
        (str(tmp_path / "nowhere"), "there is no folder"),
        (str(empty), "cannot load"),
        ("open-det/no-such-model", "cannot load .*which needs the network once"),
    ):
        with pytest.raises(ValueError, match=rf"^objective\.llmdet\.language: .*{said}") as error:
            begin(config_of(language))
        assert "\n" not in str(error.value)
    save_file(lacking, code / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"lack 1 tensors, as .*layers\.1\.self_attn\.q_proj\.weight"
    ):
        begin(config_of(code))


def test_settings_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    folder = save_tiny_language(tmp_path / "lm")
    for knobs, said in (
        ({"look_back_layers": 6}, r"language: .*lm: 6 layers are to look back, and it has 3$"),
        ({"grids": {4: 2}}, r"grids: the detector has no map of stride 4; there are 8, 16, 32, 64"),
        (
            {"tuning": "lora", "lora": {"modules": ["c_attn"]}},
            r"language: .*lm: it has no linear layer called c_attn$",
        ),
    ):
        with pytest.raises(ValueError, match=rf"^objective\.llmdet\.{said}"):
            begin(config_of(folder, **knobs))
    for knobs, said in (
        ({}, r"lm: it reads at most 256 tokens, not 1600: set at most that$"),
        ({"max_tokens": 20}, r"20 leave nothing for a caption beside the image's 14 and the prom"),
    ):
        config = config_of(folder, **knobs)
        captioner = begin(config)
        with pytest.raises(ValueError, match=rf"^objective\.llmdet\.max_tokens: .*{said}"):
            LlmdetObjective(captioner, config)


def test_the_t5_is_the_namer_s(tmp_path: Path) -> None:
    detector = build_detector()
    captioner = begin(config_of("t5", look_back_layers=1), detector)
    assert captioner.language.layers[0] is detector.namer.t5.decoder.block[0]  # type: ignore[union-attr]
    assert not any("t5" in name for name in captioner.state_dict())
    bare = OpenDetector(TINY_DETECTOR, NoNamer(NamerConfig(t5="none"), 32))
    with pytest.raises(ValueError, match=r"^objective\.llmdet\.language: t5 is the namer's own"):
        begin(config_of("t5"), bare)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"language": ""}, "language is empty: give none, t5"),
        ({"language": "t5", "tuning": "lora"}, "tuning: lora is for a causal language model"),
        (
            {"language": "t5", "image_weight": 0, "region_weight": 0},
            "language t5 has nothing to write: raise image_weight",
        ),
    ],
)
def test_switches_that_shut_each_other_out(knobs: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LlmdetConfig.model_validate(knobs)


def test_the_configuration_that_comes_along_is_llmdet_s() -> None:
    config = load_config(Path(__file__).parents[2] / "configs" / "llmdet_groundingcap.yaml")
    own = config.objective.llmdet
    assert own.used
    assert own.model_dump(exclude={"language", "tuning", "dtype", "projector_steps"}) == (
        LlmdetConfig().model_dump(exclude={"language", "tuning", "dtype", "projector_steps"})
    )
    assert (config.loader.flip, config.loader.crop) == (0, 0)
    assert sum(side**2 for side in own.grids.values()) + 1 == 1130
    first = own.projector_steps
    assert config.train.decay_at * config.train.steps == first + 120_000
    assert config.train.steps == first + 150_000


def test_it_is_off_by_default() -> None:
    assert not LlmdetConfig().used
    assert LlmdetConfig(language="t5").used
