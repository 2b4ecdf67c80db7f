"""Names of a list, by each of the three comparisons, against numbers worked by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from opendet.model.config import DetectorConfig, PrototypeHeadConfig
from opendet.model.detector import OpenDetector
from opendet.model.prototype_set import PrototypeSet
from opendet.model.vocabulary import Vocabulary
from opendet.model.vocabulary_namer import VocabularyNamer
from tests.model.naming_worlds import AXES, ask, known_axes
from tests.model.worlds import TINY_DETECTOR, build_namer

D_T = 32  # of the tiny namer's prompts
NAMES = ("cat", "dog", "cow")


def detector_of(
    config: DetectorConfig = TINY_DETECTOR, known: PrototypeSet | None = None
) -> OpenDetector:
    torch.manual_seed(0)
    return OpenDetector(config, build_namer(), known).eval()


def with_prototypes() -> OpenDetector:
    head = PrototypeHeadConfig(predictor_heads=1)
    config = TINY_DETECTOR.model_copy(update={"semantics": "prototypes", "prototypes": head})
    return detector_of(config, known_axes(("one", "two", "three", "four")))


def words(width: int = D_T) -> Vocabulary:
    return Vocabulary(NAMES, torch.eye(3, width), "tower", "{name}")


def test_by_prompts_it_is_a_softmax_of_cosines() -> None:
    """A prompt at 3 : 4 between cat and dog: cosines .6 and .8, logits 60 and 80, 20 apart."""
    namer = VocabularyNamer(detector_of(), words(), by="prompts")
    prompt = torch.zeros(1, D_T)
    prompt[0, :2] = torch.tensor([0.6, 0.8])
    (said,) = namer.name_objects(ask(torch.zeros(1, 32), prompt))
    assert [name.text for name in said] == ["dog", "cat", "cow"]
    assert said[0].log_prob == pytest.approx(-math.exp(-20), abs=1e-6)
    assert said[1].log_prob == pytest.approx(-20, abs=1e-3)


def test_by_alignment_each_name_is_likely_by_itself() -> None:
    """As in training: the sigmoid of the last aligner's logit."""
    detector = detector_of()
    namer = VocabularyNamer(detector, words(), by="alignment")
    queries = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = detector.aligners[-1](queries[None], words().vectors[None])[0].sigmoid()
    for names, row in zip(namer.name_objects(ask(queries), count=3), wanted, strict=True):
        told = {name.text: name.probability for name in names}
        assert [told[name] for name in NAMES] == pytest.approx(row.tolist(), rel=1e-4)
        assert list(told.values()) == sorted(told.values(), reverse=True)


def test_by_prototypes_it_is_the_semantic_predictor_s_softmax() -> None:
    detector = with_prototypes()
    namer = VocabularyNamer(detector, words(4), by="prototypes")
    queries = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    head = detector.prototypes
    assert head is not None
    with torch.no_grad():
        wanted = head.class_logits(head(queries), AXES[:3]).softmax(dim=1)
    for names, row in zip(namer.name_objects(ask(queries), count=3), wanted, strict=True):
        told = {name.text: name.probability for name in names}
        assert [told[name] for name in NAMES] == pytest.approx(row.tolist(), abs=1e-5)
        assert sum(told.values()) == pytest.approx(1, abs=1e-4)


def test_auto_takes_what_the_detector_has() -> None:
    bare = TINY_DETECTOR.model_copy(update={"aligner": "none"})
    assert VocabularyNamer(with_prototypes(), words(4)).by == "prototypes"
    assert VocabularyNamer(detector_of(), words()).by == "alignment"
    assert VocabularyNamer(detector_of(bare), words()).by == "prompts"


def _names_of(vocabulary: Vocabulary, queries: Tensor) -> list[list[tuple[str, float]]]:
    namer = VocabularyNamer(detector_of(), vocabulary)
    return [
        [(name.text, round(name.probability, 5)) for name in names]
        for names in namer.name_objects(ask(queries))
    ]


def test_the_list_s_order_says_nothing() -> None:
    queries = torch.randn(4, 32, generator=torch.Generator().manual_seed(2))
    turned = replace(words(), names=NAMES[::-1], vectors=words().vectors.flip(0))
    assert _names_of(words(), queries) == _names_of(turned, queries)


def test_nothing_to_name_and_few_names() -> None:
    assert _names_of(words(), torch.zeros(0, 32)) == []
    assert len(_names_of(words().only(("dog",)), torch.zeros(1, 32))[0]) == 1


@pytest.mark.parametrize(
    ("by", "says"),
    [
        ("prototypes", "no prototypes"),
        ("alignment", "no aligner"),
        ("prompts", "7 wide, the model compares 32 by its prompts"),
    ],
)
def test_what_does_not_fit(by: str, says: str) -> None:
    bare = detector_of(TINY_DETECTOR.model_copy(update={"aligner": "none"}))
    with pytest.raises(ValueError, match=says) as error:
        VocabularyNamer(bare, words(7), by=by)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_vectors_of_another_space_than_the_pool_s() -> None:
    with pytest.raises(ValueError, match="32 wide, the model compares 4 by its prototypes"):
        VocabularyNamer(with_prototypes(), words())
