"""One shard through one worker: batches, images opened ahead, and every sample accounted for.

Runs the same way inside an actor and inside the local runner. Batches are cut from the shard's
start, so that whoever runs the shard, the worker sees the same batches.
"""

import errno
import os
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from opendet.files import write_json_durably
from opendet.manifest import DroppedEntry, FileStamp, PartCommit, QuarantinedEntry, ShardName
from opendet.sample import Dropped
from opendet.stage import In, Keyed, Out, Stage, Task, Worker
from opendet.work import WorkFolder

WHOLE = ShardName("whole", "", "")
"""What stands for all shards where a stage makes one thing of them."""
WHOLE_METRICS = "metrics.json"
BATCHES_AHEAD = 2
# A photograph of 12 megapixels takes a core 70 ms to decode, so that two threads open 30 a second.
MOST_DECODERS = 8
_MACHINE_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}
_FOLDERS = re.compile(r"(?<![\w./:])/(?:[^\s/:'\"]+/)+")


@dataclass
class Outcome(Generic[Out]):
    """What became of a shard's samples, in the plan's order."""

    samples_in: int
    kept: list[Out] = field(default_factory=list)
    dropped: list[DroppedEntry] = field(default_factory=list)
    quarantined: list[QuarantinedEntry] = field(default_factory=list)


def run_shard(
    stage: Stage[In, Out],
    worker: Worker[In, Out],
    task: Task,
    *,
    poison: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
    attempt: int = 0,
) -> Outcome[Out]:
    """Run a shard's samples through the worker.

    `poison` maps keys that are known to kill the process to what is to be said of them: they are
    quarantined unseen. `only` limits the run to some keys. `attempt` goes into the quarantine.
    An exception of one sample quarantines that sample; an error of the machine (a full disk, no
    more file handles, no memory) is raised.
    """
    poison = poison or {}
    samples = [s for s in stage.read(task) if only is None or s.key in only]
    outcome: Outcome[Out] = Outcome(len(samples))
    decoders = max(2, min(MOST_DECODERS, os.cpu_count() or 1))
    with ThreadPoolExecutor(max_workers=decoders) as pool:
        for batch in _opened_batches(stage, samples, poison, pool):
            ready = [opened for opened in batch if not isinstance(opened, QuarantinedEntry)]
            results = iter(_call(stage.name, worker, ready, attempt))
            for opened in batch:
                result = opened if isinstance(opened, QuarantinedEntry) else next(results)
                _sort(outcome, result, attempt)
    return outcome


def make_part(
    stage: Stage[In, Out], task: Task, outcome: Outcome[Out], work: WorkFolder
) -> PartCommit:
    """Write an outcome as a part; the commit record comes back uncommitted."""
    shard = task.shard.name
    files = work.write_part(shard, lambda folder: stage.write(folder, shard, outcome.kept))
    return PartCommit(
        shard=task.shard,
        samples_in=outcome.samples_in,
        samples_out=len(outcome.kept),
        dropped=tuple(outcome.dropped),
        quarantined=tuple(outcome.quarantined),
        tally=dict(sorted(stage.tally(outcome.kept).items())) if stage.tally else {},
        files=files,
        inputs=task.inputs,
    )


def make_whole(make: Callable[[Path], Mapping[str, Any]], work: WorkFolder) -> dict[str, FileStamp]:
    """Let `make` fill the one part of a stage that makes one thing, its metrics beside it."""

    def fill(folder: Path) -> None:
        write_json_durably(folder / WHOLE_METRICS, dict(make(folder)))

    return work.write_part(WHOLE.name, fill)


def merge_retry(
    stage: Stage[In, Out],
    task: Task,
    before: Sequence[Out],
    commit: PartCommit,
    again: Outcome[Out],
) -> Outcome[Out]:
    """A committed part and the second try of its quarantined samples, in the plan's order."""
    order = {sample.key: place for place, sample in enumerate(stage.read(task))}
    kept = sorted([*before, *again.kept], key=lambda item: order[item.key])
    dropped = sorted([*commit.dropped, *again.dropped], key=lambda entry: order[entry.key])
    return Outcome(commit.samples_in, kept, dropped, again.quarantined)


def _opened_batches(
    stage: Stage[In, Out],
    samples: Sequence[In],
    poison: Mapping[str, str],
    pool: ThreadPoolExecutor,
) -> Iterator[list[In | QuarantinedEntry]]:
    """The shard's batches, opened ahead of the worker by the pool's threads."""
    prepare: Callable[[In], In] = stage.prepare or (lambda sample: sample)
    ahead: deque[list[tuple[In, Future[In] | None]]] = deque()
    starts = iter(range(0, len(samples), stage.batch_size))

    def submit_next() -> None:
        for start in starts:
            batch = samples[start : start + stage.batch_size]
            ahead.append([(s, None if s.key in poison else pool.submit(prepare, s)) for s in batch])
            return

    for _ in range(BATCHES_AHEAD):
        submit_next()
    while ahead:
        batch = ahead.popleft()
        submit_next()
        opened: list[In | QuarantinedEntry] = []
        for sample, future in batch:
            if future is None:
                opened.append(QuarantinedEntry(sample.key, stage.name, poison[sample.key], 0))
                continue
            result: In | QuarantinedEntry = _opened(stage.name, sample, future)
            opened.append(result)
        yield opened


def _opened(stage: str, sample: Keyed, future: Future[In]) -> In | QuarantinedEntry:
    try:
        return future.result()
    except Exception as error:
        return _quarantine(stage, sample.key, error, 0)


def _call(
    stage: str, worker: Worker[In, Out], batch: Sequence[In], attempt: int
) -> Sequence[Out | Dropped | QuarantinedEntry]:
    """The worker's results; if the batch raises, each sample's own result or its error."""
    if not batch:
        return []
    try:
        results = worker(batch)
    except Exception as error:
        if len(batch) == 1:
            return [_quarantine(stage, batch[0].key, error, attempt)]
        _raise_if_machine(error)
        return [result for sample in batch for result in _call(stage, worker, [sample], attempt)]
    assert [r.key for r in results] == [s.key for s in batch], (
        f"{stage}: the worker must return one result a sample, in order"
    )
    return results


def _quarantine(stage: str, key: str, error: Exception, attempt: int) -> QuarantinedEntry:
    _raise_if_machine(error)
    return QuarantinedEntry(key, stage, f"{type(error).__name__}: {_said(error)}", attempt)


def _said(error: Exception) -> str:
    """An error's first line, without this machine's folders: the ledger is the same anywhere."""
    if isinstance(error, OSError) and error.strerror:
        file = f": {Path(os.fsdecode(error.filename)).name}" if error.filename else ""
        said = f"{error.strerror}{file}"
    else:
        said = _FOLDERS.sub("", (str(error).splitlines() or [""])[0])
    return said.encode(errors="backslashreplace").decode()  # a file's name may be no Unicode


def _raise_if_machine(error: Exception) -> None:
    if isinstance(error, MemoryError | ConnectionError):
        raise error
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
        raise error


def _sort(outcome: Outcome[Out], result: Out | Dropped | QuarantinedEntry, attempt: int) -> None:
    if isinstance(result, Dropped):
        outcome.dropped.append(DroppedEntry(result.key, result.reason, result.detail))
    elif isinstance(result, QuarantinedEntry):
        outcome.quarantined.append(
            QuarantinedEntry(result.key, result.stage, result.error, attempt)
        )
    else:
        outcome.kept.append(result)
