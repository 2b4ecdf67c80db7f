"""Samples at random places beside Hugging Face `datasets`, memory-mapped Arrow on the same disk.

The peer's rows hold the same bytes, `Image(decode=False)`, and the same record: once as JSON text,
parsed by `json.loads`, once as columns of its own, as its detection sets have them. It verifies
nothing; ours compares every read with what opening hashed, and hands out a checked `Record`.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from opendet.bench.alternation import ROUNDS, alternate, cost, spent_of, times
from opendet.bench.harness import Place, Row, at_least, code_of
from opendet.bench.packed_shards import publish
from opendet.bench.reading import use
from opendet.schema import record_to_json
from opendet.shard_set import ShardSet

SHARDS, A_SHARD, SIZE_WH = 4, 250, (640, 480)
FASTER = 2.0


def measure(place: Place) -> Iterator[Row]:
    """CPU time of a sample at a random place, against Hugging Face datasets."""
    settings = {"shards": SHARDS, "each": A_SHARD, "rounds": ROUNDS}
    work = partial(costs, place.folder, shards=SHARDS, each=A_SHARD)
    code = code_of("opendet.bench.random_access")
    told: dict[str, Any] | None = place.unit(settings, code, work, what="random access")
    if told is not None:
        yield from rows_of(told)


def costs(folder: Path, *, shards: int, each: int, rounds: int = ROUNDS) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as temporary:
        made = Path(temporary) / "made"
        publish(made, shards, each, SIZE_WH)
        opened = ShardSet.open(made)
        texts, columns = (_arrow(opened, Path(temporary), as_text=text) for text in (True, False))
        order = np.random.default_rng(0).permutation(len(opened)).tolist()
        spent = alternate(
            {
                "ours": lambda: use(opened.sample(place) for place in order),
                "text": lambda: use(json.loads(texts[place]["record"]) for place in order),
                "columns": lambda: use(columns[place] for place in order),
            },
            rounds=rounds,
        )
    return {"samples": len(order), "spent": spent}


def rows_of(told: Mapping[str, Any]) -> Iterator[Row]:
    spent, count = spent_of(told["spent"]), int(told["samples"])
    ours = spent["ours"]
    for name, what in (("columns", "records as columns"), ("text", "records as JSON text")):
        said = f"{cost(ours, count)} against {cost(spent[name], count)}"
        metric = f"times datasets' samples a CPU second, {what}"
        yield at_least(metric, times(spent[name], ours), FASTER, said)
    for name, what in (("ours", "our"), ("text", "datasets'")):
        yield Row(f"{what} memory, MB", spent[name].megabytes, detail="grown, mapped pages too")


def _arrow(opened: ShardSet, folder: Path, *, as_text: bool) -> Any:
    """The same samples as a data set on disk, memory-mapped."""
    datasets: Any = import_module("datasets")  # beside it lies our own folder of that name

    def rows() -> Iterator[dict[str, Any]]:
        for index in range(len(opened)):
            sample = opened.sample(index)
            text = record_to_json(sample.record)
            image = {"bytes": sample.content, "path": None}
            yield {"image": image, "record": text if as_text else json.loads(text)}

    path = folder / ("text" if as_text else "columns")
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        # of whatever the first row tells, for the record has thirty columns in three levels
        made = datasets.Dataset.from_generator(rows, cache_dir=str(folder / f"cache-{path.name}"))
        made.cast_column("image", datasets.Image(decode=False)).save_to_disk(path)
    finally:
        if not shown:
            datasets.enable_progress_bars()
    return datasets.load_from_disk(path, keep_in_memory=False)
