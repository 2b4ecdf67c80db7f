"""What the pages' data files say, worked by hand, and that they cannot do anything."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from opendet.pages.beliefs import ASPECTS, beliefs_of
from opendet.pages.charts import binned_histogram
from opendet.pages.columns import MOST_CARD, UNKNOWN, Index, card_of
from opendet.pages.comparison import compare, name_changes
from opendet.pages.details import MOST_CAPTION, caption_spans, details_of
from opendet.pages.entry import Entry, Fate, said
from opendet.pages.script_data import data_script, picture_path
from opendet.pages.tally import Tally
from opendet.record import Phrase, Record
from tests.pages.page_world import MARKUP, SOURCE, region, sample

BIRD = region((0, 0, 32, 12), "bird", score=0.25)


def entry(key: str = "a-0000", caption: str = "a bird", **more: object) -> Entry:
    record = replace(sample(key, caption, [BIRD]).record, **more)  # type: ignore[arg-type]
    return Entry(key, record)


@pytest.mark.parametrize(
    "text", ["</script><script>", "\u2028\u2029", "<!--", "__proto__", "\ud800", 'a"b\\c', "\0\x1b"]
)
def test_a_data_script_is_one_call_with_one_value(text: str) -> None:
    script = data_script("data/a/collection.js", [text, {"name": text}])
    start = b'OpenDet.take("data/a/collection.js",'
    assert script.startswith(start)
    assert script.endswith(b");\n")
    inside = script[len(start) : -3]
    assert inside.isascii()
    assert b"<" not in inside
    assert json.loads(inside) == [text, {"name": text}]


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        data_script("data/a/collection.js", float("nan"))


def test_pictures_lie_a_thousand_in_a_folder() -> None:
    assert picture_path("a", 3, 999, "small") == "pictures/a/0003/0/999-small.jpg"
    assert picture_path("b", 12, 1000, "large") == "pictures/b/0012/1/1000-large.jpg"


def test_texts_are_cut_with_a_mark_and_cannot_steer() -> None:
    assert said("abcdef", 6) == "abcdef"
    assert said("abcdefg", 6) == "abcdef…"
    assert said("a\x1b[31mb\u202ec", 60) == "a [31mb c"


def test_columns_of_an_index() -> None:
    index = Index()
    index.add(entry(), picture=True, details=2)
    index.add(Entry("b", None, fate=Fate("dropped", "filter", "blurred")), picture=False, details=3)
    value = index.value
    assert value["names"] == ["bird"]
    assert value["fates"] == ["", "dropped: blurred"]
    assert value["samples"][0] == ["a-0000", "b"]
    assert value["samples"][3] == [0, 1]  # fates
    assert value["samples"][7:] == [[1, 0], [1, 0], [2, 3]]
    assert value["regions"] == [[0], [250], [125], [0], [0]]


def test_a_region_without_numbers_says_so() -> None:
    bare = replace(BIRD, agreement=None, box_from=SOURCE, names=(), label="hen")
    index = Index()
    index.add(entry(regions=(bare,)), picture=True, details=0)
    assert index.value["names"] == ["hen"]
    assert index.value["regions"][2] == [UNKNOWN]


def test_a_card_holds_the_caption_and_boxes_in_thousandths() -> None:
    assert card_of(entry()) == ["a bird", [0, 0, 500, 250]]
    long = card_of(entry(caption="x" * 10_000_000))[0]
    assert len(long) == MOST_CARD + 1
    gone = Entry("b", None, fate=Fate("dropped", "filter", "blurred", "variance 3"))
    assert card_of(gone) == ["variance 3", []]


def spans(caption: str, *phrases: Phrase) -> list[list[object]]:
    return caption_spans(entry(caption=caption, phrases=phrases).record or Record)  # type: ignore


def test_spans_of_a_caption_join_to_the_caption() -> None:
    found = spans("😀 a cat and a dog", Phrase(2, 7, (0,), SOURCE), Phrase(12, 17, (), SOURCE))
    assert found == [
        ["😀 ", [], False],
        ["a cat", [0], True],
        [" and ", [], False],
        ["a dog", [], True],
    ]


def test_phrases_that_overlap_share_a_span() -> None:
    found = spans("abcdef", Phrase(0, 4, (0,), SOURCE), Phrase(2, 6, (1,), SOURCE))
    assert found == [["ab", [0], True], ["cd", [0, 1], True], ["ef", [1], True]]


def test_a_caption_of_ten_million_characters_is_cut_and_says_by_how_much() -> None:
    one = entry(caption="x" * 10_000_000, phrases=(Phrase(9_000_000, 9_000_005, (0,), SOURCE),))
    details = details_of(one, small="", large="")
    assert details["cut"] == 10_000_000 - MOST_CAPTION
    assert [len(text) for text, _, _ in details["caption"]] == [MOST_CAPTION]


def test_details_of_a_sample_that_left() -> None:
    gone = Entry("b", None, fate=Fate("quarantined", "caption", "no answer", "timeout"))
    assert details_of(gone, small="", large="") == {
        "key": "b",
        "small": "",
        "large": "",
        "fate": ["quarantined", "caption", "no answer", "timeout"],
    }


def test_tallies_add_up() -> None:
    refused = replace(BIRD, refusal="too small", crowd=True)
    parts = [Tally(), Tally()]
    parts[0].add(entry(), picture=True)
    parts[0].add_trouble("a shard is cut off")
    parts[1].add(entry("a-0001", "", regions=(BIRD, refused)), picture=False)
    parts[1].add(Entry("c", None, fate=Fate("dropped", "filter", "blurred")), picture=False)
    whole = Tally()
    for part in parts:
        whole.merge(part)
    assert (whole.samples, whole.pictures, whole.captions) == (2, 1, 1)
    assert (whole.regions, whole.kept) == (3, 2)
    assert whole.names == {"bird": 2}
    assert whole.refusals == {"too small": 1}
    assert whole.fates == {("dropped", "filter", "blurred"): 1}
    assert whole.scores == {(5, True): 2, (5, False): 1}  # 0.25 in steps of 0.05
    assert (whole.trouble_count, whole.troubles) == (1, ["a shard is cut off"])


def test_many_troubles_are_counted_and_a_few_are_told() -> None:
    tally = Tally()
    for number in range(200):
        tally.add_trouble(str(number))
    assert tally.trouble_count == 200
    assert len(tally.troubles) == 50


def test_a_histogram_stands_on_its_line() -> None:
    chart = binned_histogram(Counter({(5, True): 3, (5, False): 1, (-2, True): 2}))
    assert chart is not None
    kept, refused = (bar for bar in chart.bars if "0.25 to 0.30" in bar.title)
    assert kept.title == "0.25 to 0.30: 3 kept"
    assert refused.y + refused.height == pytest.approx(kept.y)
    assert refused.height * 3 == pytest.approx(kept.height)
    assert binned_histogram(Counter()) is None


@pytest.mark.parametrize(
    ("changed", "aspects"),
    [
        ({}, []),
        ({"caption": "a hen"}, ["caption"]),
        ({"regions": (replace(BIRD, names=("hen",)),)}, ["names"]),
        ({"regions": (replace(BIRD, refusal="too small"),)}, ["decisions"]),
        ({"regions": (replace(BIRD, description="red"),)}, ["descriptions"]),
        ({"regions": (replace(BIRD, box_xyxy=(0.0, 0.0, 1.0, 1.0)),)}, ["boxes"]),
        ({"sha256": "0" * 64}, ["image"]),
        ({"source": "another", "regions": (replace(BIRD, agreement=0.0),)}, []),
    ],
)
def test_in_what_two_samples_differ(changed: dict[str, object], aspects: list[str]) -> None:
    own = beliefs_of(entry(), piece=0, place=0)
    its = beliefs_of(entry(**changed), piece=0, place=0)  # type: ignore[arg-type]
    assert [ASPECTS[place] for place in own.differing(its)] == aspects


def test_samples_are_compared_by_key() -> None:
    gone = Entry("c", None, fate=Fate("dropped", "filter", "blurred"))
    here = [entry("a-0000"), entry("a-0001"), entry("c")]
    there = [gone, entry("a-0002"), entry("a-0001", "another")]
    found = compare(
        [beliefs_of(one, piece=0, place=place) for place, one in enumerate(here)],
        [beliefs_of(one, piece=1, place=place) for place, one in enumerate(there)],
    )
    assert found.columns["keys"] == ["a-0000", "a-0001", "c", "a-0002"]
    assert found.kinds == (1, 1, 0, 2)
    assert found.columns["therePiece"] == [-1, 1, 1, 1]
    assert found.columns["therePlace"] == [-1, 2, 0, 1]
    assert found.aspects == {"caption": 1, "fate": 1}


def test_names_that_came_and_went() -> None:
    here, there = Tally(), Tally()
    here.names.update(cat=5, dog=2, new=1)
    there.names.update(cat=2, dog=2, old=1)
    found = name_changes(here, there)
    told = [(one.name, one.change, one.what) for one in found]
    assert told == [("cat", 3, "more"), ("new", 1, "new"), ("old", -1, "gone")]


def test_markup_is_data_in_every_file() -> None:
    one = entry(caption=MARKUP, regions=(replace(BIRD, names=(MARKUP,), refusal=MARKUP),))
    index = Index()
    index.add(one, picture=True, details=0)
    for value in (index.value, card_of(one), details_of(one, small="", large="")):
        assert b"<" not in data_script("data/a/collection.js", value)
