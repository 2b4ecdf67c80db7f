"""`docs/mutants.json`, and the section of `docs/reliability.md` that is written from it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opendet.files import write_durably, write_json_durably

TITLE = "## Mutation testing"
TEXT = (
    "`make mutants` changes one thing of a module at a time and runs the quick tests that are the "
    "module's own, as far as they reach it: a mutant that they let pass survived. Killed are those "
    "that a test failed on, and those that ran into their time limit. An equivalent mutant does "
    "what the code does, or differs in what nobody promised; each is named in "
    "[mutants.json](mutants.json) with the reason, beside those that survived. The score is killed "
    "/ (mutants - equivalent). mutmut mutates no decorated function, such as the lock of a build, "
    "and nothing outside of functions."
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of the code, and what became of it."""

    function: str
    before: str
    after: str
    fate: str
    """`killed`, `timed out`, `survived`, `untested` (no test comes by), `equivalent`, or `not
    tried`."""
    why: str = ""
    """It is equivalent."""


@dataclass(frozen=True, slots=True)
class ModuleScore:
    """A module and its mutants."""

    module: str
    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]

    def count(self, *fates: str) -> int:
        return sum(mutant.fate in fates for mutant in self.mutants)

    @property
    def survivors(self) -> list[Mutant]:
        return [one for one in self.mutants if one.fate in ("survived", "untested", "not tried")]

    @property
    def killed(self) -> int:
        return self.count("killed", "timed out")

    @property
    def score(self) -> float:
        """In [0, 1]."""
        return self.killed / max(1, len(self.mutants) - self.count("equivalent"))

    def line(self) -> str:
        return (
            f"{self.module}: {len(self.mutants)} mutants, {self.killed} killed, "
            f"{self.count('equivalent')} equivalent, {len(self.survivors)} survived: "
            f"{self.score:.1%}"
        )


def record(docs: Path, tested: ModuleScore, *, modules: Iterable[str] = ()) -> None:
    """Put a module in the place of what was recorded of it, and write the section anew.

    `modules` are all that there are: the section tells those of which nothing is recorded.
    """
    from opendet.bench.machine import machine

    told = {
        "module": tested.module,
        "tests": list(tested.tests),
        "mutants": len(tested.mutants),
        "killed": tested.count("killed"),
        "timed_out": [_told(one) for one in tested.mutants if one.fate == "timed out"],
        "score": round(tested.score, 4),
        "survived": [_told(mutant) for mutant in tested.survivors],
        "equivalent": [_told(one) for one in tested.mutants if one.fate == "equivalent"],
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
    }
    path = docs / "mutants.json"
    before = json.loads(path.read_text()) if path.is_file() else []
    kept = [one for one in before if one["module"] != tested.module]
    rows = sorted([*kept, told], key=lambda one: str(one["module"]))
    write_json_durably(path, rows)
    page = docs / "reliability.md"
    told_page = with_section(page.read_text(encoding="utf-8"), section(rows, modules))
    write_durably(page, told_page.encode())


def _told(mutant: Mutant) -> dict[str, str]:
    told = asdict(mutant)
    return {key: told[key] for key in ("function", "before", "after", "fate", "why") if told[key]}


def section(rows: Sequence[Mapping[str, Any]], modules: Iterable[str] = ()) -> str:
    """The record as Markdown."""
    lines = [
        TITLE,
        "",
        TEXT,
        "",
        "| module | mutants | killed | survived | equivalent | score | made |",
    ]
    lines.append("|---|---:|---:|---:|---:|---:|---|")
    for one in rows:
        killed = one["killed"] + len(one["timed_out"])
        counts = (one["mutants"], killed, len(one["survived"]), len(one["equivalent"]))
        cells = (f"`{one['module']}`", *map(str, counts), f"{one['score']:.1%}", one["date"])
        lines.append(f"| {' | '.join(cells)} |")
    recorded = {one["module"] for one in rows}
    lines += [f"| `{one}` | | | | | not run yet | |" for one in modules if one not in recorded]
    machines = sorted({str(one["machine"]) for one in rows})
    return "\n".join([*lines, "", f"On {'; '.join(machines)}, one process.", ""])


def with_section(page: str, told: str) -> str:
    """The page with this section in the place of the one before; at first before `Not promised`."""
    old = re.search(rf"^{TITLE}\n.*?(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    if old:
        return f"{page[: old.start()]}{told}\n{page[old.end() :]}"
    head, mark, rest = page.partition("## Not promised\n")
    return f"{head}{told}\n{mark}{rest}"
