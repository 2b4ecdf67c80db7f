"""Stage regions: the source's boxes or a detector's, and the caption's phrases grounded in them."""

from functools import partial

from opendet.annotators.noun_phrases import NounPhrases
from opendet.annotators.queries import curated_names
from opendet.build import Build, digest_of
from opendet.curate.finding import weights_of
from opendet.curate.regions import RegionFinder, tally
from opendet.entry import stage_main
from opendet.parts import with_pixels


def main(build: Build) -> None:
    config = build.config.regions
    curated = curated_names(config.queries, build.root)
    stage = build.record_stage(
        "regions",
        after="caption",
        parameters=config,
        load=partial(RegionFinder, config, curated, build.answers("regions")),
        tally=tally,
        prepare=partial(with_pixels, build.images()) if config.looks else None,
        models={
            # nltk where its data are found: another machine, or another day, may find others.
            "noun phrases": NounPhrases(config.tagger, config.nltk_folder).revision,
            "curated": digest_of(curated),
            **weights_of(config),
        },
    )
    build.run(stage, build.tasks(after="caption"))


if __name__ == "__main__":
    stage_main(main, __doc__)
