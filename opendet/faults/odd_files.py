"""Odd images and tar files of other projects, where they lie beside the checkout.

The images come with what Pillow makes of each, and from that follows what the policy must say.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from opendet.faults.refusals import refused, wrong_of
from opendet.faults.rows import Tally
from opendet.inspect.collection import Trouble, open_collection
from opendet.shard_reader import read_shard
from opendet.sources.images import MAX_PIXELS, format_of

VARIABLE = "OPENDET_SHARED_DATA"
NOWHERE = f"no odd files of other projects here: set {VARIABLE}"
MIN_SIDE = 16
"""Pixels, as the stage has it."""
LONGEST = 5.0
"""Seconds that a file may take."""
_BROKEN = frozenset({"broken header", "broken image", "truncated image", "animated image"})


def shared_data() -> Path | None:
    """The folder of other projects' data; None on a machine without it."""
    folder = Path(os.environ.get(VARIABLE, Path("..") / "shared" / "data")).absolute()
    there = (folder / "odd_images" / "expected.json").is_file() and (folder / "tars").is_dir()
    return folder if there else None


def odd_images(folder: Path) -> dict[Path, Mapping[str, Any]]:
    """Each odd image, and what Pillow makes of it; the photographs of each EXIF orientation are all
    to look like the one that needs no turning."""
    expected = json.loads((folder / "expected.json").read_text())["files"]
    found: dict[Path, Mapping[str, Any]] = {folder / name: of for name, of in expected.items()}
    for path in sorted((folder / "exif_orientation").glob("*_*.jpg")):
        with Image.open(path.with_name(f"{path.stem.partition('_')[0]}_1.jpg")) as upright:
            found[path] = {"status": "ok", "frames": 1, "size": upright.size, "upright": True}
    return found


def policy(content: bytes, says: Mapping[str, Any], seen: Collection[str]) -> Collection[str]:
    """The fates that an image may have: reasons, or its size where it must be kept.

    `seen` has the hashes of the images that were kept before it.
    """
    if not content:
        return ["empty file"]
    kind = format_of(content)
    if not kind:
        return ["format not allowed"]
    if says["status"] != "ok":
        return ["truncated image"] if "truncated" in says["status"] else _BROKEN
    width, height = says["size"]
    if width * height > MAX_PIXELS:
        return ["too many pixels"]
    if says["frames"] > 1 and kind != "jpg":
        return ["animated image"]
    if min(width, height) < MIN_SIDE:
        return ["image too small"]
    if hashlib.sha256(content).hexdigest() in seen:
        return ["exact duplicate"]
    upright = [f"kept as {width}x{height}"]
    return upright if says.get("upright") else [*upright, f"kept as {height}x{width}"]


def judge_images(
    tally: Tally, folder: Path, fates_of: Callable[[Mapping[str, bytes]], Mapping[str, str]]
) -> int:
    """A try for each file, whose fate must be the policy's; how many files there are.

    `fates_of` runs the stage on contents by name.
    """
    expected = odd_images(folder)
    contents = {path: path.read_bytes() for path in expected}
    names = {path: f"{number:04d}" for number, path in enumerate(expected)}
    fates = fates_of({names[path]: content for path, content in contents.items()})
    seen: set[str] = set()
    for path, says in expected.items():
        fate, wanted = fates[names[path]], policy(contents[path], says, seen)
        if fate.startswith("kept"):
            seen.add(hashlib.sha256(contents[path]).hexdigest())
        tally.add("" if fate in wanted else f"{path.name}: {fate}, not {' or '.join(wanted)}")
    return len(expected)


def judge_tars(tally: Tally, folder: Path) -> int:
    """A try for each file, none of which is a shard of ours; how many there are."""
    paths = sorted(folder.iterdir())
    for path in paths:
        begin = time.monotonic()
        problem = refused_as_shard(path) or looked_at(path)
        late = time.monotonic() - begin > LONGEST
        problem = problem or (f"took over {LONGEST:g} s" if late else "")
        tally.add(f"{path.name}: {problem}" if problem else "")
    return len(paths)


def refused_as_shard(path: Path) -> str:
    """What is wrong with how training's reader takes a file that is no shard of ours."""
    return refused(lambda: list(read_shard(path)), path)


def looked_at(path: Path) -> str:
    """What is wrong with how the inspector takes it: it says what is not whole, and goes on."""
    try:
        collection = open_collection(path)
        found = [one for piece in collection.pieces for one in collection.samples(piece)]
    except ValueError as error:
        return wrong_of(error, path)
    except Exception as error:
        return f"the inspector: {type(error).__name__}: {error}"[:200]
    troubled = any(isinstance(one, Trouble) for one in found)
    return "" if troubled or not found else "the inspector found nothing wrong"
