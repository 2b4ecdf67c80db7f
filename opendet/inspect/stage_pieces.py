"""What a stage's folder, or a folder without a manifest, holds to look at."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opendet.inspect.pieces import Gone, Piece
from opendet.manifest import Manifest, PartCommit, read_manifest
from opendet.stage_order import SAMPLE_STAGES


@dataclass(frozen=True, slots=True)
class StageContent:
    """What is known of one stage."""

    stage: str
    """As its manifest says, else as its folder is called; empty where that is no stage's name."""
    pieces: tuple[Piece, ...] = ()
    gone: tuple[Gone, ...] = ()
    troubles: tuple[str, ...] = ()


def is_stage(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()


def stage_content(folder: Path) -> StageContent:
    """What a manifest names; where that is damaged, whatever lies in the folder."""
    try:
        return _as_told(folder, read_manifest(folder))
    except (ValueError, OSError) as error:  # or it names a file that no disk can have
        pieces, troubles = loose_pieces(folder)
        name = folder.absolute().name
        stage = name if name in SAMPLE_STAGES else ""
        return StageContent(stage, pieces, (), (str(error), *troubles))


def _as_told(folder: Path, manifest: Manifest) -> StageContent:
    if manifest.stage not in SAMPLE_STAGES:
        return StageContent(manifest.stage)
    pieces = tuple(_piece(folder, part, manifest.stage) for part in manifest.parts)
    return StageContent(
        manifest.stage,
        tuple(piece for piece in pieces if piece.path.is_file()),
        tuple(_gone_of(manifest)),
        (*(line for piece in pieces for line in _size_troubles(piece)), *_surplus(folder, pieces)),
    )


def loose_pieces(folder: Path) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    """The shards of a folder without a manifest, else its files of records, in their names' order;
    and a line for each file that is neither."""
    pieces: list[Piece] = []
    troubles: list[str] = []
    for path in _files(folder, "*.tar") or _files(folder, "*.parquet"):
        try:
            pieces.append(piece_of_file(path))
        except NoRecordsError:
            continue  # an `embed` stage has vectors beside its records
        except OSError as error:  # a link that leads nowhere, or a file that is not for this reader
            troubles.append(f"{path} cannot be read: {error.strerror or error}")
        except ValueError as error:
            troubles.append(str(error))
    return tuple(pieces), tuple(troubles)


def _files(folder: Path, pattern: str) -> list[Path]:
    """Links to files, too, even those that lead nowhere."""
    return [path for path in sorted(folder.glob(pattern)) if not path.is_dir()]


class NoRecordsError(ValueError):
    """A Parquet file of something else."""


def piece_of_file(path: Path) -> Piece:
    """One shard or one file of records. Raises ValueError, in one line, for any other file."""
    if path.suffix == ".tar":
        from opendet.inspect.tar_pieces import tar_count

        return Piece(path.stem, path, tar_count(path))
    if path.suffix != ".parquet":
        raise ValueError(f"{path} is neither a shard (.tar) nor a file of records (.parquet)")
    from opendet.inspect.record_pieces import holds_records, record_count

    if not holds_records(path):
        raise NoRecordsError(f"{path} holds no records: name a part of one of the record stages")
    return Piece(path.stem, path, record_count(path))


def _piece(folder: Path, part: PartCommit, stage: str) -> Piece:
    shard = part.shard
    path = folder / f"{shard.name}{'.tar' if stage == 'shards' else '.parquet'}"
    files = tuple(sorted(part.files.items()))
    return Piece(shard.name, path, part.samples_out, shard.batch, shard.split, files)


def _gone_of(manifest: Manifest) -> Iterator[Gone]:
    for part in manifest.parts:
        for one in part.dropped:
            yield Gone(one.key, manifest.stage, "dropped", one.reason, one.detail)
        for failed in part.quarantined:
            detail = f"attempt {failed.attempt}"
            yield Gone(failed.key, manifest.stage, "quarantined", failed.error, detail)


def _size_troubles(piece: Piece) -> Iterator[str]:
    for name, stamp in piece.files:
        path = piece.path.parent / name
        if not path.is_file():
            lost = f" ({piece.samples} samples)" if path == piece.path else ""
            yield f"{path} is missing{lost}: restore it, or build the stage again"
        elif (size := path.stat().st_size) != stamp.bytes:
            yield f"{path} is damaged: {size} bytes instead of {stamp.bytes}"


def _surplus(folder: Path, pieces: tuple[Piece, ...]) -> Iterator[str]:
    known = {piece.path.name for piece in pieces}
    for path in sorted(folder.glob("*.tar")):
        if path.name not in known:
            yield f"{path} is not in the manifest: it is not shown"
