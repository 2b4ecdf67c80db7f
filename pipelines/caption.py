"""Stage caption: one detailed text of each image."""

from functools import partial

from opendet.build import Build
from opendet.curate.asking import looks, settled, weights_of
from opendet.curate.caption import Captioner, tally
from opendet.entry import stage_main
from opendet.parts import with_pixels


def main(build: Build) -> None:
    config = settled("caption", build.config.caption, build.root)
    stage = build.record_stage(
        "caption",
        after="source",
        parameters=config,
        load=partial(Captioner, config, build.answers("caption")),
        tally=tally,
        prepare=partial(with_pixels, build.images()) if looks(config.annotator) else None,
        models=weights_of(config),
        on_gpu=config.annotator == "vision_language",
    )
    build.run(stage, build.tasks(after="source"))


if __name__ == "__main__":
    stage_main(main, __doc__)
