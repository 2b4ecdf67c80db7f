"""The commit protocol: a stage's work folder, where a part is whole or is not there.

    .opendet/<build>/<stage>/<fingerprint>/
        attempts/<shard>-<random>/     private to one attempt; swept when a run begins or ends
        parts/<shard>-<digest>/        renamed from an attempt after fsync; named by its content
        commits/<shard>-<inputs>.json  written last; the only thing that makes a part count

A part's folder is never changed once it is there, so replacing a part (after `retry`) is one rename
of its commit record: a reader sees the old part or the new one. A commit record is named by what
its part was made from, so that going back to an older input finds the older part, and asks no model
again. The driver alone writes commit records, under the build's lock.
"""

import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from opendet.files import (
    begin_writeback,
    canonical_json,
    errors_name,
    exchange,
    fsync_path,
    write_durably,
)
from opendet.manifest import (
    FileStamp,
    Manifest,
    PartCommit,
    commit_text,
    read_commit,
    write_manifest,
)
from opendet.stage import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """The private folder of one stage with one fingerprint."""

    root: Path

    def sweep(self) -> None:
        """Remove what was left behind that never came to a part, to count, or to be published."""
        for leftover in (self.root / "attempts", *self.root.glob("publish-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        for half in self.root.glob("commits/.*"):  # a commit record whose rename never came
            half.unlink(missing_ok=True)

    def write_part(self, shard: str, write: Callable[[Path], None]) -> dict[str, FileStamp]:
        """Let `write` fill a private folder, make it durable, and put it among the parts.

        Returns the stamp of each file. Leaves nothing behind when `write` raises.
        """
        attempt = self.root / "attempts" / f"{shard}-{uuid.uuid4().hex}"
        attempt.mkdir(parents=True)
        try:
            with errors_name(attempt):
                write(attempt)
            everything = sorted(attempt.rglob("*"))
            files = [path for path in everything if path.is_file()]
            for path in files:
                begin_writeback(path)  # the disk is busy while they are hashed
            stamps = {path.relative_to(attempt).as_posix(): FileStamp.of(path) for path in files}
            for path in (*everything, attempt):
                fsync_path(path)
            self._settle(attempt, self.part_folder(shard, stamps), stamps)
        finally:
            shutil.rmtree(attempt, ignore_errors=True)
        return stamps

    def _settle(self, attempt: Path, part: Path, stamps: dict[str, FileStamp]) -> None:
        """Put an attempt among the parts, unless a part with its content is there already."""
        if part.exists() and any(
            not (part / name).is_file() or FileStamp.of(part / name) != stamp
            for name, stamp in stamps.items()
        ):
            shutil.rmtree(part)  # somebody has damaged it since
        part.parent.mkdir(exist_ok=True)
        try:
            attempt.rename(part)
        except OSError:
            if not part.exists():
                raise
        fsync_path(part.parent)

    def part_folder(self, shard: str, stamps: dict[str, FileStamp]) -> Path:
        """Where a part with these files lies: named by what is in it."""
        content = "\n".join(f"{name} {stamp.sha256}" for name, stamp in sorted(stamps.items()))
        return self.root / "parts" / f"{shard}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"

    def commit(self, commit: PartCommit) -> None:
        """Make a part count."""
        path = self._commit_path(commit.shard.name, commit.inputs)
        write_durably(path, commit_text(commit).encode())

    def committed(self, task: Task) -> PartCommit | None:
        """The task's commit record, if its part is there and was made from the same inputs."""
        path = self._commit_path(task.shard.name, task.inputs)
        commit = _readable(path)
        if commit is None or (commit.shard, commit.inputs) != (task.shard, task.inputs):
            return None
        folder = self.part_folder(task.shard.name, commit.files)
        written = path.stat().st_mtime_ns
        whole = folder.is_dir() and all(
            _is_as_committed(folder / name, stamp, written) for name, stamp in commit.files.items()
        )
        return commit if whole else None

    def publish(
        self,
        target: Path,
        manifest: Manifest,
        add: Callable[[Path, Manifest], None] | None = None,
    ) -> None:
        """Put all parts, their commit records and the manifest at `target`, in one rename.

        Files are hard links into the work folder where the file system allows it. `add` may write
        further files (an index, a pool) beside the parts; they join the manifest's folder.
        """
        staging = self.root / f"publish-{uuid.uuid4().hex}"
        staging.mkdir(parents=True)
        try:
            with errors_name(staging):
                self._fill(staging, manifest)
                if add:
                    add(staging, manifest)
            write_manifest(staging, manifest)
            replace_folder(staging, target)
        finally:
            self.sweep()
        self._forget_replaced(manifest.parts)

    def _fill(self, staging: Path, manifest: Manifest) -> None:
        for part in manifest.parts:
            folder = self.part_folder(part.shard.name, part.files)
            for name in part.files:
                (staging / name).parent.mkdir(exist_ok=True, parents=True)
                link_or_copy(folder / name, staging / name)
            (staging / f"{part.shard.name}.json").write_text(commit_text(part), "utf-8")

    def _commit_path(self, shard: str, inputs: dict[str, str]) -> Path:
        digest = hashlib.sha256(canonical_json(inputs).encode()).hexdigest()[:16]
        return self.root / "commits" / f"{shard}-{digest}.json"

    def _forget_replaced(self, published: Iterable[PartCommit]) -> None:
        """Remove parts that no commit record speaks of: `retry` has replaced them."""
        known = {self._commit_path(part.shard.name, part.inputs): part for part in published}
        others = (path for path in (self.root / "commits").glob("*.json") if path not in known)
        commits = (*known.values(), *map(_readable, others))
        current = {self.part_folder(one.shard.name, one.files) for one in commits if one}
        for folder in (self.root / "parts").glob("*"):
            if folder not in current:
                shutil.rmtree(folder)


def _readable(path: Path) -> PartCommit | None:
    """The commit record there; None where there is none, or a damaged one, which counts for none:
    what it spoke of can be made again."""
    if not path.exists():
        return None
    try:
        return read_commit(path)
    except ValueError as error:
        log.warning("%s: its part is made again", error)
        return None


def _is_as_committed(path: Path, stamp: FileStamp, committed_ns: int) -> bool:
    """Whether a part's file is what its commit record says.

    A part is written before its commit record, so a file that is younger was touched since, and is
    hashed; the others are taken by their size, or each run would read the whole build.
    """
    if not path.is_file() or path.stat().st_size != stamp.bytes:
        return False
    return path.stat().st_mtime_ns <= committed_ns or FileStamp.of(path) == stamp


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system allows one, else a copy that has its name once it is whole
    and on the disk."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        half = target.with_name(f".{target.name}.copying")
        shutil.copyfile(source, half)
        fsync_path(half)
        half.replace(target)


def replace_folder(new: Path, target: Path) -> None:
    """Put a folder in another's place; that one comes to lie where the new one was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        exchange(new, target)
    else:
        new.rename(target)
    fsync_path(target.parent)
