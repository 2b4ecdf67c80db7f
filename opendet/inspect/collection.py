"""Samples to look at, wherever they lie: a build, a stage of one, a folder of shards, one file.

Nothing is unpacked. What is damaged is named, and the whole rest is shown: a reader for training
stops at the first fault, people want to see how far it goes. Opening looks at manifests and sizes;
reading looks at headers, indices and records; only samples and `check_piece` read every byte.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from opendet.inspect.pieces import Gone, Piece, Trouble
from opendet.inspect.stage_pieces import is_stage, loose_pieces, piece_of_file, stage_content
from opendet.record import Record
from opendet.sample import Sample
from opendet.stage_order import SAMPLE_STAGES

if TYPE_CHECKING:
    from opendet.sources.image_files import ImageFiles

Found = TypeVar("Found")

__all__ = ["Collection", "Gone", "Piece", "Trouble", "open_collection"]


@dataclass(frozen=True)
class Collection:
    """Samples to look at. Pickles, so that processes can share the pieces."""

    name: str
    """The build's, else the folder's or the file's."""
    path: Path
    stage: str
    """Whose records these are, such as `shards` or `filter`; empty where no manifest says so."""
    pieces: tuple[Piece, ...]
    """In the plan's order."""
    gone: tuple[Gone, ...] = ()
    """What the stages that there are dropped or quarantined, in their order."""
    troubles: tuple[str, ...] = ()
    """A line for each thing that opening found not to be whole; the whole rest is shown."""
    built: tuple[str, ...] = ()
    """The stages whose manifests are known, in their order."""
    build_folder: Path | None = None
    """Of the build that all this is of, where there is one."""
    images: "ImageFiles | None" = field(default=None, repr=False)
    """Reads pictures that are not packed, where their source can be named."""

    @property
    def samples_count(self) -> int:
        """As manifests and indices say; damage may leave fewer to see."""
        return sum(piece.samples for piece in self.pieces)

    def records(self, piece: Piece) -> Iterator[Record | Trouble]:
        """The records of a piece, without their pictures, and what is not whole in it.

        A trouble with a record stands for a sample whose record is whole.
        """
        if not piece.path.is_file():
            return iter([_away(piece)])
        if piece.packed:
            from opendet.inspect.tar_pieces import tar_records

            return _as_far_as_read(tar_records(piece), piece)
        from opendet.inspect.record_pieces import part_records

        return part_records(piece)

    def samples(self, piece: Piece) -> Iterator[Sample | Trouble]:
        """The samples of a piece with `content`, the image file's own bytes.

        A missing or damaged picture gives a trouble with its record.
        """
        if not piece.path.is_file():
            return iter([_away(piece)])
        if piece.packed:
            from opendet.inspect.tar_pieces import tar_samples

            return _as_far_as_read(tar_samples(piece), piece)
        from opendet.inspect.record_pieces import part_samples

        return part_samples(piece, self.images)

    def find(self, key: str) -> Sample | Trouble | None:
        """The sample of a key with `content`, read by its byte ranges; None for an unknown key.

        Where it is not whole, a trouble, with the record if that is.
        """
        if all(piece.packed for piece in self.pieces):
            from opendet.inspect.tar_pieces import find_in_tar

            there = [piece for piece in self.pieces if piece.path.is_file()]
            looks = (find_in_tar(p, key, thorough=deep) for deep in (False, True) for p in there)
        else:
            from opendet.inspect.record_pieces import find_in_part

            looks = (find_in_part(piece, key, self.images) for piece in self.pieces)
        return next((found for found in looks if found is not None), None)

    def keys(self, piece: Piece) -> list[str]:
        """The keys of a piece in its order, without reading the records where that can be had."""
        if piece.packed and piece.path.is_file():
            from opendet.inspect.tar_layout import tar_layout

            return [located.key for located in tar_layout(piece.path)[0]]
        from opendet.inspect.part_keys import record_keys

        try:
            return record_keys(piece.path)
        except ValueError:  # missing or damaged: reading its records says so
            return []

    def before(self, stage: str) -> "Collection | None":
        """What went into a stage of this build, as the stage before it has it; None for the first
        stage, and where no build is known."""
        place = SAMPLE_STAGES.index(stage)
        if self.build_folder is None or not place:
            return None
        folder = self.build_folder / SAMPLE_STAGES[place - 1]
        content = stage_content(folder)
        return replace(
            self,
            stage=content.stage,
            pieces=content.pieces,
            troubles=content.troubles,
            images=_images_of(folder),
        )


def open_collection(path: Path) -> Collection:
    """A build's folder, a project's (the build that it chooses), a stage's, one of shards with or
    without a manifest, a .tar, a .parquet.

    Raises ValueError, in one line, for what is none of them.
    """
    if not path.exists():
        raise ValueError(f"{path} is not there: name {_WANTED}")
    if path.is_file():
        return Collection(
            path.name, path, "", (piece_of_file(path),), images=_images_of(path.parent)
        )
    if (path / "params.yaml").is_file():
        return open_collection(_chosen_in(path))
    if is_stage(path):
        return _open_stage(path)
    if any(is_stage(path / stage) for stage in SAMPLE_STAGES):
        return _open_build(path)
    if (path / "source.yaml").is_file():
        name = path.absolute().name
        raise ValueError(f"nothing of {name} is built: run `opendet data build --build {name}`")
    pieces, troubles = loose_pieces(path)
    if not pieces:
        raise ValueError(_nothing_in(path))
    return Collection(path.absolute().name, path, "", pieces, troubles=troubles)


_WANTED = (
    "a build's folder (datasets/<build>), a stage's, a folder of shards, a .tar, or a .parquet"
)


def _chosen_in(project: Path) -> Path:
    from opendet.build import chosen_build  # heavy, and of no use to anything else here

    return project / "datasets" / chosen_build(project)


def _open_stage(folder: Path) -> Collection:
    content = stage_content(folder)
    if content.stage not in (*SAMPLE_STAGES, ""):
        kind = f"the stage {content.stage}'s"
        raise ValueError(f"{folder} is {kind}, which holds no samples: name {_WANTED}")
    build = folder.absolute().parent
    whole = (build / "source.yaml").is_file()
    return Collection(
        build.name if whole else folder.absolute().name,
        folder,
        content.stage,
        content.pieces,
        gone=content.gone,
        troubles=content.troubles,
        built=tuple(filter(None, (content.stage,))),
        build_folder=build if whole else None,
        images=_images_of(folder),
    )


def _open_build(folder: Path) -> Collection:
    built = tuple(stage for stage in SAMPLE_STAGES if is_stage(folder / stage))
    contents = {stage: stage_content(folder / stage) for stage in built}
    fullest = built[-1]
    return Collection(
        folder.absolute().name,
        folder,
        fullest,
        contents[fullest].pieces,
        gone=tuple(gone for content in contents.values() for gone in content.gone),
        troubles=tuple(line for content in contents.values() for line in content.troubles),
        built=built,
        build_folder=folder.absolute(),
        images=_images_of(folder / fullest),
    )


def _images_of(stage_folder: Path) -> "ImageFiles | None":
    """What reads the pictures of a build, one of whose stages lies in the folder; None where the
    stage packs them, and where there is no build around it."""
    build = stage_folder.absolute().parent
    if stage_folder.absolute().name == "shards" or not (build / "source.yaml").is_file():
        return None
    from opendet.sources.card import read_card
    from opendet.sources.image_files import ImageFiles

    try:
        return ImageFiles(read_card(build / "source.yaml"), build, build.parent.parent)
    except ValueError:  # a broken card, or a variable that is not set: each picture is out of reach
        return None


def _nothing_in(folder: Path) -> str:
    hint = ""
    builds = sorted(
        card.parent
        for pattern in ("*/source.yaml", "datasets/*/source.yaml")
        for card in folder.glob(pattern)
    )
    if builds:
        hint = f"; it is a folder of builds: name one, such as {builds[0]}"
    return (
        f"{folder} is no build and holds no shards: there is no manifest.json, no stage's folder, "
        f"no .tar and no .parquet of records in it{hint}"
    )


def _as_far_as_read(found: Iterator[Found], piece: Piece) -> Iterator[Found | Trouble]:
    """A file that is not for this reader, or a disk that fails, costs its piece alone."""
    try:
        yield from found
    except OSError as error:
        yield Trouble(piece.path.name, f"it cannot be read on: {error.strerror or error}")


def _away(piece: Piece) -> Trouble:
    return Trouble(piece.path.name, "it is missing: restore it, or build the stage again")
