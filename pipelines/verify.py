"""Stage verify: a verifier's belief in each name, box and count, and names that are not there."""

from collections.abc import Mapping
from functools import partial

from opendet.build import Build, digest_of, stamps_of
from opendet.curate.asking import settled, weights_of
from opendet.curate.embed import first_names
from opendet.curate.verified import precision_recall, read_verified, tally, write_verified
from opendet.curate.verify import Verifier
from opendet.entry import stage_main
from opendet.manifest import Manifest
from opendet.parts import read_samples, with_pixels
from opendet.stage import Stage


def main(build: Build) -> None:
    config, clip = settled("verify", build.config.verify, build.root), build.stage_folder("clip")
    names: tuple[str, ...] = ()
    models: dict[str, str] = {}
    if config.hard_negatives:  # They come from the founding batch's names, by the build's CLIP.
        founding = build.founding_parts("describe", build.config.clip.batches)
        names = first_names(build.records("describe", founding))
        models = {**stamps_of(build.manifest("clip").parts), "vocabulary": digest_of(names)}
    stage = Stage(
        name="verify",
        fingerprint=build.fingerprint("verify", config, models={**models, **weights_of(config)}),
        read=partial(read_samples, build.stage_folder("embed")),
        load=partial(Verifier, config, clip, names, build.answers("verify")),
        write=write_verified,
        prepare=partial(with_pixels, build.images()) if config.looks else None,
        reread=read_verified,
        tally=tally,
        batch_size=build.config.run.batch_size,
        gpus=build.config.run.gpus if config.on_gpu else 0.0,
    )
    build.run(stage, build.tasks(after="embed"), metrics=planted_errors)


def planted_errors(manifest: Manifest) -> Mapping[str, float | None]:
    precision, recall = precision_recall(manifest.tally())
    return {"precision": precision, "recall": recall}


if __name__ == "__main__":
    stage_main(main, __doc__)
