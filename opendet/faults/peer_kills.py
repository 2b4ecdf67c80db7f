"""Others' writers, killed at random and begun again in the same folder; what a reader then sees."""

import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from opendet.bench.process_tree import kill_tree
from opendet.faults.peer_writers import wanted_keys, write_input
from opendet.faults.rows import Effort

AS_EVERYBODY = {"RAY_USAGE_STATS_ENABLED": "0", "WDS_SECURE": "0"}
"""How they are run: webdataset's strict mode writes no local file."""
MOST_KILLS = 2
"""Of one try: then it is let alone."""
LONGEST = 0.8
"""Seconds that a writer is left alone from its first byte: about what its work takes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader that lists the folder finds."""

    keys: Counter[str]
    cut: int
    """Files by a final name that do not end as tar files do."""
    temporary: int
    """Files that are no tar files."""

    @property
    def lost(self) -> int:
        return len(wanted_keys() - self.keys.keys())

    @property
    def doubled(self) -> int:
        return sum(count - 1 for count in self.keys.values())

    @property
    def whole(self) -> bool:
        """Whether a reader who came now would have all samples once."""
        return not (self.lost or self.doubled or self.cut)


def killed_peer(effort: Effort, kind: str, tries: int) -> str:
    """Kill a writer while it writes, rerun it until it ends; what that came to, in words."""
    source = effort.folder / "input"
    if not source.exists():
        write_input(source)
    kills = halves = lost = doubled = cut = temporary = made = 0
    for number in effort.tries(tries, least=1):
        folder = effort.folder / f"peer-{number}"
        own = _until_done(kind, source, folder / "out", random.Random(number))
        kills += len(own)
        halves += sum(1 for seen in own if seen.cut or (seen.keys and not seen.whole))
        end = seen_in(folder / "out")
        lost, doubled = lost + end.lost, doubled + end.doubled
        cut, temporary, made = cut + end.cut, temporary + end.temporary, made + 1
        shutil.rmtree(folder)
    return (
        f"{kind}, {made} tries, {kills} kills: after {halves} of them a reader saw a part; in the "
        f"end {lost} of {made * len(wanted_keys())} samples lost, {doubled} doubled, {cut} files "
        f"cut off, {temporary} temporary files left"
    )


def seen_in(out: Path) -> Seen:
    """Whoever globs a folder sees what lies there."""
    keys, cut, temporary = Counter[str](), 0, 0
    for path in sorted(out.rglob("*")) if out.is_dir() else ():
        if path.is_dir():
            continue
        if path.suffix != ".tar":
            temporary += 1
            continue
        found, whole = _keys_of(path)
        keys.update(found)
        cut += not whole
    return Seen(keys, cut, temporary)


def _keys_of(path: Path) -> tuple[list[str], bool]:
    """The samples that can be read of a tar file, and whether it ends as it must."""
    keys: list[str] = []
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if len(tar.extractfile(member).read()) == member.size:  # type: ignore[union-attr]
                    keys.append(member.name.partition(".")[0])
    except (tarfile.TarError, OSError):
        return keys, False
    return keys, path.read_bytes()[-1024:] == bytes(1024)


def _until_done(kind: str, source: Path, out: Path, rng: random.Random) -> list[Seen]:
    """Run and kill until a run ends well; what a reader saw after each kill."""
    after: list[Seen] = []
    while True:
        before = _looks_of(out)
        program = [sys.executable, "-m", "opendet.faults.peer_writers", kind, str(source), str(out)]
        process = subprocess.Popen(
            program,
            env={**os.environ, **AS_EVERYBODY},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None and (len(after) >= MOST_KILLS or _looks_of(out) == before):
            time.sleep(0.005)
        time.sleep(0 if len(after) >= MOST_KILLS else rng.uniform(0, LONGEST))
        if process.poll() is None:
            kill_tree(process.pid)
            process.wait()
            after.append(seen_in(out))
            continue
        assert process.returncode == 0, f"{kind} ended with {process.returncode}"
        return after


def _looks_of(out: Path) -> set[tuple[str, int]]:
    """Its files and their sizes."""
    try:
        return {(path.name, path.stat().st_size) for path in out.iterdir()}
    except FileNotFoundError:  # nothing yet, or a file that went away meanwhile
        return set()
