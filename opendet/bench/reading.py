"""Verified reading of shards beside webdataset's own reader, which verifies nothing.

Both go over the same shards in order, on one thread, and hand out a JPEG's bytes with its record:
webdataset as the dictionary that `json.loads` makes, ours as a checked `Record`. Opening takes the
sha256 of every shard; each read after it is compared with what was hashed then. A run that starts
again, and each further rank, finds those hashes kept.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from opendet.bench.alternation import ROUNDS, Spent, alternate, cost, per, spent_of, times
from opendet.bench.harness import Place, Row, at_least, code_of
from opendet.bench.packed_shards import publish
from opendet.files import sha256_of
from opendet.shard_notes import NoteStore
from opendet.shard_set import ShardSet

SHARDS, A_SHARD, SIZE_WH = 4, 500, (640, 480)
FASTER = 1.5
EPOCHS = 12
"""Passes of a usual training, one opening before them."""


def measure(place: Place) -> Iterator[Row]:
    """Samples a CPU second, against webdataset's."""
    settings = {"shards": SHARDS, "each": A_SHARD, "rounds": ROUNDS}
    work = partial(costs, place.folder, shards=SHARDS, each=A_SHARD)
    code = code_of("opendet.bench.reading")
    told: dict[str, Any] | None = place.unit(settings, code, work, what="reading shards")
    if told is not None:
        yield from rows_of(told)


def costs(folder: Path, *, shards: int, each: int, rounds: int = ROUNDS) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as temporary:
        made = Path(temporary) / "made"
        publish(made, shards, each, SIZE_WH)
        tars = [str(path) for path in sorted(made.glob("*.tar"))]
        kept = NoteStore(Path(temporary) / "verified")
        opened = ShardSet.open(made, kept=kept)
        spent = alternate(
            {
                "opening": lambda: ShardSet.open(made),
                "opening again": lambda: ShardSet.open(made, kept=kept),
                "ours": lambda: use(opened.sample(index) for index in range(len(opened))),
                "webdataset": lambda: use(plain(tars)),
                "webdataset compared": lambda: use(compared(tars)),
                "sha256": lambda: use(sha256_of(Path(tar)) for tar in tars),
            },
            rounds=rounds,
        )
        weight = sum(Path(tar).stat().st_size for tar in tars)
    return {"samples": shards * each, "bytes": weight, "spent": spent}


def rows_of(told: Mapping[str, Any]) -> Iterator[Row]:
    spent, count = spent_of(told["spent"]), int(told["samples"])
    ours, opening, theirs = spent["ours"], spent["opening"], spent["webdataset"]
    size = f"{told['bytes'] / count / 1000:.0f} KB a sample"
    yield _against("a pass of an opened set", theirs, ours, count, size)
    yield at_least(
        "times webdataset's samples a CPU second, opening and one pass",
        times(theirs, opening, ours),
        FASTER,
        f"the sha256 of the bytes alone takes {per(spent['sha256'], count):.0f} us of it",
    )
    again = spent["opening again"]
    yield at_least(
        "the same, a set that this run has opened before",
        times(theirs, again, ours),
        FASTER,
        f"opening it again takes {per(again, count):.1f} us of it",
    )
    share = Spent(tuple(cpu / EPOCHS for cpu in opening.cpu), opening.wall, opening.megabytes)
    yield at_least(
        f"the same, opening and {EPOCHS} passes", times(theirs, share, ours), FASTER, "a training"
    )
    yield Row(
        "the same, one pass, webdataset with each image's sha256 compared",
        times(spent["webdataset compared"], opening, ours),
        detail="what a user would write around it",
    )
    rate = told["bytes"] / 1e6 / min(opening.wall)
    yield Row("opening, us a sample", per(opening, count), detail=f"{rate:.0f} MB/s by wall time")
    for name, what in (("ours", "our"), ("webdataset", "webdataset's")):
        yield Row(f"{what} reader's memory, MB", spent[name].megabytes, detail="grown by a pass")


def _against(what: str, theirs: Spent, ours: Spent, count: int, size: str) -> Row:
    told = f"{cost(ours, count)} against {cost(theirs, count)}; {size}"
    metric = f"times webdataset's samples a CPU second, {what}"
    return at_least(metric, times(theirs, ours), FASTER, told)


def plain(tars: list[str]) -> Iterator[dict[str, Any]]:
    """Raw webdataset: no image decoder, the record by `json.loads`."""
    import webdataset

    shards = webdataset.WebDataset(tars, shardshuffle=False)
    yield from shards.map_dict(json=json.loads)


def compared(tars: list[str]) -> Iterator[dict[str, Any]]:
    """The same, and each image's sha256 against its record's, as a user would write it."""
    for sample in plain(tars):
        if hashlib.sha256(sample["jpg"]).hexdigest() != sample["json"]["sha256"]:
            raise ValueError(sample["__key__"])
        yield sample


def use(samples: Iterable[object]) -> None:
    deque(samples, maxlen=0)
