"""What training reads, published on one machine and fetched on another."""

from pathlib import Path

import pytest

from opendet.faults.toy_training import RECIPE
from tests.cli_world import COCO, make_project, run_cli, write_pictures
from tests.cli_world import CONFIG as DATA
from tests.object_store.store_world import contents

CLIP_WIDTH = DATA["clip"]["width"]
CONFIG = {
    "train": {**RECIPE.train.model_dump(mode="json", exclude_defaults=True), "steps": 3},
    "loader": RECIPE.loader.model_dump(mode="json", exclude_defaults=True),
    "detector": RECIPE.detector.model_dump(mode="json", exclude_defaults=True),
    "namer": {
        **RECIPE.namer.model_dump(mode="json", exclude_defaults=True),
        "prompt_width": CLIP_WIDTH,
    },
}


@pytest.mark.slow
def test_a_project_with_fetched_shards_alone_trains_the_same_model(tmp_path: Path) -> None:
    first = make_project(tmp_path / "first", COCO, CONFIG)
    second = make_project(tmp_path / "second", COCO, CONFIG)
    write_pictures(first)
    assert run_cli(first, "data", "build", "--until", "train").code == 0
    for stage in ("shards", "clip"):
        address = (tmp_path / "store" / stage).as_uri()
        assert run_cli(first, "data", "publish", address, "--stage", stage).code == 0
        fetched = run_cli(second, "data", "fetch", address, f"datasets/tiny/{stage}")
        assert fetched.code == 0, fetched.err
    trained = run_cli(second, "train")
    assert trained.code == 0, trained.err
    models = [contents(project / "datasets/tiny/train/model") for project in (first, second)]
    assert models[0] == models[1]
