"""Stage regions: the source's boxes, and the caption's phrases grounded in them."""

from functools import partial

from opendet.annotators.noun_phrases import NounPhrases
from opendet.build import Build
from opendet.curate.regions import RegionFinder, tally
from opendet.entry import stage_main


def main(build: Build) -> None:
    config = build.config.regions
    stage = build.record_stage(
        "regions",
        after="caption",
        parameters=config,
        load=partial(RegionFinder, config),
        tally=tally,
        # nltk where its data are found: another machine, or another day, may find others.
        models={"noun phrases": NounPhrases(config.tagger, config.nltk_folder).revision},
    )
    build.run(stage, build.tasks(after="caption"))


if __name__ == "__main__":
    stage_main(main, __doc__)
