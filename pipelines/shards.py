"""Stage shards: pack the images' own bytes and their records into WebDataset tar files."""

from functools import partial
from pathlib import Path

from opendet.build import Build
from opendet.curate.shards import Packer, read_part, tally, write_index, write_part
from opendet.entry import stage_main
from opendet.manifest import Manifest
from opendet.parts import read_samples, with_content
from opendet.stage import Stage


def main(build: Build) -> None:
    config = build.config.shards
    stage = Stage(
        name="shards",
        fingerprint=build.fingerprint("shards", config),
        read=partial(read_samples, build.stage_folder("filter")),
        load=partial(Packer, config),
        write=write_part,
        prepare=partial(with_content, build.images()),
        reread=read_part,
        tally=tally,
        batch_size=build.config.run.batch_size,
    )
    build.run(stage, build.tasks(after="filter"), add=partial(add_index, build.name))


def add_index(name: str, folder: Path, manifest: Manifest) -> None:
    write_index(folder, name, manifest)


if __name__ == "__main__":
    stage_main(main, __doc__)
