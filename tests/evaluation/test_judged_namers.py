"""The detector that is judged names as the evaluation is told to."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opendet.annotators.hash_text import HashTextEncoder
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.namers import judged_detector, judged_naming
from opendet.predict_config import NamingConfig
from tests.model.naming_worlds import CONCEPTS, export_named

TOWER = HashTextEncoder(4)
CONFIG = EvaluateConfig(score_threshold=0.0, max_detections=7, beams=2, batch_size=3)
CLASSES = ("zebra", "cat", "bus")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged") / "model"
    return export_named(folder, clip=f"{TOWER.revision} a {{name}}")


def said(model: Path, naming: NamingConfig) -> set[str]:
    """All names of all objects in three images."""
    rng = np.random.default_rng(0)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)) for _ in range(3)
    ]
    config = CONFIG.model_copy(update={"naming": naming})
    detector = judged_detector(model, config, CLASSES, TOWER, "a {name}")
    found = detector.detect(pictures)
    assert all(len(names) == 2 for one in found for names in one.names)
    return {name for one in found for names in one.names for name in names}


def test_a_vocabulary_is_the_classes_that_are_judged(model: Path) -> None:
    assert said(model, NamingConfig(namer="vocabulary")) <= set(CLASSES)


def test_prototypes_see_no_class_names(model: Path) -> None:
    assert said(model, NamingConfig(namer="prototypes")) <= set(CONCEPTS)
    assert not said(model, NamingConfig()) & {*CONCEPTS, *CLASSES}, "the T5 has words of its own"


def test_what_is_asked() -> None:
    asked = judged_naming(
        CONFIG.model_copy(update={"naming": NamingConfig(namer="cascade", unsure_below=0.3)})
    )
    assert (asked.score_threshold, asked.max_objects, asked.beams) == (0.0, 7, 2)
    assert (asked.namer, asked.unsure_below, asked.names) == ("cascade", 0.3, ())


def test_a_tower_that_the_model_did_not_learn_from(model: Path) -> None:
    other = HashTextEncoder(4, seed=1)
    config = CONFIG.model_copy(update={"naming": NamingConfig(namer="vocabulary")})
    with pytest.raises(ValueError, match=r"the model was trained with hash-4-0\.5-0"):
        judged_detector(model, config, CLASSES, other, "{name}")
