"""Trainings that are killed at random, and while they save."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq

from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.toy_shards import toy_sample, write_toy_shards
from opendet.faults.toy_training import RECIPE, STEPS, train_toy
from opendet.train import checkpoint
from opendet.train.further import SIGNALS

IMAGES = 12
BATCH = RECIPE.loader.batch_size


def killed_trainings(effort: Effort) -> Shown:
    """Kill a training at random times until a run of it ends; compare with an undisturbed one."""
    import torch

    torch.set_num_threads(1)  # children are forked
    shards, whole = effort.folder / "shards", effort.folder / "undisturbed"
    write_toy_shards(shards, shards=2, each=IMAGES // 2)
    begin = time.monotonic()
    _in_child(partial(train_toy, shards, whole))
    seconds = time.monotonic() - begin
    tally, kills, worst = Tally(), 0, 0.0
    wanted_kills = max(2, round(50 * effort.share))
    for number in effort.tries(50):
        if kills >= wanted_kills:
            break
        work = effort.folder / str(number)
        kills += kill_until_done(
            partial(train_toy, shards, work), random.Random(number), seconds / 2
        )
        difference = largest_difference(whole / "model", work / "model")
        same_log = (work / "series.csv").read_bytes() == (whole / "series.csv").read_bytes()
        worst = max(worst, difference)
        problem = "" if difference == 0 else f"differs by {difference}"
        problem = problem or ("" if same_log else "another log") or wrong_of_epochs(work)
        tally.add(f"try {number}: {problem}" if problem else "")
        shutil.rmtree(work)
    tally.require(kills, wanted_kills, "kills")
    return tally.shown(
        f"{kills} kills; the largest difference of a weight is {worst:g}; each of {IMAGES} images "
        "seen once in each epoch"
    )


def wrong_of_epochs(work: Path) -> str:
    """What is wrong with the images that a whole training has learned from, epoch by epoch; empty
    where each came once."""
    seen: dict[int, Counter[str]] = {epoch: Counter() for epoch in range(STEPS * BATCH // IMAGES)}
    for part in (work / SIGNALS).rglob("*.parquet"):
        for row in pq.read_table(part, columns=["step", "key"]).to_pylist():
            seen[row["step"] * BATCH // IMAGES][row["key"]] += 1
    once = Counter(toy_sample(number).key for number in range(IMAGES))
    odd = [epoch for epoch, keys in seen.items() if keys != once]
    return f"images of epoch {odd[0]}: {dict(seen[odd[0]])}" if odd else ""


def killed_saves(effort: Effort) -> Shown:
    """Kill a process at a random moment while it saves one checkpoint after another."""
    import torch

    torch.set_num_threads(1)
    tally, whole = Tally(), 0
    for number in effort.tries(100):
        folder = effort.folder / str(number)
        saved = _last_saved(folder, random.Random(number).uniform(0.02, 0.3))
        problem = wrong_of_latest(folder, saved)
        whole += saved > 0
        tally.add(f"try {number}: {problem}" if problem else "")
        shutil.rmtree(folder, ignore_errors=True)
    return tally.shown(f"{whole} times at least one had been saved before")


def wrong_of_latest(folder: Path, saved: int) -> str:
    """What is wrong of the checkpoint that loads, where step `saved` was saved; empty if
    nothing is.

    A later one may load: its save may have ended as the kill came.
    """
    last = checkpoint.load_latest(folder) if folder.is_dir() else None
    if last is None:
        return f"step {saved} was saved and nothing loads" if saved else ""
    if last.step < saved:
        return f"step {last.step} loads and step {saved} was saved"
    mixed = any(bool((tensor != last.step).any()) for tensor in last.tensors.values())
    return "a mix of two steps loads" if mixed else ""


def kill_until_done(work: Callable[[], object], rng: random.Random, longest: float) -> int:
    """Work in children, each killed after at most `longest` seconds; how many were killed.

    Each gets a little longer than the one before: a child may begin so slowly that it never comes
    to its next checkpoint.
    """
    kills = 0
    while True:
        child = _fork(work)
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return kills
        assert status == signal.SIGKILL, f"a run ended with status {status}"
        kills, longest = kills + 1, longest * 1.1


def largest_difference(one: Path, other: Path) -> float:
    """Of any weight of two models; infinite where they do not have the same ones."""
    from safetensors.torch import load_file

    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    if first.keys() != second.keys():
        return float("inf")
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def _last_saved(folder: Path, seconds: float) -> int:
    """Save checkpoints in a child, which is killed after so long from its first; the last step
    that it says to have saved."""
    reading, writing = os.pipe()
    child = _fork(partial(_save_for_ever, folder, writing))
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        said = told.read(1)  # it has begun
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return len(said + told.read()) - 1


def _save_for_ever(folder: Path, telling: int) -> None:
    import torch

    os.write(telling, b".")
    for step in count(1):
        tensors = {f"model.{name}": torch.full((50_000,), float(step)) for name in "abcd"}
        checkpoint.save(folder, checkpoint.Checkpoint(step, tensors, {}), keep=2)
        os.write(telling, b".")


def _in_child(work: Callable[[], object]) -> None:
    _, status = os.waitpid(_fork(work), 0)
    assert status == 0, f"the undisturbed run ended with status {status}"


def _fork(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child
