"""Lines of pixels are trained on and looked at like any other image."""

import csv
import math
from pathlib import Path

import shard_world as world

from opendet.predict import Detector
from opendet.predict_config import PredictConfig
from opendet.sources.images import decode_upright
from tests.train import trainee


def test_lines_of_pixels_train_and_evaluate(tmp_path: Path) -> None:
    lines = [
        world.painted("b-0", size=(5000, 1), regions=(world.region((900, 0, 3000, 1), "line"),)),
        world.painted("b-1", size=(1, 5000), regions=(world.region((0, 0, 1, 5000), "line"),)),
        world.painted("b-2", size=(1, 1)),
    ]
    world.publish(tmp_path / "shards", {"a-0": world.samples(3), "b-0": lines})
    model = trainee.run(tmp_path / "shards", tmp_path / "work")
    with (tmp_path / "work/series.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses
    assert all(map(math.isfinite, losses))

    detector = Detector.load(model, PredictConfig(score_threshold=0.0, device="cpu"))
    images = [decode_upright(line.content) for line in lines]
    for image, found in zip(images, detector.detect(images), strict=True):
        assert len(found)
        assert (found.boxes_xyxy.amin(0) >= 0).all()
        corner = found.boxes_xyxy.new_tensor([image.width, image.height] * 2)
        assert (found.boxes_xyxy.amax(0) <= corner).all()
