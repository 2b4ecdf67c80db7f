"""Malicious files: the canary sings where something runs, and nothing of ours makes it."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.torch import load_file
from unguarded import take_guards_away

from opendet.cards.page import with_header
from opendet.faults.malicious import all_attacks, tried
from opendet.faults.malicious_attack import Attack, Fires, pickled
from opendet.faults.malicious_files import FILES
from opendet.faults.malicious_models import LOADERS, MODELS
from opendet.faults.malicious_shards import SHARDS
from opendet.faults.malicious_texts import TEXTS, _Tags
from opendet.faults.malicious_valid import VALID
from opendet.faults.refusals import refused

QUICK = {attack.name: attack for attack in (*SHARDS, *FILES)}
ASKS = """
import sys
from pathlib import Path
from opendet.faults.malicious import tried
from opendet.faults.malicious_models import MODELS
attack = next(one for one in MODELS if one.name == sys.argv[1])
print(tried(attack, Path(sys.argv[2])))
"""


@pytest.mark.parametrize("name", QUICK)
def test_no_file_fires(name: str, tmp_path: Path) -> None:
    assert tried(QUICK[name], tmp_path / "attack") == ""


@pytest.mark.parametrize("attack", VALID, ids=lambda attack: attack.name)
def test_no_valid_model_fires(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "y")  # transformers asks where it is not told
    assert tried(attack, tmp_path / "attack") == ""


@pytest.mark.parametrize("attack", VALID, ids=lambda attack: attack.name)
def test_every_valid_model_would_fire(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without our guards: nothing else of it is refused before."""
    take_guards_away(monkeypatch)
    assert tried(attack, tmp_path / "attack").startswith("it fired")


def test_every_loader_has_a_valid_model() -> None:
    told = " ".join(attack.name for attack in VALID)
    assert [name for name in LOADERS if name not in told] == ["our own detector"]


def test_every_attack_has_a_name_of_its_own() -> None:
    names = [attack.name for attack in all_attacks()]
    assert len(names) == len(set(names)) == len((*SHARDS, *FILES, *TEXTS, *MODELS, *VALID))


def test_the_canary_sings_where_a_pickle_is_read(tmp_path: Path) -> None:
    def read(folder: Path, canary: Path) -> str:
        (folder / "a").write_bytes(pickled(canary))
        pickle.loads((folder / "a").read_bytes())
        return ""

    assert tried(Attack("a pickle", read), tmp_path / "attack").startswith("it fired")


def test_the_canary_sings_where_something_runs_in_the_folder(tmp_path: Path) -> None:
    def read(folder: Path, _: Path) -> str:
        (folder / "fired").touch()
        return ""

    assert tried(Attack("a command", read), tmp_path / "attack").startswith("it fired")


def test_a_refusal_is_one_line_of_the_right_kind() -> None:
    def raising(error: Exception, *names: object) -> str:
        def read() -> None:
            raise error

        return refused(read, *names)

    assert raising(ValueError("one line")) == ""
    assert raising(ValueError("one\ntwo")).startswith("it said")
    assert raising(ValueError("a/b is broken"), "b", Path("c")) == ""
    assert raising(ValueError("it is broken"), "a/b", Path("c")).startswith("it named no file")
    assert raising(KeyError("a")) == "KeyError: 'a'"
    assert refused(lambda: None) == "it was taken"


@pytest.mark.parametrize(
    "markup",
    [
        "<script>fired()</script>",
        "<script src='//evil'></script>",
        "<img src=x>",
        "<p onclick=fired()>",
        "<a href='javascript:fired()'>",
    ],
)
def test_markup_in_a_page_is_seen(markup: str) -> None:
    tags = _Tags()
    tags.feed(f"<html><body>{markup}</body></html>")
    assert tags.wrong
    assert not tags.guarded


def test_a_page_of_ours_is_not_markup() -> None:
    tags = _Tags()
    tags.feed('<meta http-equiv="Content-Security-Policy" content="x">&lt;script&gt;<p>fired</p>')
    tags.feed('<script src="assets/store.js"></script><img src="pictures/a.jpg">')
    assert not tags.wrong
    assert tags.guarded


# --- what the attacks found


def test_a_cards_header_turns_no_writing_round() -> None:
    page = with_header({"pretty_name": "a \u202eb\x1b[2J", "tags": ["c\u2066d"]}, [])
    assert not set(page) & set("\u202e\u2066\x1b")
    assert "pretty_name: a b [2J" in page


@pytest.mark.parametrize("name", ["code for T5", "code for a text tower"])
@pytest.mark.slow
def test_weights_that_are_a_pickle_are_told_of_in_one_line(name: str, tmp_path: Path) -> None:
    attack = next(one for one in MODELS if one.name == name)
    assert tried(attack, tmp_path / "attack") == ""


def test_a_checkpoint_that_is_a_pickle_is_told_of_in_one_line(tmp_path: Path) -> None:
    attack = next(one for one in MODELS if one.name == "a pickle for a checkpoint")
    assert tried(attack, tmp_path / "attack") == ""
    (tmp_path / "a.safetensors").write_bytes(pickled(tmp_path / "canary"))
    with pytest.raises(SafetensorError):
        load_file(tmp_path / "a.safetensors")


@pytest.mark.slow
def test_grounding_dinos_importer_asks_nobody_whether_to_run_code(tmp_path: Path) -> None:
    """transformers asks on stdin where it is not told, and runs what is said yes to."""
    ran = subprocess.run(
        [sys.executable, "-c", ASKS, "code for Grounding DINO's weights", str(tmp_path / "a")],
        input="y\n" * 20,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.strip() == "", ran.stdout
    assert ran.returncode == 0


def test_a_pickle_of_ours_makes_a_file(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Fires(tmp_path / "canary")))
    assert (tmp_path / "canary").is_file()
