"""A run keeps to the hub's commits that it began with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import transformers
from trainee import RECIPE

from opendet.model.t5_namer import T5Namer
from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.pins import PINS, pinned
from opendet.train.recipe import Recipe
from opendet.train.start import namer_content


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Commits by model: what is asked of the hub, whose branches move when the test writes here."""
    commits = {"some/t5": "a" * 40, "some/lm": "b" * 40}

    def download(model: str, name: str, revision: str | None = None) -> str:
        commit = revision or commits[model]
        return str(tmp_path / "cache" / "snapshots" / commit / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return commits


def of_hub(**namer: Any) -> Recipe:
    return replace(
        RECIPE,
        namer=RECIPE.namer.model_copy(update={"t5": "some/t5", **namer}),
        objective=ObjectiveConfig(llmdet=LlmdetConfig(language="some/lm")),
    )


def revisions(recipe: Recipe) -> tuple[str | None, str | None]:
    return recipe.namer.t5_revision, recipe.objective.llmdet.language_revision


def test_a_branch_that_moved_is_not_followed(hub: dict[str, str], tmp_path: Path) -> None:
    first = pinned(of_hub(), tmp_path)
    assert revisions(first) == ("a" * 40, "b" * 40)
    hub |= {"some/t5": "c" * 40, "some/lm": "d" * 40}
    assert pinned(of_hub(), tmp_path) == first
    assert revisions(pinned(of_hub(), tmp_path / "another")) == ("c" * 40, "d" * 40)


def test_what_is_asked_for_is_taken(hub: dict[str, str], tmp_path: Path) -> None:
    assert revisions(pinned(of_hub(t5_revision="v2"), tmp_path)) == ("v2", hub["some/lm"])


def test_folders_and_what_is_built_here_need_no_pin(tmp_path: Path) -> None:
    for t5 in ("tiny", "none", str(tmp_path)):
        recipe = replace(RECIPE, namer=RECIPE.namer.model_copy(update={"t5": t5}))
        assert revisions(pinned(recipe, tmp_path / "run")) == (None, None)
    assert not (tmp_path / "run" / PINS).exists()


def test_without_hub_and_cache_it_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^namer\.t5: cannot load 'some/t5': .*network once\)"):
        pinned(of_hub(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_t5_is_loaded_at_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def load(path: str, **told: Any) -> Any:
        asked.update(told, path=path)
        raise OSError("enough")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", load)
    with pytest.raises(ValueError, match="no T5 at `some/t5`"):
        T5Namer.from_pretrained("some/t5", of_hub(t5_revision="v2").namer)
    assert (asked["path"], asked["revision"]) == ("some/t5", "v2")


def test_another_t5_in_a_folder_is_another_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    recipe = replace(RECIPE, namer=RECIPE.namer.model_copy(update={"t5": str(tmp_path)}))
    before = namer_content(recipe)
    (tmp_path / "config.json").write_text("{ }")
    assert before
    assert namer_content(recipe) != before
    assert namer_content(of_hub()) == namer_content(RECIPE) == ""
