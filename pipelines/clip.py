"""Stage clip: the CLIP that judges the build, fetched by name or trained on its own crops."""

from collections.abc import Mapping
from pathlib import Path

from opendet.build import Build, stamps_of
from opendet.curate.clip import build_clip, choose_records
from opendet.entry import stage_main
from opendet.parts import with_pixels
from opendet.sample import Sample

SEED = 0  # of the crops that are drawn and of the training


def main(build: Build) -> None:
    config = build.config.clip
    parts = build.founding_parts("describe", config.batches)
    images = build.images()

    def make(folder: Path) -> Mapping[str, float]:
        founding = list(build.records("describe", parts))
        chosen = choose_records(founding, regions=config.regions, seed=SEED)
        samples = (with_pixels(images, Sample(record)) for record in chosen)
        return build_clip(samples, config, seed=SEED, folder=folder)

    fingerprint = build.fingerprint("clip", config)
    build.run_whole("clip", fingerprint, inputs=stamps_of(parts), make=make, cpus=config.threads)


if __name__ == "__main__":
    stage_main(main, __doc__)
