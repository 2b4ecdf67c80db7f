"""Namers in numpy say what those of the model say: the same names, as likely."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from opendet.model.name_search import BeamSearch
from opendet.model.naming import Objects
from opendet.model.prototype_namer import PrototypeNamer
from opendet.model.vocabulary import Vocabulary, write_vocabulary
from opendet.model.vocabulary_namer import VocabularyNamer
from opendet.onnx_export import beam_search
from opendet.onnx_export.card import PrototypeCard, WriterCard
from opendet.onnx_export.exporting import _vectors
from opendet.onnx_export.namers import (
    Aligner,
    Cascade,
    Cosines,
    ListNames,
    PrototypeNames,
    Said,
    Seen,
)
from opendet.onnx_export.word_list import read_word_list
from tests.model.naming_worlds import CONCEPTS, ask, build_named_detector

STEPS = 5


@pytest.fixture(scope="module")
def detector() -> Any:
    return build_named_detector()


@pytest.fixture(scope="module")
def objects(detector: Any) -> Objects:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(7, 32, generator=generator)
    prompts = functional.normalize(torch.randn(7, 32, generator=generator), dim=1)
    return ask(queries, prompts, detector)


@torch.no_grad()
def seen(objects: Objects) -> Seen:
    head: Any = objects.detector.prototypes
    vectors = objects.vectors
    projected = functional.normalize(head.project(vectors), dim=-1)
    parts = (vectors, objects.prompts, projected, head(vectors).enriched)
    queries, prompts, projected, enriched = (one.numpy() for one in parts)
    return Seen(queries, prompts, projected, enriched)


def equal(first: Any, second: Any) -> None:
    assert [[name.text for name in own] for own in first] == [
        [name.text for name in own] for own in second
    ]
    for one, other in zip(first, second, strict=True):
        assert [name.log_prob for name in one] == pytest.approx(
            [name.log_prob for name in other], abs=1e-4
        )


@pytest.mark.parametrize("temperature", [None, 0.01])
@pytest.mark.parametrize("only", [(), ("disc", "star")])
def test_prototypes(
    detector: Any, objects: Objects, only: tuple[str, ...], temperature: float | None
) -> None:
    own = PrototypeNamer(detector.prototypes, only=only, temperature=temperature)
    card = PrototypeCard(names=CONCEPTS, temperature=detector.prototypes.config.temperature)
    namer = PrototypeNames(_vectors(detector)["prototypes"], card, only, temperature)
    equal(namer.name(seen(objects), count=4), own.name_objects(objects, count=4))


def test_a_name_without_a_prototype() -> None:
    card = PrototypeCard(names=("cat",), temperature=0.1)
    with pytest.raises(ValueError, match="the pool has no prototype of 'dog'"):
        PrototypeNames(np.eye(1, dtype=np.float32), card, ("cat", "dog"))


def words(width: int) -> Vocabulary:
    rows = torch.randn(5, width, generator=torch.Generator().manual_seed(1))
    names = tuple("abcde")
    return Vocabulary(names, functional.normalize(rows, dim=1), "tower", "a {name}")


def test_a_list_by_the_aligner(detector: Any, objects: Objects) -> None:
    listed = words(32)
    own = VocabularyNamer(detector, listed, "alignment")
    compare = Aligner(_vectors(detector), listed.vectors.numpy())
    namer = ListNames(listed.names, compare, alone=True)
    equal(namer.name(seen(objects), count=3), own.name_objects(objects, count=3))


def test_a_list_by_prompts(detector: Any, objects: Objects) -> None:
    listed = words(32)
    own = VocabularyNamer(detector, listed, "prompts")
    namer = ListNames(listed.names, Cosines(listed.vectors.numpy()), alone=False)
    equal(namer.name(seen(objects), count=0), own.name_objects(objects))


def test_a_list_is_read_without_torch(tmp_path: Path) -> None:
    listed = words(4)
    write_vocabulary(tmp_path / "words.safetensors", listed)
    read = read_word_list(tmp_path / "words.safetensors")
    assert (read.names, read.tower) == (listed.names, listed.tower)
    assert np.array_equal(read.vectors, listed.vectors.numpy())
    some = read.only(("d", "a", "d"))
    assert some.names == ("d", "a")
    assert np.array_equal(some.vectors, listed.vectors.numpy()[[3, 0]])
    with pytest.raises(ValueError, match="the vocabulary lacks 'z'"):
        read.only(("a", "z"))


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\0" * 64])
def test_a_damaged_list(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "words.safetensors"
    with pytest.raises(ValueError, match="there is no vocabulary"):
        read_word_list(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no vocabulary"):
        read_word_list(path)


def test_the_cascade_asks_the_second_for_what_the_first_is_unsure_of() -> None:
    class First:
        def name(self, seen: Seen, *, count: int) -> list[list[Said]]:
            sure = [0.9, 0.6, 0.3][: len(seen)]
            return [[Said("first", float(np.log(one)))] for one in sure]

    class Then:
        def name(self, seen: Seen, *, count: int) -> list[list[Said]]:
            return [[Said(f"then {row[0]:.0f}", -1.0)] for row in seen.queries]

    rows = np.arange(3, dtype=np.float32)[:, None]
    said = Cascade(First(), Then(), unsure_below=0.6).name(Seen(rows, rows), count=1)
    assert [names[0].text for names in said] == ["first", "then 1", "then 2"]


# --- beam search


@pytest.mark.parametrize("beams", [1, 2, 3])
@pytest.mark.parametrize("ends", [(1,), (1, 4)])
def test_beams_are_those_of_the_model(beams: int, ends: tuple[int, ...]) -> None:
    """Whatever comes next, drawn anew for each beam and step, both searches go the same way."""
    generator = np.random.default_rng(beams)
    card = WriterCard(
        max_new_tokens=STEPS, start=0, ends=ends, pad=0, layers=1, heads=1, head_width=1
    )
    ours = beam_search.BeamSearch(9, beams, card)
    theirs = BeamSearch(9, beams, STEPS, torch.tensor(ends), 0)
    for step in range(STEPS):
        logits = generator.normal(size=(9, 1 if step == 0 else beams, 12)).astype(np.float32)
        log_probs = torch.from_numpy(logits).log_softmax(-1)
        tokens, parents = ours.advance(log_probs.numpy(), step)
        own_tokens, own_parents = theirs.advance(log_probs, step)
        if step + 1 < STEPS:  # at the last one all have ended, and nothing goes on
            assert np.array_equal(tokens, own_tokens.numpy())
            assert np.array_equal(parents, own_parents.numpy())
        assert np.array_equal(ours.open, theirs.open.numpy())
    assert np.array_equal(ours.ended, theirs.ended.numpy())
    assert np.allclose(ours.means, theirs.means.numpy(), atol=1e-6)


def test_of_equals_the_first_comes_first() -> None:
    values, places = beam_search._top(np.array([[1, 3, 3, 2, 3]], np.float32), 3)
    assert values.tolist() == [[3, 3, 3]]
    assert places.tolist() == [[1, 2, 4]]
