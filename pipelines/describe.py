"""Stage describe: one short text of each region, and the name that it says."""

from functools import partial

from opendet.build import Build, digest_of
from opendet.curate.asking import looks, settled, weights_of
from opendet.curate.describe import Describer, tally
from opendet.entry import stage_main
from opendet.parts import with_pixels


def main(build: Build) -> None:
    config = settled("describe", build.config.describe, build.root)
    # The words a planted error is drawn from: the founding batch's labels.
    founding = build.records("regions", build.founding_parts("regions"))
    labels = tuple(sorted({r.label for record in founding for r in record.regions if r.label}))
    stage = build.record_stage(
        "describe",
        after="regions",
        parameters=config,
        load=partial(Describer, config, labels, build.answers("describe")),
        tally=tally,
        prepare=partial(with_pixels, build.images()) if looks(config.annotator) else None,
        on_gpu=config.annotator == "vision_language",
        models={"vocabulary": digest_of(labels), **weights_of(config)},
    )
    build.run(stage, build.tasks(after="regions"))


if __name__ == "__main__":
    stage_main(main, __doc__)
