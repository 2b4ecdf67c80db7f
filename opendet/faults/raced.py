"""Two builds of one folder at once, and builds by other hands that must come to the same bytes."""

import itertools
import os
import shutil
import subprocess
import time

from opendet.faults.killed import bytes_of, undisturbed
from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.toy_build import Settings, command

SLOW = Settings(seconds=0.02)
PLACES = (
    {"TZ": "UTC", "LC_ALL": "C.UTF-8"},
    {"TZ": "Asia/Tokyo", "LC_ALL": "C"},
    {"TZ": "America/Lima", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)
"""Time zones and locales. Python takes C for UTF-8 unless it is told not to: then text is ASCII
wherever nobody says otherwise."""


def races(effort: Effort) -> Shown:
    """Begin two builds of one folder within a few milliseconds."""
    wanted = undisturbed(effort.folder)
    tally = Tally()
    for number in effort.tries(50):
        folder = effort.folder / str(number)
        folder.mkdir()
        both = []
        for place in range(2):
            both.append(subprocess.Popen(command(folder, SLOW), stderr=subprocess.PIPE, text=True))
            time.sleep(0.02 * (number % 5) * (1 - place))
        ended = [(one.communicate()[1], one.returncode) for one in both]
        problem = _of_race(ended, [one.pid for one in both])
        if not problem and bytes_of(folder / "out") != wanted:
            problem = "other bytes"
        tally.add(f"race {number}: {problem}" if problem else "")
        shutil.rmtree(folder)
    return tally.shown("one of two ran, the other named its process")


def equal_bytes(effort: Effort) -> Shown:
    """The same build by other numbers of workers, hash seeds, time zones and locales."""
    wanted = undisturbed(effort.folder)
    tally = Tally()
    everything = list(itertools.product((0, 1, 2, 4), (1, 8), PLACES))
    for number in effort.tries(len(everything)):
        actors, batch_size, place = everything[number * 7 % len(everything)]
        folder = effort.folder / str(number)
        folder.mkdir()
        ran = subprocess.run(
            command(folder, Settings(actors=actors, batch_size=batch_size)),
            env={**os.environ, "PYTHONHASHSEED": str(number), **place},
            stderr=subprocess.DEVNULL,
            check=False,
        )
        same = ran.returncode == 0 and bytes_of(folder / "out") == wanted
        told = f"{actors} actors, batches of {batch_size}, {place}"
        tally.add("" if same else f"{told}: ended with {ran.returncode}, or with other bytes")
        shutil.rmtree(folder)
    return tally.shown(
        "0 (no Ray), 1, 2 and 4 actors, batches of 1 and 8, 3 time zones and locales, "
        "one of them without UTF-8"
    )


def _of_race(ended: list[tuple[str, int]], pids: list[int]) -> str:
    """What was wrong of a race; empty where one ran and the other named it."""
    codes = sorted(code for _, code in ended)
    if codes == [0, 0]:
        return "both ran"
    if codes != [0, 1]:
        return f"ended with {codes}"
    loser = next(place for place, (_, code) in enumerate(ended) if code)
    said = ended[loser][0].strip().splitlines()
    winner = str(pids[1 - loser])
    return "" if len(said) == 1 and winner in said[0] else f"the loser said {said[-1:]}"
