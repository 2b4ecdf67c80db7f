"""OV-COCO's groups: each is judged by what was found of it, whatever else was on the list."""

from pathlib import Path

import numpy as np
import pytest

from opendet.evaluation.annotations import read_annotations
from opendet.evaluation.open_vocabulary import ov_coco_groups, ov_coco_numbers
from opendet.evaluation.results import read_results


@pytest.mark.parametrize(("group", "other"), [("novel", "base"), ("base", "novel")])
def test_a_group_alone_on_the_list_has_the_group_s_numbers(
    shared_data: Path, group: str, other: str
) -> None:
    folder = shared_data / "coco_eval"
    known = read_annotations(folder / "instances_val2014_100.json")
    found = read_results(folder / "instances_val2014_fakebbox100_results.json", known)
    own = np.isin(found.category, ov_coco_groups(known)[group])
    both, alone = ov_coco_numbers(known, found), ov_coco_numbers(known, found.only(own))
    assert alone[f"AP50_{group}"] == both[f"AP50_{group}"] > 0
    assert alone[f"AP_{group}"] == both[f"AP_{group}"]
    assert alone[f"AP50_{other}"] == 0
    assert alone["AP50"] < both["AP50"]


def test_what_is_in_no_group_is_not_judged(shared_data: Path) -> None:
    folder = shared_data / "coco_eval"
    known = read_annotations(folder / "instances_val2014_100.json")
    found = read_results(folder / "instances_val2014_fakebbox100_results.json", known)
    judged = [place for own in ov_coco_groups(known).values() for place in own]
    within = np.isin(found.category, judged)
    assert 0 < within.sum() < len(within)
    assert ov_coco_numbers(known, found) == ov_coco_numbers(known, found.only(within))
