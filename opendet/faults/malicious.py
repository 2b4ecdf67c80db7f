"""`python -m opendet.faults.malicious FOLDER`: files that were made to do harm, read one by one.

Each would leave a file behind, the canary, if anything of it ran. What asks whether it may run
something is told yes: the program is started with nothing but `y` to read.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from opendet.console import exit_code_of
from opendet.faults.malicious_attack import Attack
from opendet.faults.rows import Effort, Shown, Tally

CANARY = "fired"
_YES = "y\n" * 1000


def malicious_files(effort: Effort) -> Shown:
    """Shards, weights, models, texts and configurations; one process reads them all."""
    program = [sys.executable, "-m", "opendet.faults.malicious", str(effort.folder)]
    ran = subprocess.run(program, input=_YES, capture_output=True, text=True, check=False)
    lines = ran.stdout.splitlines()
    if ran.returncode or not lines:
        said = (ran.stderr.strip().splitlines() or ["nothing"])[-1]
        return Shown(1, 0, "the program ended", problems=(f"{ran.returncode}: {said[:200]}",))
    tally, fired = Tally(), 0
    for name, problem in json.loads(lines[-1]).items():
        tally.add(f"{name}: {problem}" if problem else "")
        fired += problem.startswith("it fired")
    return tally.shown(f"{fired} of {tally.tries} fired")


def tried(attack: Attack, folder: Path) -> str:
    """What was not as it must be; empty where all was."""
    folder.mkdir(parents=True)
    canary = folder.parent / f"{CANARY}-{folder.name}"
    try:
        problem = attack.run(folder, canary)
    except Exception as error:  # a crash is what this looks for
        problem = f"{type(error).__name__}: {error}"[:200]
    fired = canary.exists() or any(folder.rglob(f"{CANARY}*"))
    return f"it fired ({problem})" if fired else problem


def all_attacks() -> list[Attack]:
    from opendet.faults.malicious_files import FILES
    from opendet.faults.malicious_models import MODELS
    from opendet.faults.malicious_shards import SHARDS
    from opendet.faults.malicious_texts import TEXTS
    from opendet.faults.malicious_valid import VALID

    return [*SHARDS, *FILES, *TEXTS, *MODELS, *VALID]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args(arguments)
    told = {
        attack.name: tried(attack, asked.folder / f"attack-{number}")
        for number, attack in enumerate(all_attacks())
    }
    print(json.dumps(told))  # noqa: T201 - the program's result
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
