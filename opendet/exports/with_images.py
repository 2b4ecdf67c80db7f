"""What an export calls its images, and the images themselves where it has them: in the folders
where the format's readers look for them.

There every image is called by its key, whatever the source calls it: no two are alike, no name is
unusable, and `opendet data correct` knows them again. Without the images it is called by its path
below the source's root; a drawn scene, which is no file of its own, by its key all the same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from opendet.build import Build
from opendet.exports.shard_records import ShardRecords
from opendet.record import Record
from opendet.sources.image_files import ImageFiles
from opendet.work import link_or_copy


@dataclass(frozen=True, slots=True)
class Places:
    """Where a format has its images."""

    root: str
    """Of the paths that the annotations have, below the export; empty for the export itself."""
    by_split: bool = False
    """Whether each split has a folder of its own there."""

    def of(self, record: Record) -> str:
        """The image's path, as the annotations have it."""
        name = key_name(record)
        return f"images/{record.split}/{name}" if self.by_split else name


PLACES: Mapping[str, Places] = {
    "coco": Places("images"),
    "lvis": Places("images"),
    "voc": Places("JPEGImages"),
    "yolo": Places("", by_split=True),
}


@dataclass(frozen=True)
class SourceFiles:
    """The files that the images came from, for those that are files of their own."""

    images: ImageFiles
    roots: Mapping[str, Path]
    """Batch -> its folder."""

    def of(self, record: Record) -> Path:
        """Raises ValueError, in one line, where there is none, or where it has changed."""
        if record.batch not in self.roots:
            raise ValueError(
                f"{record.key}: drawn scenes are no files that could be linked, nor are images at "
                "an address: use --images copy"
            )
        self.images.read(record)
        return self.roots[record.batch] / record.file


def source_files(build: Build) -> SourceFiles:
    """Those of a build. Raises ValueError where a batch's folder is missing."""
    batches = [
        batch for batch in build.card.batches if batch.format != "scenes" and not batch.address
    ]
    roots = {batch.name: batch.folder(build.root) for batch in batches}
    return SourceFiles(build.images(), roots)


def write_with_images(
    records: ShardRecords,
    folder: Path,
    build: Build,
    *,
    write: Callable[[Iterable[Record], Path], Counter[str]],
    places: Places,
    link: bool,
) -> Counter[str]:
    """What `write` writes, of images that are called by their keys, and those images: the shards'
    own bytes, or with `link` the source's files."""
    files = source_files(build) if link else None
    left_out = write(_Called(records, places.of), folder)
    for record in records:
        path = folder / places.root / places.of(record)
        path.parent.mkdir(parents=True, exist_ok=True)
        if files:
            link_or_copy(files.of(record), path)
        else:
            path.write_bytes(records.content_of(record))
    return left_out


def write_without_images(
    records: ShardRecords,
    folder: Path,
    build: Build,
    *,
    write: Callable[[Iterable[Record], Path], Counter[str]],
) -> Counter[str]:
    """What `write` writes: many drawn scenes lie in one file, whose name tells none of them."""
    drawn = {batch.name for batch in build.card.batches if batch.format == "scenes"}

    def name_of(record: Record) -> str:
        return key_name(record) if record.batch in drawn else record.file

    return write(_Called(records, name_of), folder)


def key_name(record: Record) -> str:
    """The name of a file that holds the image alone."""
    return f"{record.key}.{record.format}"


@dataclass(frozen=True, slots=True)
class _Called:
    """Records whose files are called otherwise; they may be read again and again."""

    records: ShardRecords
    name_of: Callable[[Record], str]

    def __iter__(self) -> Iterator[Record]:
        for record in self.records:
            yield replace(record, file=self.name_of(record))
