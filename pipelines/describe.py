"""Stage describe: one short text of each region, and the name that it says."""

from functools import partial

from opendet.build import Build, digest_of
from opendet.curate.asking import looks
from opendet.curate.describe import Describer, tally
from opendet.entry import stage_main
from opendet.parts import with_pixels


def main(build: Build) -> None:
    config = build.config.describe
    # The words a planted error is drawn from: the founding batch's labels.
    founding = build.records("regions", build.founding_parts("regions"))
    labels = tuple(sorted({r.label for record in founding for r in record.regions if r.label}))
    stage = build.record_stage(
        "describe",
        after="regions",
        parameters=config,
        load=partial(Describer, config, labels),
        tally=tally,
        prepare=partial(with_pixels, build.images()) if looks(config.annotator) else None,
        on_gpu=config.annotator == "vision_language",
        models={"vocabulary": digest_of(labels)},
    )
    build.run(stage, build.tasks(after="regions"))


if __name__ == "__main__":
    stage_main(main, __doc__)
