"""Names that differ only in number, case or spelling of gaps are one name."""

import os
from pathlib import Path

import nltk
import pytest

from opendet.evaluation.lemma import Lemmatiser, find_lemmatiser

FILES = (
    "cntlist.rev index.sense index.adj index.adv index.verb data.adj data.adv data.verb data.noun"
)


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lemmatiser:
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return find_lemmatiser()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Buses", "bus"),
        ("two red  balls", "two red ball"),
        ("a dog", "dogs"),
        ("aerosol_can", "Aerosol-cans"),
        ("women", "woman"),
        ("boxes", "box"),
        ("wine glasses", "wine glasses"),
        ("a", "a"),
        ("", " "),
    ],
)
def test_one_name(rules: Lemmatiser, one: str, other: str) -> None:
    assert rules.of_name(one) == rules.of_name(other)


@pytest.mark.parametrize(
    ("one", "other"), [("bus", "bush"), ("dog", "hot dog"), ("men", "mean"), ("a", "")]
)
def test_two_names(rules: Lemmatiser, one: str, other: str) -> None:
    assert rules.of_name(one) != rules.of_name(other)


def test_without_wordnet_the_rules_say_so(rules: Lemmatiser) -> None:
    assert rules.by == "rules"


@pytest.mark.filterwarnings("ignore:The multilingual functions")
def test_with_wordnet_its_exceptions_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A WordNet of one noun, in the form of the published files."""
    folder = tmp_path / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    for name in FILES.split():
        (folder / name).write_text("")
    for kind in ("noun", "verb", "adj", "adv"):
        (folder / f"{kind}.exc").write_text("oxygons oxygon\n" if kind == "noun" else "")
    (folder / "index.noun").write_text("oxygon n 1 0 1 0 00000001\nthing n 1 0 1 0 00000001\n")
    lexnames = [f"{number:02d}\tnoun.n{number}\t1" for number in range(45)]
    (folder / "lexnames").write_text("\n".join(lexnames) + "\n")
    monkeypatch.setenv("NLTK_DATA", f"{tmp_path / 'other'}{os.pathsep}{tmp_path}")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])  # It read $NLTK_DATA when imported.
    from nltk.corpus import LazyCorpusLoader, WordNetCorpusReader

    fresh = LazyCorpusLoader("wordnet", WordNetCorpusReader, None)
    monkeypatch.setattr(nltk.corpus, "wordnet", fresh)
    found = find_lemmatiser()
    assert found.by == "wordnet"
    assert found.of_name("Blue oxygons") == "blue oxygon"
