"""`python -m opendet.faults.peer_writers KIND INPUT OUT`: the same samples, written by others.

As their own documentation shows it: webdataset's ShardWriter in a loop, and a Ray Data pipeline
that ends in `write_webdataset`, with and without Ray Data's checkpoint.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from opendet.console import exit_code_of

SHARDS, EACH = 6, 16
"""As many as the toy build has."""
SECONDS = 0.03
"""That the work on four samples takes, as in the toy build."""
KINDS = ("ShardWriter", "Ray Data", "Ray Data with its checkpoint")


def write_input(folder: Path) -> None:
    """A Parquet file for each shard, as a stage before would leave them."""
    folder.mkdir(parents=True)
    for shard in range(SHARDS):
        keys = [f"k{shard * EACH + place:04d}" for place in range(EACH)]
        table = pa.table({"id": keys, "__key__": keys, "txt": [f"what {key} is" for key in keys]})
        pq.write_table(table, folder / f"{shard:06d}.parquet")


def wanted_keys() -> set[str]:
    return {f"k{number:04d}" for number in range(SHARDS * EACH)}


def write(kind: str, source: Path, out: Path) -> None:
    """Raises ValueError for a kind that is none."""
    if kind not in KINDS:
        raise ValueError(f"no writer is called {kind!r}: there are {', '.join(KINDS)}")
    out.mkdir(parents=True, exist_ok=True)
    if kind == "ShardWriter":
        _by_shard_writer(source, out)
    else:
        _by_ray_data(source, out, checkpoint=kind.endswith("checkpoint"))


def _by_shard_writer(source: Path, out: Path) -> None:
    import webdataset

    with webdataset.ShardWriter(str(out / "%06d.tar"), maxcount=EACH, verbose=0) as sink:
        for path in sorted(source.glob("*.parquet")):
            for number, row in enumerate(pq.read_table(path).to_pylist()):
                time.sleep(0 if number % 4 else SECONDS)
                sink.write({"__key__": row["__key__"], "txt": row["txt"]})


def _by_ray_data(source: Path, out: Path, *, checkpoint: bool) -> None:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    if checkpoint:
        from ray.data.checkpoint import CheckpointConfig

        place = str(out.absolute().parent / "checkpoint")
        context.checkpoint_config = CheckpointConfig("id", place)
    # so few bytes would all go into one block, and into one file
    rows = ray.data.read_parquet(str(source)).repartition(target_num_rows_per_block=EACH)
    slowly: Any = _captioned  # its type is narrower than what Ray says it takes
    captioned = rows.map_batches(slowly, batch_size=4)
    captioned.write_webdataset(str(out), encoder=_without_id)


def _captioned(batch: dict[str, Any]) -> dict[str, Any]:
    time.sleep(SECONDS)
    return batch


def _without_id(row: dict[str, Any]) -> dict[str, Any]:
    """What a shard holds of a row; a file by the name of its number would be no text."""
    return {"__key__": row["__key__"], "txt": row["txt"].encode()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args(arguments)
    write(asked.kind, asked.source, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
