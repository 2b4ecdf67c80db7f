"""Looks for everything that can be wrong with a folder of shards, and names it.

Unlike a reader it does not stop at the first fault, and it reads every byte: files against the
manifest, members against the index, images against their records, keys against each other.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opendet.manifest import Manifest, PartCommit, manifest_files, read_commit, read_manifest
from opendet.shard_reader import read_index, read_shard, shard_entries
from opendet.shard_set import check_file, part_files
from opendet.shards import WIDS_INDEX, wids_text


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as the manifest says."""

    path: Path
    what: str
    """One line."""


def verify_shards(folder: Path) -> list[Problem]:
    """Every problem of a published folder of shards; an empty list means that it is whole.

    Finds flipped bits, cuts, swapped, missing and surplus files, records that disagree with their
    images, and keys that come twice. Nothing else tells a manifest's stage and fingerprint, nor the
    name in the list of wids: those are believed. That list may be missing: no reader of ours asks.
    """
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        return [Problem(folder / "manifest.json", str(error))]
    found = list(_surplus(folder, manifest))
    owners: dict[str, str] = {}
    for part in manifest.parts:
        found += _part_problems(folder, part, owners)
    if not found:  # the list of wids names the shards' hashes: only worth a look once they are sane
        found += _wids_problems(folder, manifest)
    return found


def _surplus(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    known = {*manifest_files(len(manifest.parts)), WIDS_INDEX}
    for part in manifest.parts:
        known.update(part.files, [f"{part.shard.name}.json"])
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in known:
            yield Problem(path, f"{path} is not in the manifest: remove it")


def _part_problems(folder: Path, part: PartCommit, owners: dict[str, str]) -> list[Problem]:
    commit = folder / f"{part.shard.name}.json"
    problems: list[Problem] = []
    try:
        files = part_files(folder, part)
        if read_commit(commit) != part:
            problems.append(Problem(commit, f"{commit} does not say what the manifest says"))
    except ValueError as error:
        return [Problem(commit, str(error))]
    for name, stamp in files.items():
        try:
            check_file(folder / name, stamp)
        except ValueError as error:
            problems.append(Problem(folder / name, str(error)))
    tar = folder / f"{part.shard.name}.tar"
    if not problems:
        try:
            _check_samples(tar, part, owners)
        except ValueError as error:
            problems.append(Problem(tar, str(error)))
    return problems


def _check_samples(tar: Path, part: PartCommit, owners: dict[str, str]) -> None:
    """Raises ValueError at the first thing inside the shard that is wrong."""
    if list(shard_entries(tar)) != read_index(tar.with_suffix(".idx")):
        raise ValueError(f"{tar}: its .idx speaks of other members")
    count = 0
    for count, sample in enumerate(read_shard(tar), 1):  # noqa: B007
        if sample.record.split != part.shard.split:
            raise ValueError(f"{tar}: {sample.key} is of the split {sample.record.split!r}")
        if sample.key in owners:
            raise ValueError(f"{tar}: key {sample.key!r} is in {owners[sample.key]} too")
        owners[sample.key] = part.shard.name
    if count != part.samples_out:
        raise ValueError(f"{tar}: {count} samples, the manifest says {part.samples_out}")


def _wids_problems(folder: Path, manifest: Manifest) -> list[Problem]:
    path = folder / WIDS_INDEX
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        same = text == wids_text(folder, json.loads(text)["name"], manifest)
    except (ValueError, TypeError, KeyError, RecursionError):
        same = False
    return [] if same else [Problem(path, f"{path} does not say what the manifest says")]
