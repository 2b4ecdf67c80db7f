"""The stub build's functions in plain Ray Data: what one would write without Open-Det.

`python -m opendet.bench.plain_ray PICTURES` writes the shards to the folder `out`, and how long it
took to `told.json`. Nothing is committed: a run that is killed begins again, beside what it left.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from PIL.Image import Image

from opendet.bench.stub_models import captioned, described, with_regions
from opendet.curate.filter import FilterConfig, filter_record
from opendet.curate.source_record import record_of
from opendet.files import write_json_durably
from opendet.ray_session import ray_session
from opendet.record import Record
from opendet.sample import Dropped
from opendet.schema import record_to_json
from opendet.sources.card import Batch
from opendet.sources.folder import files_below
from opendet.sources.images import decode_upright, inspect_image
from opendet.sources.listing import entry_of

Rows = dict[str, Any]
"""Columns of a batch."""
BATCH = Batch(name="a", split="train", format="folder", root="pictures", licence="CC0-1.0")
BATCH_SIZE = 16
TOLD = "told.json"
FILTER = FilterConfig(min_margin=None)


def command(pictures: Path, *, shard_samples: int, handing_on: bool) -> list[str]:
    """The command line of a build of a folder of pictures, in a folder of its own."""
    options = [f"--shard-samples={shard_samples}", *(["--handing-on"] if handing_on else [])]
    return [sys.executable, "-m", "opendet.bench.plain_ray", str(pictures.absolute()), *options]


def build(pictures: Path, out: Path, *, shard_samples: int, handing_on: bool) -> None:
    """List, check, annotate, filter and pack the pictures.

    With `handing_on` an image is decoded once after its check and its pixels are handed on from
    step to step. Else each step that looks decodes its bytes, as one does that has no step before.
    """
    import ray

    names = sorted(files_below(pictures))
    rows = [{"file": name} for name in names]
    data: Any = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // shard_samples))
    data = data.map_batches(partial(_check, pictures, handing_on), batch_size=BATCH_SIZE)
    for say in (captioned, with_regions, described):
        data = data.map_batches(partial(_say, say), batch_size=BATCH_SIZE)
    data = data.map_batches(_filter, batch_size=BATCH_SIZE)
    data = data.map_batches(_members, batch_size=BATCH_SIZE)
    data.write_webdataset(str(out), encoder=None)


def _check(pictures: Path, handing_on: bool, rows: Rows) -> Rows:
    contents = [(pictures / name).read_bytes() for name in rows["file"]]
    records = [_record(name, content) for name, content in zip(rows["file"], contents, strict=True)]
    checked = {"record": _objects(records), "content": _objects(contents)}
    if handing_on:
        checked["pixels"] = np.stack([np.asarray(decode_upright(one)) for one in contents])
    return checked


def _say(say: Callable[[Record, Image], Record], rows: Rows) -> Rows:
    pixels = (
        [PIL.Image.fromarray(one) for one in rows["pixels"]]
        if "pixels" in rows
        else [decode_upright(one) for one in rows["content"]]
    )
    said = [say(record, one) for record, one in zip(rows["record"], pixels, strict=True)]
    return {**rows, "record": _objects(said)}


def _filter(rows: Rows) -> Rows:
    judged = [filter_record(record, FILTER) for record in rows["record"]]
    kept = [place for place, one in enumerate(judged) if not isinstance(one, Dropped)]
    return {
        "record": _objects([judged[place] for place in kept]),
        "content": rows["content"][kept],
    }


def _members(rows: Rows) -> Rows:
    """A sample's members, as a shard of ours has them."""
    return {
        "__key__": [record.key for record in rows["record"]],
        "jpg": rows["content"],
        "json": _objects([record_to_json(record).encode() for record in rows["record"]]),
    }


def _record(name: str, content: bytes) -> Record:
    facts = inspect_image(content)
    return record_of(entry_of(BATCH.name, "", name), facts, Counter(), source="stubs", batch=BATCH)


def _objects(items: Sequence[Any]) -> "np.ndarray[Any, Any]":
    """A column of Python's own objects."""
    column = np.empty(len(items), dtype=object)
    column[:] = items
    return column


def _quiet() -> None:
    """Import Ray Data, which takes seconds, and let it draw no bars."""
    import ray

    library: Any = ray.data
    library.configure_logging()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    library.DataContext.get_current().enable_progress_bars = False


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--shard-samples", type=int, default=500)
    parser.add_argument("--handing-on", action="store_true")
    parser.add_argument("--actors", type=int, default=2, help="CPUs of its Ray")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    with ray_session(asked.actors):
        _quiet()
        began = time.monotonic()
        build(
            asked.pictures,
            Path("out"),
            shard_samples=asked.shard_samples,
            handing_on=asked.handing_on,
        )
        ended = time.monotonic()
    write_json_durably(Path(TOLD), {"started": started, "began": began, "ended": ended})


if __name__ == "__main__":
    main()
