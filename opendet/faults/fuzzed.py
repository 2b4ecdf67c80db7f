"""Readers of files from anywhere, given damaged ones: they say one line, soon, and in little room.

By our own seeded mutations, which know of checksums in headers and of values in JSON; and where
`atheris` is installed, by it, too. A try is known by its target and number: `Target.damaged` makes
its file again.
"""

import logging
import multiprocessing
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from opendet.faults.fuzz_coverage import WITHOUT, by_coverage
from opendet.faults.fuzz_targets import Target, targets
from opendet.faults.refusals import wrong_of
from opendet.faults.rows import Effort, Shown, Tally

EACH = 1000
"""Damaged files of each target."""
LONGEST = 5.0
"""Seconds that a read may take."""
MEGABYTES = 200
"""That reading may add to the process: the files have a few kilobytes, and some name 100 kB."""
_DEAD = 4 * LONGEST
"""Seconds of silence after which a process that does not even hear its alarm is killed."""


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What the tries of a target came to."""

    name: str
    tries: int
    megabytes: int
    """That the process grew by."""
    slowest: float
    """Seconds."""
    refused: int
    """How many files were refused in one line, of all."""
    problems: tuple[str, ...]


class _HungError(BaseException):
    """Not caught by whatever catches Exception."""


def fuzzed(effort: Effort) -> Shown:
    """Damage a file of each kind again and again, and read it."""
    each = max(2, round(EACH * effort.share))
    tally, done = Tally(), []
    for one in _all_targets(effort.folder, each, effort.deadline):
        done.append(one)
        tally.add_all(one.tries, *one.problems)
        if one.megabytes > MEGABYTES:
            tally.add(f"{one.name}: the process grew by {one.megabytes} MB")
    covered = list(by_coverage(effort))
    for one_covered in covered:
        tally.add_all(one_covered.executions, one_covered.problem)
    peak = max((one.megabytes for one in done), default=0)
    slowest = max((one.slowest for one in done), default=0.0)
    refused = sum(one.refused for one in done)
    by_atheris = sum(one.executions for one in covered)
    guided = f"{by_atheris} of them guided by coverage (atheris)" if covered else WITHOUT
    return tally.shown(
        f"{tally.tries} executions of {len(done)} readers, {refused} files refused in one line; "
        f"peak {peak} MB more than before; the slowest took {slowest:.2f} s; {guided}"
    )


def fuzz(target: Target, folder: Path, numbers: range, tell: Connection | None = None) -> Fuzzed:
    """Read damaged files in this process, one after the other."""
    lay(target.beside, folder)
    lay(target.files, folder)
    target.read(folder)  # an undamaged one must pass; and what it imports is no growth
    before, slowest, refused, problems = _peak_megabytes(fresh=True), 0.0, 0, []
    for number in numbers:
        if tell is not None:
            tell.send(number)
        name, content = target.damaged(number)
        (folder / name).write_bytes(content)
        begin = time.perf_counter()
        problem, said = _read(target, folder, name)
        slowest = max(slowest, time.perf_counter() - begin)
        refused += said
        if problem:
            problems.append(f"{target.name}, try {number} ({name}): {problem}")
        lay(target.files, folder)
        lay(target.beside, folder)
    grown = _peak_megabytes() - before
    return Fuzzed(target.name, len(numbers), grown, slowest, refused, tuple(problems))


def _read(target: Target, folder: Path, name: str) -> tuple[str, bool]:
    """What was wrong, empty where nothing was; and whether the file was refused."""
    signal.signal(signal.SIGALRM, _hung)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        target.read(folder)
    except ValueError as error:
        return wrong_of(error, name, folder), True
    except _HungError:
        return f"took over {LONGEST:g} s", False
    except BaseException as error:  # whatever else comes is what this looks for
        return f"{type(error).__name__}: {error}"[:200], False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "", False


def _all_targets(folder: Path, each: int, deadline: float) -> Iterator[Fuzzed]:
    """Each in a process that goes on to the next, unless one kills it or hangs in it."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit Arrow's locks
    first, total = 0, len(targets(folder / "seeds"))
    while first < total and time.monotonic() < deadline:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, folder, first, each))
        process.start()
        there.close()
        number = 0
        try:
            while first < total and time.monotonic() < deadline:
                if not here.poll(_DEAD):
                    raise EOFError
                told = here.recv()
                if isinstance(told, Fuzzed):
                    yield told
                    first += 1
                else:
                    number = told
        except EOFError:
            name = targets(folder / "again")[first].name
            shutil.rmtree(folder / "again")
            said = f"{name}, try {number}: the process died of it, or was killed after {_DEAD:g} s"
            yield Fuzzed(name, number + 1, 0, 0.0, 0, (said,))
            first += 1
        finally:
            process.kill()
            process.join()


def _work(tell: Connection, folder: Path, first: int, each: int) -> None:
    logging.disable(logging.CRITICAL)
    made = folder / f"seeds-{first}"
    for place, target in enumerate(targets(made)[first:], first):
        here = folder / f"target-{place}"
        tell.send(fuzz(target, here, range(each), tell))
        shutil.rmtree(here)


def lay(files: Mapping[str, bytes], folder: Path) -> None:
    """Write them below the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _peak_megabytes(*, fresh: bool = False) -> int:
    """Of this process; `fresh` lets it begin anew at what it holds now."""
    if fresh:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _hung(_: int, __: FrameType | None) -> None:
    raise _HungError
