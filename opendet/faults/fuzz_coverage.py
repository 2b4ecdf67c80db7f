"""`python -m opendet.faults.fuzz_coverage TARGET FOLDER`: one reader, fuzzed by coverage.

atheris keeps the damage that leads to lines not seen before, and damages that further. Where no
wheel of it fits the machine, our own mutations do alone.
"""

import argparse
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from opendet.faults.refusals import wrong_of
from opendet.faults.rows import Effort

if TYPE_CHECKING:
    from opendet.faults.fuzz_targets import Target  # atheris is to see it imported

SECONDS = 8
"""For each target."""
BY_COVERAGE = (
    *("a shard", "an index", "the inspector on shards", "yolo", "voc", "flickr30k", "refcoco"),
    *("openimages", "odvg", "visual_genome", "the configuration"),
)
"""Targets whose parsers are Python's own or ours, which atheris can look into."""
WITHOUT = "atheris is not installed, so none by coverage (pip install atheris)"
_LONGEST = 5
_DONE = re.compile(r"number_of_executed_units: (\d+)")


@dataclass(frozen=True, slots=True)
class Covered:
    """What fuzzing one target by coverage came to."""

    executions: int
    problem: str


def by_coverage(effort: Effort) -> Iterator[Covered]:
    """Each target in a process of its own; nothing where atheris is not there."""
    if find_spec("atheris") is None:
        return
    for number in effort.tries(len(BY_COVERAGE), least=1):
        yield covered(BY_COVERAGE[number], effort.folder / f"coverage-{number}", SECONDS)


def covered(name: str, folder: Path, seconds: int) -> Covered:
    program = [sys.executable, "-m", "opendet.faults.fuzz_coverage", name, str(folder)]
    ran = subprocess.run(
        [*program, f"--seconds={seconds}"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    done = _DONE.search(ran.stderr)
    count = int(done[1]) if done else 0
    if ran.returncode == 0 and count:
        return Covered(count, "")
    lines = [line for line in ran.stderr.splitlines() if "Error" in line or "ALARM" in line]
    return Covered(count + 1, f"{name}, by coverage: {(lines or [ran.stderr[-200:]])[0][:200]}")


@dataclass(frozen=True, slots=True)
class Once:
    """One execution: the first byte chooses the file that is damaged, the rest is what it holds."""

    target: "Target"
    folder: Path
    """Where the undamaged files lie."""

    def __call__(self, content: bytes) -> None:
        names = sorted(self.target.files)
        name = names[(content or b"\0")[0] % len(names)]
        (self.folder / name).write_bytes(content[1:])
        try:
            self.target.read(self.folder)
        except ValueError as error:
            if problem := wrong_of(error, name, self.folder):
                raise RuntimeError(problem) from error
        finally:
            (self.folder / name).write_bytes(self.target.files[name])


def main(arguments: Sequence[str] | None = None) -> None:
    import atheris

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("folder", type=lambda text: Path(text).absolute())
    parser.add_argument("--seconds", type=int, default=SECONDS)
    asked = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["opendet", "yaml", "csv", "xml"]):
        from opendet.faults.fuzz_targets import targets
        from opendet.faults.fuzzed import lay

    target = next(one for one in targets(asked.folder / "seeds") if one.name == asked.target)
    here, corpus = asked.folder / "here", asked.folder / "corpus"
    lay(target.beside, here)
    lay(target.files, here)
    corpus.mkdir()
    for number, name in enumerate(sorted(target.files)):
        (corpus / str(number)).write_bytes(bytes([number]) + target.files[name])
    os.chdir(asked.folder)  # where it leaves what crashed
    told = [f"-max_total_time={asked.seconds}", f"-timeout={_LONGEST}", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *told, "-seed=1", str(corpus)], Once(target, here))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
