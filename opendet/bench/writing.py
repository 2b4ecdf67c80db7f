"""Durable writing of a shard beside webdataset's ShardWriter, which leaves it to the kernel.

Ours checks every image against its record, writes the tar and its index, hashes both, forces files
and folders to the disk and renames: what it has written is whole whatever happens next. ShardWriter
writes the tar. It gets the record as the dictionary that it takes, and makes JSON of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count as counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from opendet.bench.alternation import ROUNDS, alternate, cost, spent_of, times, wall_times
from opendet.bench.harness import Place, Row, at_least, code_of
from opendet.bench.packed_shards import PICTURES, picture, samples
from opendet.curate.shards import write_part
from opendet.files import fsync_path
from opendet.sample import Sample
from opendet.schema import record_to_json
from opendet.work import WorkFolder

SAMPLES, SIZE_WH = 1000, (640, 480)
AS_FAST = 0.8


def measure(place: Place) -> Iterator[Row]:
    """Samples written a second, against ShardWriter's."""
    settings = {"samples": SAMPLES, "rounds": ROUNDS}
    work = partial(costs, place.folder, count=SAMPLES)
    code = code_of("opendet.bench.writing")
    told: dict[str, Any] | None = place.unit(settings, code, work, what="writing shards")
    if told is not None:
        yield from rows_of(told)


def costs(folder: Path, *, count: int, rounds: int = ROUNDS) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    made = samples(range(count), [picture(seed, SIZE_WH) for seed in range(PICTURES)], SIZE_WH)
    plain = [_plain(sample) for sample in made]
    turn = counter()
    with TemporaryDirectory(dir=folder) as temporary:
        at = Path(temporary)
        spent = alternate(
            {
                "ours": lambda: _ours(at / f"{next(turn)}", made),
                "webdataset": lambda: _webdataset(at / f"{next(turn)}.tar", plain),
                "webdataset forced": lambda: _forced(at / f"{next(turn)}.tar", plain),
            },
            rounds=rounds,
        )
    return {"samples": count, "spent": spent}


def rows_of(told: Mapping[str, Any]) -> Iterator[Row]:
    spent, count = spent_of(told["spent"]), int(told["samples"])
    ours = spent["ours"]
    for name, what in (
        ("webdataset", "ShardWriter's"),
        ("webdataset forced", "the same with fsync, ShardWriter's"),
    ):
        said = f"{cost(ours, count)} against {cost(spent[name], count)}"
        yield at_least(
            f"times {what} samples a CPU second", times(spent[name], ours), AS_FAST, said
        )
        yield at_least(f"times {what} samples a second", wall_times(spent[name], ours), AS_FAST)
    for name, what in (("ours", "our"), ("webdataset", "ShardWriter's")):
        yield Row(f"{what} memory, MB", spent[name].megabytes, detail="grown by a shard")


def _ours(root: Path, made: Sequence[Sample]) -> None:
    WorkFolder(root).write_part("bench-000000", lambda at: write_part(at, "bench-000000", made))


def _plain(sample: Sample) -> dict[str, Any]:
    record = json.loads(record_to_json(sample.record))
    return {"__key__": sample.key, sample.record.format: sample.content, "json": record}


def _webdataset(path: Path, plain: Sequence[dict[str, Any]]) -> None:
    from webdataset import ShardWriter

    # By an open file, which a WDS_SECURE in the environment does not forbid.
    with (
        path.open("wb") as file,
        ShardWriter("%06d", opener=lambda _: file, verbose=0) as writer,
    ):
        for sample in plain:
            writer.write(sample)


def _forced(path: Path, plain: Sequence[dict[str, Any]]) -> None:
    _webdataset(path, plain)
    fsync_path(path)
