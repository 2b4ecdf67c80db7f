from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_world import COLOURS, TINY, sample, samples

from opendet.curate.clip import build_clip
from opendet.curate.embed import Embedder, judge, tally
from opendet.curate.second_opinion import second_opinions
from opendet.curate.vectors import read_vectors, with_vectors, write_vectors
from opendet.files import sha256_of
from opendet.record import Provenance, Region


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("clip")
    build_clip(samples(), TINY, seed=0, folder=home)
    return home


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Embedder:
    return Embedder(folder, COLOURS)


def test_judging_by_hand():
    known = np.eye(3, dtype=np.float32)
    crop = np.array([[0.6, 0.8, 0.0]], np.float32)
    (found,) = judge(crop, known[:1], [("red",)], known, ("red", "green", "blue"))
    assert (found.agreement, found.rival, found.rival_agreement) == (0.6, "green", 0.8)


def test_a_synonym_is_no_rival():
    known = np.eye(3, dtype=np.float32)
    crop = np.array([[0.6, 0.8, 0.0]], np.float32)
    (found,) = judge(crop, known[:1], [("red", "green")], known, ("red", "green", "blue"))
    assert (found.rival, found.rival_agreement) == ("blue", 0.0)


def test_without_other_names_there_is_no_rival():
    known = np.eye(1, 3, dtype=np.float32)
    (found,) = judge(known, known, [("red",)], known, ("red",))
    assert (found.agreement, found.rival, found.rival_agreement) == (1.0, "", None)
    (found,) = judge(known, known, [("red",)], known[:0], ())
    assert (found.rival, found.rival_agreement) == ("", None)


def test_every_named_region_is_judged_and_only_those(embedder: Embedder):
    found = embedder(samples())
    assert [item.regions for item in found] == [
        (0, 1, 2, 3),
        (0, 1),
        (0, 2),
        (),
        (0, 1, 2, 3),
        (0,),
    ]
    for item in found:
        assert item.crops.shape == item.texts.shape == (len(item.regions), TINY.width)
        for index, region in enumerate(item.record.regions):
            judged = index in item.regions
            assert (region.agreement is not None) == judged == (region.agreement_from is not None)
            assert region.rival != (region.names[0] if region.names else "nothing")
    assert tally(found) | {"closer_to_another": 0} == {
        "embedded": 13,
        "unnamed": 1,
        "closer_to_another": 0,
    }


def test_agreement_is_the_cosine_of_the_vectors(embedder: Embedder):
    item = embedder(samples())[0]
    cosines = (item.crops.astype(np.float32) * item.texts.astype(np.float32)).sum(1)
    said = [region.agreement for region in item.record.regions]
    assert np.allclose(cosines, said, atol=2e-3)


def test_company_changes_nothing(embedder: Embedder):
    together = embedder(samples())
    alone = [embedder([one])[0] for one in samples()]
    for one, other in zip(together, alone, strict=True):
        assert one.record == other.record
        assert np.array_equal(one.crops, other.crops)
        assert np.array_equal(one.texts, other.texts)


def test_the_order_of_the_vocabulary_does_not_matter(folder: Path, embedder: Embedder):
    turned = Embedder(folder, COLOURS[::-1])
    assert [i.record for i in turned(samples())] == [i.record for i in embedder(samples())]


def test_a_name_outside_the_vocabulary_is_judged(embedder: Embedder):
    item = embedder([sample("b0-9", ("purple",))])[0]
    assert item.record.regions[0].agreement is not None
    assert item.record.regions[0].rival in COLOURS


def test_the_label_is_never_looked_at(embedder: Embedder):
    one = samples()[0]
    lying = tuple(replace(region, label="nothing") for region in one.record.regions)
    blind = replace(one, record=replace(one.record, regions=lying))
    assert np.array_equal(embedder([one])[0].crops, embedder([blind])[0].crops)


OWL, DINO = Provenance("owl", "1"), Provenance("dino", "1")


def by(annotator: Provenance, *names: str, shift: float = 0.0) -> tuple[Region, ...]:
    """A square of 20 pixels for each name, side by side."""
    return tuple(
        Region((24 * place + 4 + shift, 10, 24 * place + 24 + shift, 30), annotator, names=(name,))
        for place, name in enumerate(names)
    )


def seconded(*regions: Region) -> list[float | None]:
    """By names as unit vectors that are all at right angles, but for red and crimson."""
    cosine = 0.8
    vectors = {
        "red": (1.0, 0.0, 0.0),
        "crimson": (cosine, 0.6, 0.0),
        "blue": (0.0, 0.0, 1.0),
    }
    texts = np.array([vectors[region.names[0]] for region in regions], np.float32)
    return second_opinions(regions, texts.reshape(-1, 3))


def test_a_second_annotator_seconds_what_it_sees_in_the_same_place() -> None:
    one = by(OWL, "red", "blue", "red")
    other = by(DINO, "crimson", "red")
    found = seconded(*one, *other)
    assert found == pytest.approx([0.8, 0.0, None, 0.8, 0.0])


def test_the_most_alike_of_several_counts_and_the_same_annotator_does_not() -> None:
    (red,) = by(OWL, "red")
    assert seconded(red, *by(DINO, "blue"), *by(DINO, "crimson")) == pytest.approx([0.8, 0.0, 0.8])
    assert seconded(red, red, *by(OWL, "crimson")) == [None, None, None]
    assert seconded(red, *by(Provenance("owl", "2"), "red")) == [1.0, 1.0]
    assert seconded() == []


@pytest.mark.parametrize(
    ("shift", "there"), [(0.0, True), (6.6, True), (6.7, False), (20.0, False)]
)
def test_the_same_place_is_an_overlap_of_a_half(shift: float, there: bool) -> None:
    found = seconded(*by(OWL, "red"), *by(DINO, "red", shift=shift))  # IoU (20 - s) / (20 + s)
    assert found == ([1.0, 1.0] if there else [None, None])


def test_the_stage_says_what_was_seconded(embedder: Embedder) -> None:
    one = sample("b0-9", ("red", "green", ""))
    witnesses = (*by(DINO, "blue"), *by(DINO, "red", shift=48.0))
    both = replace(one, record=replace(one.record, regions=(*one.record.regions, *witnesses)))
    item = embedder([both])[0]
    first, second, unnamed, third, fourth = item.record.regions
    texts = item.texts.astype(np.float32)
    assert first.seconded == third.seconded == pytest.approx(float(texts[0] @ texts[2]), abs=2e-3)
    assert second.seconded is unnamed.seconded is fourth.seconded is None
    assert tally([item])["seconded"] == 2
    assert all(region.seconded is None for region in embedder([one])[0].record.regions)


def test_vectors_round_trip_with_equal_bytes(tmp_path: Path, embedder: Embedder):
    items = embedder(samples())
    for name in ("first", "second"):
        write_vectors(tmp_path / name, items)
    assert sha256_of(tmp_path / "first") == sha256_of(tmp_path / "second")
    vectors = read_vectors(tmp_path / "first")
    assert vectors.keys[:5] == ("b0-0",) * 4 + ("b0-1",)
    assert vectors.regions.tolist() == [0, 1, 2, 3, 0, 1, 0, 2, 0, 1, 2, 3, 0]
    assert np.array_equal(vectors.crops, np.concatenate([item.crops for item in items]))
    for item, back in zip(
        items, with_vectors([item.record for item in items], vectors), strict=True
    ):
        assert (back.record, back.regions) == (item.record, item.regions)
        assert np.array_equal(back.crops, item.crops)
        assert np.array_equal(back.texts, item.texts)


def test_no_vectors_and_no_named_region(tmp_path: Path, embedder: Embedder):
    for items in ([], embedder([sample("b0-3", ())])):
        write_vectors(tmp_path / "none", items)
        assert read_vectors(tmp_path / "none").keys == ()


def test_a_part_without_vectors_takes_those_of_a_retry(tmp_path: Path, embedder: Embedder):
    write_vectors(tmp_path / "none", embedder([sample("b0-3", ())]))
    before = with_vectors([sample("b0-3", ()).record], read_vectors(tmp_path / "none"))
    again = embedder(samples()[:1])
    write_vectors(tmp_path / "merged", [*before, *again])
    assert np.array_equal(read_vectors(tmp_path / "merged").crops, again[0].crops)


def test_damaged_vectors_give_one_line(tmp_path: Path, embedder: Embedder):
    path = tmp_path / "short"
    write_vectors(path, embedder(samples()))
    path.write_bytes(path.read_bytes()[:-20])
    for broken in (path, tmp_path / "missing"):
        with pytest.raises(ValueError, match="holds no vectors") as caught:
            read_vectors(broken)
        assert "\n" not in str(caught.value)


def test_a_folder_without_a_choice_gives_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match="build the stage `clip` first"):
        Embedder(tmp_path, COLOURS)
