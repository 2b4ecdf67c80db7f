"""The backbone of the small world and its lessons."""

from collections import Counter

import torch

from opendet.bench.arms import arm
from opendet.bench.looking import teach_backbone
from opendet.bench.synthetic import SINGLE_SIDE, TIERS, draw_single
from opendet.model.backbone import TinyBackbone

CONFIG = arm(()).detector.backbone


def test_its_lessons_show_single_objects_of_trained_names_alone() -> None:
    objects = draw_single(96, seed=0)
    assert objects.images.shape == (96, 3, SINGLE_SIDE, SINGLE_SIDE)
    assert {len(names) for names in objects.names} == {1}
    shown = Counter(names[0] for names in objects.names)
    trained = {name for name, tier in TIERS.items() if tier != "unseen"}
    assert shown == dict.fromkeys(trained, 2)


def test_a_seed_decides_its_weights_and_they_fit() -> None:
    first, again = (teach_backbone(CONFIG, seed=1, lessons=2) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    TinyBackbone(CONFIG).load_state_dict(first)
    other = teach_backbone(CONFIG, seed=2, lessons=2)
    assert any(not torch.equal(first[name], other[name]) for name in first)
