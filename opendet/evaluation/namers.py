"""The detector that is judged, with the namer that is judged with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from opendet.evaluation.config import EvaluateConfig
from opendet.predict_config import PredictConfig

if TYPE_CHECKING:
    from opendet.model.vocabulary import TextTower
    from opendet.predict import Detector


def judged_detector(
    model: Path,
    config: EvaluateConfig,
    names: Sequence[str],
    tower: "TextTower",
    template: str,
) -> "Detector":
    """A model folder's detector as the configuration judges it.

    A vocabulary is all `names` that are judged (open vocabulary: their text vectors are made here,
    before the first image); other namers see none of them. `tower` and `template` are those of the
    model's training. Raises ValueError, in one line, where the model cannot name so.
    """
    from opendet.model.vocabulary import encode_vocabulary
    from opendet.predict import Detector

    given = config.naming.namer == "vocabulary"
    vocabulary = encode_vocabulary(sorted(names), tower, template) if given else None
    return Detector.load(model, judged_naming(config), vocabulary=vocabulary)


def judged_naming(config: EvaluateConfig) -> PredictConfig:
    """What is asked of a detector that is judged."""
    return PredictConfig(
        score_threshold=config.score_threshold,
        max_objects=config.max_detections,
        beams=config.beams,
        batch_size=config.batch_size,
        **config.naming.model_dump(),
    )
