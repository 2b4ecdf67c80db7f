"""What is asked of a detector: the vocabulary, tags, noun phrases and N-grams of an image."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from opendet.annotators.ngrams import STOP_WORDS, is_generic, ngrams_of
from opendet.annotators.queries import QueriesConfig, curated_names, queries_of
from opendet.record import Record

CAPTION = "Stock photo of a golden retriever, running on the beach - free download"
RUNS = ("golden", "retriever", "running", "beach", "golden retriever", "running on the beach")


def record(caption: str = "", *, key: str = "a-0", tags: tuple[str, ...] = ()) -> Record:
    return Record(
        key=key, source="toy", batch="a", split="train", licence="CC0-1.0", file="a.jpg",
        format="jpg", bytes=1, sha256="0" * 64, width=8, height=8, caption=caption, tags=tags,
    )  # fmt: skip


def test_ngrams_end_in_words_that_say_something_and_cross_no_mark() -> None:
    assert ngrams_of(CAPTION, longest=10) == RUNS
    assert ngrams_of(CAPTION, longest=3) == RUNS[:-1]
    assert ngrams_of("", longest=10) == ()


@pytest.mark.parametrize(
    "phrase",
    [
        "stock photo", "image of a dog", "click", "click here", "free download", "view larger",
        "royalty free vector", "dog.jpg", "www example com", "high resolution wallpaper",
        "photo by ann", "background", "left side", "12", "x", "more information",
    ],
)  # fmt: skip
def test_what_pages_say_is_generic(phrase: str) -> None:
    assert is_generic(phrase) or phrase not in ngrams_of(phrase, longest=10)


@pytest.mark.parametrize(
    "phrase",
    ["golden retriever", "fishing net", "stockpot", "picture frame", "raw fish", "café", "狗狗"],
)
def test_names_of_things_are_not(phrase: str) -> None:
    assert ngrams_of(phrase, longest=4)[-1] == phrase


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="aof thed stockphi, .-'é4", max_size=60), st.integers(1, 10))
def test_ngrams_are_short_distinct_and_of_the_text(text: str, longest: int) -> None:
    found = ngrams_of(text, longest=longest)
    assert len(set(found)) == len(found)
    squeezed = re.sub(r"\s", "", text.lower())
    for run in found:
        words = run.split()
        assert len(words) <= longest
        assert not {words[0], words[-1]} & STOP_WORDS
        assert run.replace(" ", "") in squeezed


def test_the_union_is_tidy_and_in_order() -> None:
    config = QueriesConfig(vocabulary=("Dog", "a  cat ", "dog"), ngrams=True, longest_ngram=2)
    curated = curated_names(config, Path())
    assert curated == ("dog", "cat")
    asked = queries_of(
        record("A dog and the Red  Ball", tags=("Toy", "cat")),
        ["A dog", "the Red  Ball", "the background"],
        config,
        curated,
    )
    assert asked == ("dog", "cat", "toy", "red ball", "red", "ball")


def test_each_kind_has_its_switch_and_the_source_captions_count() -> None:
    one = record("a dog", tags=("pet",))
    off = QueriesConfig(tags=False, caption_phrases=False)
    assert queries_of(one, ["a dog"], off, ()) == ()
    assert queries_of(one, ["A Dog"], QueriesConfig(tags=False, lower=False), ()) == ("Dog",)
    told = replace(one, source_captions=("a wet nose", "a dog"))
    runs = QueriesConfig(tags=False, caption_phrases=False, ngrams=True)
    assert queries_of(told, [], runs, ()) == ("dog", "wet", "nose", "wet nose")


def test_a_long_caption_keeps_its_short_runs_the_same_on_every_run() -> None:
    words = [f"toy{chr(97 + number)}" for number in range(20)]
    config = QueriesConfig(ngrams=True, max_queries=30)
    asked = [queries_of(record(" ".join(words), key=key), [], config, ()) for key in ("a", "b")]
    for queries in asked:
        assert len(queries) == 30
        assert queries[:20] == tuple(words)
        assert all(len(query.split()) == 2 for query in queries[20:])
    assert asked[0] != asked[1]  # chance decides by the image, and evenly
    assert asked[0] == queries_of(record(" ".join(words), key="a"), [], config, ())
    assert queries_of(record("a dog"), ["a dog"], QueriesConfig(max_queries=0), ("cat",)) == (
        "cat",
    )


def test_the_vocabulary_is_a_file_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("# birds\nThe Kingfisher\n\nheron\n", encoding="utf-8")
    config = QueriesConfig(vocabulary=("heron",), vocabulary_file=Path("names.txt"))
    assert curated_names(config, tmp_path) == ("heron", "kingfisher")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"names\.txt is no UTF-8 text"):
        curated_names(config, tmp_path)
    (tmp_path / "names.txt").unlink()
    with pytest.raises(ValueError, match=r"queries\.vocabulary_file: there is no file"):
        curated_names(config, tmp_path)
    for outside in ("/names.txt", "../names.txt"):
        with pytest.raises(ValidationError, match="outside of the project"):
            QueriesConfig(vocabulary_file=Path(outside))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "names nothing"),
        ("# cat\n\n", "names nothing"),
        ("cat\n" + "a sentence of a page " * 9, "is no list of names"),
    ],
)
def test_a_file_that_holds_no_names_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "names.txt").write_text(content)
    config = QueriesConfig(vocabulary_file=Path("names.txt"))
    with pytest.raises(ValueError, match=said):
        curated_names(config, tmp_path)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("\ufeffcat\r\ndog\r\n".encode())
    assert curated_names(QueriesConfig(vocabulary_file=Path("names.txt")), tmp_path) == (
        "cat",
        "dog",
    )
