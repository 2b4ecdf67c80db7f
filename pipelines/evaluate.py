"""Stage evaluate: average precision and names of the trained detector on a held-out split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opendet.build import Build
from opendet.data.dataset import EvaluationSet
from opendet.entry import stage_main
from opendet.evaluation.evaluate import evaluate
from opendet.evaluation.namers import judged_detector
from opendet.evaluation.predictions import write_predictions
from opendet.evaluation.tiers import count_names, tiers_by_count, truth_labels
from opendet.predict_masks import masking, weights_of
from opendet.shard_set import ShardSet
from opendet.sources.scenes import SceneVocabulary
from opendet.train.text_tower import tower_of


def main(build: Build) -> None:
    config = build.config.evaluate
    inputs = build.stamps("shards", "clip", "train")

    def make(folder: Path) -> Mapping[str, Any]:
        cache = build.work("text", "towers").root
        tower, template = tower_of(build.stage_folder("clip"), build.config.text, cache=cache)
        tiers = tiers_of(build)
        model = build.stage_folder("train") / "model"
        loaded = judged_detector(model, config, list(tiers), tower, template)
        detector = masking(loaded, config.masks, "evaluate.masks.model")
        samples = EvaluationSet(ShardSet.open(build.stage_folder("shards"), split=config.split))
        judged = evaluate(
            detector.detect,
            samples.samples(),
            tower.encode_texts,
            tiers,
            config,
            taught_as=template,
        )
        write_predictions(folder / "predictions.parquet", judged.predictions)
        return dict(judged.metrics["evaluate"])

    models = weights_of(config.masks)
    fingerprint = build.fingerprint("evaluate", config, build.config.text, models=models)
    build.run_whole("evaluate", fingerprint, inputs=inputs, make=make)


def tiers_of(build: Build) -> Mapping[str, str]:
    """Frequent, common, rare or unseen: as the scenes were drawn, else as training counts them."""
    if any(batch.format == "scenes" for batch in build.card.batches):
        return SceneVocabulary.from_seed(build.card.scenes.seed).tiers
    shards, config = build.stage_folder("shards"), build.config.evaluate
    trained = EvaluationSet(ShardSet.open(shards, split=build.config.loader.split)).records()
    judged = EvaluationSet(ShardSet.open(shards, split=config.split)).records()
    return tiers_by_count(count_names(trained), truth_labels(judged), config)


if __name__ == "__main__":
    stage_main(main, __doc__)
