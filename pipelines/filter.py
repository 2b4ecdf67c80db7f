"""Stage filter: refuse what the rules refuse, with a reason; nothing is asked of a model."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from opendet.build import Build
from opendet.corrections.tasks import corrections_of, told_tasks
from opendet.curate.filter import (
    Filter,
    precision_recall,
    tally_rounds,
    training_precision_recall,
)
from opendet.curate.label_rounds import FOLDER, Rounds, rounds_in
from opendet.entry import stage_main
from opendet.manifest import Manifest


def main(build: Build) -> None:
    config = build.config.filter
    folder = build.root / FOLDER / build.name
    taken = rounds_in(folder) if config.label_value.judges else []
    rounds = Rounds(folder, len(taken))
    corrections = corrections_of(build)
    stage = build.record_stage(
        "filter",
        after="verify",
        parameters=config,
        load=partial(Filter, config, rounds, corrections),
        tally=partial(tally_rounds, config=config, rounds=rounds),
        models={f"round {one.number}": one.sha256 for one in taken},
    )
    build.run(stage, told_tasks(build, corrections), metrics=measured)


def measured(manifest: Manifest) -> Mapping[str, Any]:
    """How good the rules are, where planted errors say it."""
    counts = manifest.tally()
    precision, recall = precision_recall(counts)
    told: dict[str, Any] = {"precision": precision, "recall": recall}
    if counts.get("training.judged"):
        trained = zip(("precision", "recall"), training_precision_recall(counts), strict=True)
        told["training"] = dict(trained)
    return told


if __name__ == "__main__":
    stage_main(main, __doc__)
