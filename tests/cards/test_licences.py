"""A licence is told by the model's own folder, else by the facts, else not at all."""

import json
from pathlib import Path

import pytest

from opendet.cards import licences
from opendet.cards.licences import (
    UNKNOWN,
    forbidden_by,
    hub_word,
    licence_in,
    licence_of_model,
    page_of,
)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ("license: other\nlicense_name: my-terms", "my-terms"),
        ("license:\n- mit\n- 7", "mit, 7"),
        ("license: [", ""),
        ("- no mapping", ""),
        ("tags: [a]", ""),
        ("license: {a: b}", ""),
    ],
)
def test_the_header_of_a_model_s_readme_tells(tmp_path: Path, header: str, told: str) -> None:
    (tmp_path / "README.md").write_text(f"---\n{header}\n---\n# Model\nlicense: gpl\n")
    assert licence_in(tmp_path) == told


def test_a_readme_without_a_header_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Model\n\nlicense: mit\n")
    assert licence_in(tmp_path) == ""


def test_config_json_tells_where_no_readme_does(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"license": "mit"}))
    assert licence_in(tmp_path) == "mit"
    (tmp_path / "config.json").write_text("{")
    assert licence_in(tmp_path) == ""


def test_the_folder_comes_before_the_facts(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    told = licence_of_model("google/flan-t5-base", tmp_path)
    assert (told.licence, told.said_by) == ("cc-by-nc-4.0", "the model's own folder")
    known = licence_of_model("google/flan-t5-base")
    assert (known.licence, known.said_by) == (
        "Apache-2.0",
        "https://huggingface.co/google/flan-t5-base",
    )


@pytest.mark.parametrize("name", ["google/flan-t5-huge", "flan-t5-base", "", "Google/Flan-T5-Base"])
def test_an_unknown_licence_is_not_guessed(name: str, tmp_path: Path) -> None:
    assert licence_of_model(name, tmp_path) == UNKNOWN


def test_the_facts_name_each_model_once_with_where_they_come_from() -> None:
    facts = licences._facts()
    names = [name for one in facts.models for name in one.names]
    assert len(names) == len(set(names))
    assert all(one.page.startswith("https://") for one in (*facts.models, *facts.licences))


def test_words_of_the_hub_and_pages_are_known_for_what_is_in_the_facts_alone() -> None:
    assert (hub_word("Apache-2.0"), hub_word("apache-2.0"), hub_word("mine")) == (
        "apache-2.0",
        "apache-2.0",
        "",
    )
    assert page_of("mit") == "https://spdx.org/licenses/MIT.html"
    assert page_of("") == page_of("mine") == ""


@pytest.mark.parametrize(
    ("licence", "forbidden"),
    [
        ("CC-BY-NC-4.0", ("commercial use",)),
        ("Attribution-NonCommercial-NoDerivs License", ("commercial use", "changed copies")),
        ("cc by-nd 2.0", ("changed copies",)),
        ("CC0-1.0", ()),
        ("Attribution License", ()),
        ("Incandescent", ()),
    ],
)
def test_what_a_licence_s_name_forbids(licence: str, forbidden: tuple[str, ...]) -> None:
    assert forbidden_by(licence) == forbidden
