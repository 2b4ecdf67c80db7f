"""Prompts: their own words, or those of a file with a version."""

from pathlib import Path

import pytest
from pydantic import ValidationError, field_validator

from opendet.curate.caption import CaptionConfig
from opendet.curate.prompting import Prompt, read_prompt, with_prompts
from opendet.curate.verified import Verdict, with_beliefs
from opendet.curate.verify import VerifyConfig
from opendet.record import Provenance, Record, Region
from opendet.section import Section

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    (folder / "prompts").mkdir(parents=True)
    (folder / "prompts" / "long.v2.txt").write_text("What is it?\nSay it at length — in full.\n")
    return folder


def test_words_are_themselves(configs: Path) -> None:
    for words in ("What is it?", "", "prompts/ are questions", "name every prompts/x.v1.txt"):
        prompt = Prompt.model_validate(words)
        assert prompt == Prompt(text=words)
        assert prompt.is_read
        assert read_prompt(prompt, configs) is prompt
    versioned = Prompt.model_validate({"text": "What is it?", "version": "mine.v3"})
    assert read_prompt(versioned, configs) is versioned


def test_a_file_is_read_with_its_version(configs: Path) -> None:
    prompt = Prompt.model_validate("prompts/long.v2.txt")
    assert not prompt.is_read
    read = Prompt(text="What is it?\nSay it at length — in full.", version="long.v2")
    assert read_prompt(prompt, configs) == read
    config = CaptionConfig.model_validate({"prompt": "prompts/long.v2.txt", "most_objects": 3})
    settled = with_prompts(config, configs)
    assert settled.prompt == read
    assert settled == config.model_copy(update={"prompt": read})


@pytest.mark.parametrize(
    "name",
    ["prompts/long.txt", "prompts/long.v.txt", "prompts/../key.v1.txt", "prompts/a/b.v1.txt"],
)
def test_a_file_has_a_version_and_lies_where_prompts_do(name: str) -> None:
    with pytest.raises(ValidationError, match=r"called prompts/<name>\.v<number>\.txt"):
        CaptionConfig.model_validate({"prompt": name})


def test_what_cannot_be_read_is_one_clear_line(configs: Path) -> None:
    (configs / "prompts" / "empty.v1.txt").write_text(" \n")
    (configs / "prompts" / "odd.v1.txt").write_bytes(b"\xff\xfe")
    cases = {
        "prompts/long.v3.txt": r"prompt: there is no long\.v3\.txt in configs/prompts/ .*long\.v2",
        "prompts/empty.v1.txt": "is empty",
        "prompts/odd.v1.txt": "no UTF-8",
    }
    for name, words in cases.items():
        config = CaptionConfig.model_validate({"prompt": name})
        with pytest.raises(ValueError, match=words) as caught:
            with_prompts(config, configs)
        assert "\n" not in str(caught.value)


class About(Section):
    """A section whose prompt must name a name."""

    prompt: Prompt | None = None

    @field_validator("prompt")
    @classmethod
    def _names(cls, prompt: Prompt | None) -> Prompt | None:
        if prompt and prompt.is_read and "{name}" not in prompt.text:
            raise ValueError("a prompt needs {name}")
        return prompt


def test_a_files_words_obey_the_same_rules(configs: Path) -> None:
    assert with_prompts(About(), configs) == About()
    about = About.model_validate({"prompt": "prompts/long.v2.txt"})
    with pytest.raises(ValueError, match=r"^prompt: .*needs \{name\}"):
        with_prompts(about, configs)
    (configs / "prompts" / "long.v2.txt").write_text("a {name}?")
    assert with_prompts(about, configs).prompt == Prompt(text="a {name}?", version="long.v2")


@pytest.mark.parametrize("name", ["detailed_caption.v1", "object_list.v1", "region_name.v1"])
def test_those_that_come_along_can_be_read(name: str) -> None:
    read = read_prompt(Prompt(text=f"prompts/{name}.txt"), CONFIGS)
    assert read.version == name
    assert read.text


def test_a_verifier_s_questions_may_be_files_too(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "right.v2.txt").write_text("Is this a {name}?")
    (tmp_path / "prompts" / "right.v3.txt").write_text("Is this right?")
    config = VerifyConfig.model_validate({"name_prompt": "prompts/right.v2.txt"})
    read = with_prompts(config, tmp_path)
    assert read.name_prompt == Prompt(text="Is this a {name}?", version="right.v2")
    worse = VerifyConfig.model_validate({"name_prompt": "prompts/right.v3.txt"})
    with pytest.raises(ValueError, match=r"name_prompt: .*write {name} where"):
        with_prompts(worse, tmp_path)

    verdict = Verdict("name", 0, "cat", "Is this a cat?", 0.9, version="right.v2")
    region = Region((0, 0, 9, 9), Provenance("source"), names=("cat",))
    bare = ("a-0", "s", "a", "train", "CC0-1.0", "x.png", "png", 1, "0" * 64, 64, 48)
    said_by = Provenance("judge", "r1")
    verified = with_beliefs(Record(*bare, regions=(region,)), [verdict], said_by, least_belief=0.5)
    [checked] = verified.record.regions
    assert checked.name_checked == Provenance("judge", "r1, prompt right.v2", "Is this a cat?", 0.9)
