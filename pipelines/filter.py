"""Stage filter: refuse what the rules refuse, with a reason; nothing is asked of a model."""

from collections.abc import Mapping
from functools import partial

from opendet.build import Build
from opendet.curate.filter import Filter, precision_recall, tally
from opendet.entry import stage_main
from opendet.manifest import Manifest


def main(build: Build) -> None:
    config = build.config.filter
    stage = build.record_stage(
        "filter",
        after="verify",
        parameters=config,
        load=partial(Filter, config),
        tally=partial(tally, config=config),
    )
    build.run(stage, build.tasks(after="verify"), metrics=planted_errors)


def planted_errors(manifest: Manifest) -> Mapping[str, float | None]:
    precision, recall = precision_recall(manifest.tally())
    return {"precision": precision, "recall": recall}


if __name__ == "__main__":
    stage_main(main, __doc__)
