"""The stage `regions`: phrases of the caption and the boxes that they speak of."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from opendet.annotators.grammar import named_regions, write_caption
from opendet.annotators.noun_phrases import Span
from opendet.curate.regions import RegionFinder, RegionsConfig, ground_spans, tally
from opendet.record import Phrase, Provenance, Record, Region
from opendet.sample import Sample

SOURCE = Provenance("source")
GRAMMAR = RegionsConfig(tagger="grammar")


def region(label: str | None, x: float = 0.0, *, names: tuple[str, ...] = ()) -> Region:
    return Region((x, x, x + 20, x + 20), SOURCE, label=label, names=names)


def record(caption: str, *regions: Region, key: str = "toy-0") -> Record:
    return Record(
        key, "toy", "toy", "train", "CC0-1.0", "0.png", "png", 1, "00", 128, 128,
        caption=caption, regions=regions,
    )  # fmt: skip


def found(finder: RegionFinder, one: Record) -> Record:
    (out,) = finder([Sample(one)])
    assert isinstance(out, Record)
    return out


def grounded(one: Record) -> dict[str, tuple[int, ...]]:
    return {one.caption[phrase.start : phrase.end]: phrase.regions for phrase in one.phrases}


def random_scene(rng: random.Random, key: str) -> Record:
    words = (
        ("red", "orange", "black"),
        ("plain", "striped", "dotted"),
        ("star", "cross", "square"),
    )
    regions = [
        region(" ".join(rng.choice(choice) for choice in words), rng.uniform(0, 100))
        for _ in range(rng.randint(1, 8))
    ]
    scene = record("", *regions, key=key)
    caption = write_caption(named_regions(scene), width=128, height=128, key=key)
    return replace(scene, caption=caption)


def test_two_red_stars_are_all_red_stars() -> None:
    scene = record(
        "Two red stars lie above a blue ring and a tree.",
        region("red striped star"),
        region("blue plain ring", 40),
        region("red dotted star", 80),
    )
    out = found(RegionFinder(GRAMMAR), scene)
    assert grounded(out) == {"Two red stars": (0, 2), "a blue ring": (1,), "a tree": ()}
    assert out.regions == scene.regions
    assert out.phrases[0].grounded_from == Provenance("noun phrases", "grammar 1")
    assert tally([out, out]) == {
        "boxes.by.source": 6,
        "regions": 6,
        "regions.in_caption": 6,
        "phrases.grounded": 4,
        "phrases.ungrounded": 2,
    }


def test_phrases_of_nothing_go_when_asked() -> None:
    scene = record("A red star near a tree.", region("red plain star"))
    out = found(RegionFinder(RegionsConfig(tagger="grammar", keep_ungrounded=False)), scene)
    assert grounded(out) == {"A red star": (0,)}


def test_every_object_of_a_scene_is_spoken_of_and_by_its_own_name() -> None:
    rng = random.Random(0)
    finder = RegionFinder(GRAMMAR)
    for number in range(100):
        out = found(finder, random_scene(rng, f"scene-{number}"))
        mentioned = {index for phrase in out.phrases for index in phrase.regions}
        assert mentioned == set(range(len(out.regions))), out.caption
        for phrase in out.phrases:
            labels = {out.regions[index].label for index in phrase.regions}
            assert len(labels) <= 1, (out.caption[phrase.start : phrase.end], labels)


def test_the_stage_is_idempotent_and_independent_of_the_batch() -> None:
    rng = random.Random(1)
    scenes = [random_scene(rng, f"scene-{number}") for number in range(10)]
    finder = RegionFinder(GRAMMAR)
    once = finder([Sample(scene) for scene in scenes])
    assert once == [found(finder, scene) for scene in scenes]
    assert [found(finder, one) for one in once if isinstance(one, Record)] == once


def test_without_caption_or_boxes() -> None:
    finder = RegionFinder(GRAMMAR)
    assert found(finder, record("")).phrases == ()
    assert grounded(found(finder, record("a star"))) == {"a star": ()}
    assert tally([]) == {}


def test_a_region_without_a_label_is_known_by_its_names() -> None:
    scene = record("a star and a ring", region(None, names=("ring",)), region(None))
    assert grounded(found(RegionFinder(GRAMMAR), scene)) == {"a star": (), "a ring": (0,)}


def test_the_records_own_phrases_stay() -> None:
    own = Phrase(2, 10, (1,), SOURCE)  # "red star"
    scene = replace(
        record("a red star, on the blue rings", region("ring"), region("tree")),
        phrases=(own, replace(own, start=6, regions=())),  # "star", inside the other
    )
    found_by = Provenance("noun phrases")
    phrases = ground_spans(scene, [Span(0, 10), Span(15, 29)], found_by, {})
    assert phrases == (own, Phrase(15, 29, (0,), found_by))


def test_nltk_grounds_real_captions(shared_data: Path) -> None:
    config = RegionsConfig(tagger="nltk", nltk_folder=shared_data / "nltk_data")
    scene = record(
        "A man with a red helmet on a small moped on a dirt road. ",
        region("person"),
        region("motorcycle"),
    )
    out = found(RegionFinder(config), scene)
    assert grounded(out) == {
        "A man": (0,),
        "a red helmet": (),
        "a small moped": (1,),
        "a dirt road": (),
    }
    assert out.phrases[0].grounded_from.revision.startswith("nltk ")


def test_a_misspelt_tagger_is_refused() -> None:
    with pytest.raises(ValueError, match="tagger"):
        RegionsConfig.model_validate({"tagger": "spacy"})
