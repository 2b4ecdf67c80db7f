"""Limits are counted from the records, and said only where there is one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from opendet.cards.about import MODEL, AnnotatorAbout
from opendet.cards.limits import limits_of
from opendet.cards.measured import data_measures
from opendet.cards.tally import tally_of
from opendet.record import Phrase, Provenance, Record, Region

SOURCE, GRAMMAR, CLIP = Provenance("source"), Provenance("grammar", "1"), Provenance("clip", "ab")


def region(name: str = "", refusal: str = "", **fields: Any) -> Region:
    names = (name,) if name else ()
    by = SOURCE if name else None
    return Region((0, 0, 40, 40), SOURCE, names=names, names_from=by, refusal=refusal, **fields)


def record(key: str, regions: Sequence[Region] = (), split: str = "train", **fields: Any) -> Record:
    plain = Record(
        key=key,
        source="toy",
        batch="b",
        split=split,
        licence="MIT",
        file=f"{key}.jpg",
        format="jpg",
        bytes=1,
        sha256="0" * 64,
        width=64,
        height=48,
        caption="a cat",
        caption_from=SOURCE,
        regions=tuple(regions),
    )
    return replace(plain, **fields)


WHOLE = (
    record("b-1", [region("cat"), region("dog")]),
    record("b-2", [region("cat"), region("dog")], "val"),
)


def told(
    records: Sequence[Record], *, judged: Sequence[str] = ("train", "val"), **metrics: Any
) -> str:
    return " ".join(limits_of(tally_of(records), (), metrics, judged=judged))


def test_nothing_is_said_of_data_that_lacks_nothing() -> None:
    assert told(WHOLE) == ""


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        (
            [record("b-3", [region("cat")], licence="CC-BY-NC-ND-4.0")],
            "The licences of 1 of 3 images forbid commercial use: these are not to be used so.",
        ),
        ([record("b-3", [region("cat")], licence="")], "Images that say no licence: 1 of 3."),
        ([record("b-3")], "Images of the split train without a kept region: 1 of 2."),
        (
            [record("b-3", [region("cat", "blurred")])],
            "Regions with a reason in their field refusal: 1; nothing is to be learned from their "
            "names.",
        ),
        (
            [record("b-3", [region("cat")], "val", caption="", caption_from=None)],
            "Images of the split val without a caption: 1 of 2.",
        ),
        (
            [record("b-3", [region("cat")] * 2, caption_from=GRAMMAR)],
            "A grammar wrote 33.3 % of the captions",
        ),
        ([record("b-3", [region("ox")])], "Names that come once: 1 of 3."),
        (
            [record("b-3", [region("ox")], "val")],
            "Names of the split val that are not in train: 1 of 3.",
        ),
        ([record("b-3", [region("cat")] * 5)], "77.8 % of the named regions are called cat"),
        (
            [record("b-3", [Region((0, 0, 31, 31), SOURCE)] * 5)],
            "55.6 % of the kept boxes are smaller than 32 x 32 pixels.",
        ),
        (
            [record("b-3", [region("cat")], near_duplicate_of="b-1")],
            "Images that look like an earlier one: 1;",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_number(records: list[Record], sentence: str) -> None:
    assert sentence in told([*WHOLE, *records])


def test_a_single_name_and_a_missing_split_are_said() -> None:
    sentences = told([record("b-1", [region("cat"), region("cat")])])
    assert "Every named region is called cat." in sentences
    assert "There is no split val." in sentences


def test_splits_that_no_rule_judged_are_said() -> None:
    assert told(WHOLE, judged=["train"]) == "Regions of the split val, which no rule judged: 2."
    assert told(WHOLE, judged=[]) == "No filter has judged any region."


def test_planted_errors_that_are_left_are_counted() -> None:
    counts = {"planted.judged": 7, "planted.caught": 5}
    sentence = told(WHOLE, describe={"planted": 10}, filter=counts)
    assert sentence.startswith(
        "Of 10 errors that were planted in the build, 2 passed the filter and 3 lie where it judges"
    )
    assert sentence.endswith("these texts and names are wrong.")
    assert "names are wrong, unless people corrected them." in told(
        WHOLE, describe={"planted": 10}, filter={**counts, "corrected": 1}
    )
    assert "Texts made wrong on purpose, at which no filter has looked: 10." in told(
        WHOLE, describe={"planted": 10}
    )


def test_names_that_nobody_planted_are_not_called_planted() -> None:
    counts = {"planted.judged": 7, "planted.caught": 5}
    assert told(WHOLE, filter=counts).startswith(
        "Names unlike the source's label that passed the filter: 2."
    )


def test_models_whose_licence_is_unknown_are_named() -> None:
    known = AnnotatorAbout("a/known", "", MODEL, (("names", 1),), "MIT", "its folder")
    unknown = AnnotatorAbout("b/unknown", "", MODEL, (("names", 1),))
    [sentence] = limits_of(tally_of(WHOLE), (known, unknown), {}, judged=["train", "val"])
    assert sentence.startswith("The licence of the model b/unknown is unknown here")


def test_beliefs_are_counted_by_who_holds_them() -> None:
    phrases = (Phrase(0, 1, (0,), GRAMMAR), Phrase(2, 5, (), GRAMMAR))
    regions = [
        region("cat", agreement=0.5, agreement_from=CLIP, seconded=0.9),
        region("dog", "disagrees", agreement=0.25, agreement_from=CLIP),
        region(description="a thing", description_from=GRAMMAR, name_checked=CLIP),
    ]
    tally = tally_of([record("b-1", regions, phrases=phrases)])
    assert tally.said == {
        ("source", "", "captions"): 1,
        ("source", "", "boxes"): 3,
        ("source", "", "names"): 2,
        ("grammar", "1", "phrases grounded"): 1,
        ("grammar", "1", "phrases not found"): 1,
        ("grammar", "1", "descriptions"): 1,
        ("clip", "ab", "agreements measured"): 2,
        ("clip", "ab", "names judged"): 1,
    }
    assert (tally.agreements_kept, tally.agreements_refused) == ([0.5], [0.25])
    assert (tally.seconded, tally.sizes) == (1, {"medium": 2})
    assert tally.names == {"cat": 1}


def test_measures_are_those_of_the_metrics() -> None:
    metrics = {
        "describe": {"planted": 4, "described": 20},
        "embed": {"embedded": 20, "closer_to_another": 3},
        "filter": {"planted.judged": 4, "planted.caught": 3, "disagrees": 6},
        "prototypes": {"coarse": 2, "fine": 5},
    }
    found = {one.what: one.value for one in data_measures(metrics, tally_of(WHOLE))}
    assert found == {
        "texts that the grammar made wrong on purpose, so that the filter has something to find, "
        "of 20": "4",
        "crops, of 20, that CLIP finds nearer to another name of the vocabulary than to their "
        "own": "3",
        "planted errors, of 4 that the rules judged, that they refused": "3 (75.0 %)",
        "refusals of a name, of 6, that were right by the source's label": "3 (50.0 %)",
        "coarse and fine prototypes made of the kept regions": "2 and 5",
    }
    assert data_measures({}, tally_of(WHOLE)) == []


def test_without_planted_errors_the_same_numbers_are_called_what_they_are() -> None:
    counts = {"filter": {"planted.judged": 4, "planted.caught": 1}}
    [measure] = data_measures(counts, tally_of(WHOLE))
    assert measure.what.startswith("names unlike the source's label, of 4")
