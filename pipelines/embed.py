"""Stage embed: CLIP vectors of each region's crop and text, and how well the two agree."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from opendet.build import Build, digest_of, stamps_of
from opendet.curate.embed import EmbeddedRecord, Embedder, first_names, tally
from opendet.curate.vectors import read_vectors, with_vectors, write_vectors
from opendet.entry import stage_main
from opendet.parts import read_samples, with_pixels
from opendet.schema import read_records, write_records
from opendet.stage import Stage


def main(build: Build) -> None:
    config, clip = build.config.embed, build.stage_folder("clip")
    # The names that a region's own name competes with: the founding batch's.
    founding = build.founding_parts("describe", build.config.clip.batches)
    names = first_names(build.records("describe", founding))
    models = {**stamps_of(build.manifest("clip").parts), "vocabulary": digest_of(names)}
    stage = Stage(
        name="embed",
        fingerprint=build.fingerprint("embed", config, models=models),
        read=partial(read_samples, build.stage_folder("describe")),
        load=partial(Embedder, clip, names, config, build.answers("embed")),
        write=write_part,
        prepare=partial(with_pixels, build.images()),
        reread=read_part,
        tally=tally,
        batch_size=build.config.run.batch_size,
        gpus=0.0 if config.device == "cpu" else build.config.run.gpus,
    )
    build.run(stage, build.tasks(after="describe"))


def write_part(folder: Path, shard: str, items: Sequence[EmbeddedRecord]) -> None:
    write_records(folder / f"{shard}.parquet", [item.record for item in items])
    write_vectors(folder / f"{shard}.vectors.parquet", items)


def read_part(folder: Path, shard: str) -> list[EmbeddedRecord]:
    records = read_records(folder / f"{shard}.parquet")
    return with_vectors(records, read_vectors(folder / f"{shard}.vectors.parquet"))


if __name__ == "__main__":
    stage_main(main, __doc__)
