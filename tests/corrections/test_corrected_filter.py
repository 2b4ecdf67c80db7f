"""The filter and what people said: they come last, in every split."""

from dataclasses import replace
from pathlib import Path

import pytest

from opendet.corrections.applying import CORRECTED_AWAY, is_corrected
from opendet.corrections.batches import Correction, add_batch, corrections_in
from opendet.corrections.edits import Edit, Seen, seen_of
from opendet.curate.filter import Filter, FilterConfig, filter_record, tally
from opendet.record import Record
from opendet.sample import Dropped, Sample
from tests.corrections.correction_world import region
from tests.exports.export_world import record

RULES = FilterConfig(min_side=4, require_caption=False)
TINY = region((1, 1, 3, 3), "mite", label="mite", agreement=0.9, rival="x", rival_agreement=0.1)
DOG = region((4, 1, 16, 9), "dog", label="wolf", agreement=0.1, rival="x", rival_agreement=0.9)
RENAMED = Edit(seen_of(DOG), Seen(DOG.box_xyxy, "cat"))


def judged(one: Record, *edits: Edit, config: FilterConfig = RULES) -> Record | Dropped:
    return filter_record(one, config, given=(("batch-1", edits),))


def test_no_rule_speaks_after_people() -> None:
    out = judged(record(regions=[TINY, DOG]), RENAMED, Edit(None, seen_of(TINY)))
    assert isinstance(out, Record)
    assert [one.refusal for one in out.regions] == ["too small", "", ""]
    assert [one.names[0] for one in out.regions] == ["mite", "cat", "mite"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_split_is_corrected(split: str) -> None:
    out = judged(record(regions=[DOG], split=split), Edit(seen_of(DOG), None))
    assert isinstance(out, Record)
    assert out.regions[0].refusal == CORRECTED_AWAY
    assert out.regions[0].label is None


def test_what_people_kept_counts_for_the_image() -> None:
    config = RULES.model_copy(update={"min_regions": 1})
    one = record(regions=[DOG])
    assert isinstance(filter_record(one, config), Dropped)
    assert isinstance(judged(one, RENAMED, config=config), Record)


def test_the_tally_counts_them_and_judges_no_rule_by_them() -> None:
    planted = filter_record(record(regions=[DOG]), RULES)
    mended = judged(record(regions=[DOG]), RENAMED)
    assert isinstance(planted, Record)
    assert isinstance(mended, Record)
    assert tally([planted], RULES)["planted.caught"] == 1
    assert tally([mended], RULES) == {"kept": 1, "corrected": 1}


def test_who_said_nothing_is_not_corrected() -> None:
    assert not is_corrected(DOG)
    assert not is_corrected(replace(DOG, names_from=None, box_checked=None))


def test_the_stage_reads_its_batches_and_no_later_ones(tmp_path: Path) -> None:
    one = record(regions=[DOG])
    add_batch(tmp_path, [Correction(one.key, (RENAMED,))], {})
    known = corrections_in(tmp_path)
    away = Edit(seen_of(DOG), None)
    add_batch(tmp_path, [Correction(one.key, (away,)), Correction("b-z", (away,))], {})
    [first] = Filter(RULES, corrections=known)([Sample(one)])
    [second] = Filter(RULES, corrections=corrections_in(tmp_path))([Sample(one)])
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert (first.regions[0].names, first.regions[0].kept) == (("cat",), True)
    assert second.regions[0].refusal == CORRECTED_AWAY
    assert known.digest(["b-z"]) == ""
    digests = {known.digest([one.key]), corrections_in(tmp_path).digest([one.key])}
    assert len(digests) == 2
    assert known.digest([one.key]) == known.digest(["b-z", one.key, "c"])


def test_batches_that_change_while_they_are_used_are_noticed(tmp_path: Path) -> None:
    add_batch(tmp_path, [Correction("b-a", (RENAMED,))], {})
    known = corrections_in(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="was changed while it was in use"):
        Filter(RULES, corrections=known)


def test_a_box_that_was_shown_by_its_label_gets_it_as_its_name() -> None:
    bare = replace(DOG, names=(), names_from=None)
    edit = Edit(Seen(DOG.box_xyxy, "wolf"), Seen((5, 1, 16, 9), "wolf"))
    out = judged(record(regions=[bare], split="val"), edit)
    assert isinstance(out, Record)
    assert (out.regions[0].names, out.regions[0].label) == (("wolf",), "wolf")
