"""Builds that are disturbed at each call of their commit: a first one, and such as replace another.

One more runs as on a file system where two folders cannot change places in one step.
"""

from dataclasses import dataclass
from pathlib import Path

from opendet.faults.killed import bytes_of, leftovers
from opendet.faults.syscalls import Step, refusing, steps_of
from opendet.faults.toy_build import Settings, build, command
from opendet.manifest import read_manifest

QUIET = {"PYTHONUNBUFFERED": "1"}
FEW = Settings(shards=2)
BEFORE, CHANGED = Settings(shards=3), Settings(shards=2, says=" now")
"""What was published, and what takes its place: two names with other bytes, and one name less."""
EXCHANGE = "renameat2"
"""Lets two folders change places."""


@dataclass(frozen=True, slots=True)
class Case:
    """A build, and where it runs."""

    name: str
    settings: Settings
    before: Settings | None = None
    """Of what was published before; None for a first build."""
    refused: tuple[str, ...] = ()
    """What strace refuses to each run of it."""

    def begin(self, folder: Path) -> None:
        """Make a folder, with what was published before."""
        folder.mkdir()
        if self.before is not None:
            build(folder, self.before)

    def command(self, folder: Path) -> list[str]:
        return command(folder, self.settings)

    def steps(self, folder: Path) -> list[Step]:
        """Where it can be disturbed: everywhere, but of one that replaces another in its
        publication alone, for the parts are made as those of a first one. Runs it."""
        self.begin(folder)
        every = steps_of(self.command(folder), folder, QUIET, self.refused)
        steps = [step for step in every if "/calls" not in step.what]  # they count, nothing more
        if self.before is None:
            return steps
        first = next(place for place, step in enumerate(steps) if "work/publish-" in step.what)
        return [step for step in steps[first:] if not (self.refused and step.call == EXCHANGE)]

    def some_steps(self, folder: Path, share: float) -> list[Step]:
        """A share of them, with every rename: there it is that sets change places."""
        every = max(1, round(1 / share))
        return [
            step
            for number, step in enumerate(self.steps(folder))
            if number % every == 0 or step.call.startswith("rename")
        ]

    def may_be_seen(self, folder: Path) -> "Sets":
        """What its readers may find at any time, made in a new folder."""
        self.begin(folder)
        old = bytes_of(folder / "out")
        build(folder, self.settings)
        return Sets(old, bytes_of(folder / "out"))


CASES = (
    Case("first builds", FEW),
    Case("replacing", CHANGED, BEFORE),
    Case("replacing without renameat2", CHANGED, BEFORE, refusing(EXCHANGE, "EINVAL")),
)


@dataclass(frozen=True, slots=True)
class Sets:
    """What was published before a build and what is published after it: name -> content."""

    old: dict[str, bytes]
    """Empty before a first build."""
    new: dict[str, bytes]

    def wrong_of(self, out: Path, *, may_be_missing: bool) -> str:
        """What is wrong of what a reader finds; empty where it is the old set or the new one."""
        seen = bytes_of(out)
        if seen in (self.old, self.new):
            return "" if seen or _is_said_to_be_missing(out) else "nobody says that it is missing"
        if not seen and may_be_missing and _is_said_to_be_missing(out):
            return ""
        return "a reader sees a mix" if seen else "it is missing"

    def wrong_of_next(self, folder: Path) -> str:
        """What is wrong once the next run has ended."""
        if bytes_of(folder / "out") != self.new:
            return "the next run ended with other bytes"
        left = leftovers(folder)
        return f"left behind: {left[0].relative_to(folder)}" if left else ""


def _is_said_to_be_missing(out: Path) -> bool:
    """Whether a reader says so, in one line."""
    try:
        read_manifest(out)
    except ValueError as error:
        return str(error).startswith(f"{out / 'manifest.json'} is missing: ")
    return False
