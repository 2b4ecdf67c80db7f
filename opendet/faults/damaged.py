"""Shards that were damaged after they were written, beside what raw webdataset notices."""

import random
import shutil
import tarfile
from collections import Counter
from pathlib import Path

from opendet.faults.refusals import wrong_of
from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.toy_shards import write_toy_shards
from opendet.shard_check import verify_shards
from opendet.shard_set import ShardSet

INDEX = "index"
KINDS = ("flip", "cut", "cut at a member", "swap", "missing", INDEX)


def damaged_shards(effort: Effort) -> Shown:
    """Damage a folder of shards in one way, verify it, and read it as the trainer does."""
    whole = effort.folder / "whole"
    names = write_toy_shards(whole, shards=3, each=4)
    assert not verify_shards(whole)
    assert not reader_notices(whole)
    tally, found = Tally(), Counter[str]()
    for number in effort.tries(1000, least=len(KINDS)):
        broken, kind = effort.folder / "broken", KINDS[number % len(KINDS)]
        shutil.copytree(whole, broken)
        damage(broken, kind, random.Random(number))
        verified, read = bool(verify_shards(broken)), reader_notices(broken)
        found["verify"] += verified
        found["reader"] += read
        if kind != INDEX:  # which it does not read
            found["peer"] += webdataset_notices(broken, names)
            found["tars"] += 1
        tally.add("" if verified and read else f"try {number}, {kind}: not noticed")
        shutil.rmtree(broken)
    return tally.shown(
        f"verify found {found['verify']}, the trainer's reader {found['reader']}",
        f"webdataset's reader {found['peer']} of {found['tars']} damaged tar files",
    )


def damage(folder: Path, kind: str, rng: random.Random) -> None:
    """Damage a folder of shards in one way; each changes something."""
    tars = sorted(folder.glob("*.tar"))
    tar = rng.choice(tars)
    content = tar.read_bytes()
    match kind:
        case "flip":
            tar.write_bytes(_flipped(content, rng))
        case "cut":
            tar.write_bytes(_cut(content, rng))
        case "cut at a member":
            with tarfile.open(tar) as opened:
                starts = [member.offset for member in opened]
            tar.write_bytes(content[: rng.choice(starts)])
        case "swap":
            other = rng.choice([path for path in tars if path != tar])
            tar.write_bytes(other.read_bytes())
            other.write_bytes(content)
        case "missing":
            tar.unlink()
        case "index":
            index = tar.with_suffix(".idx")
            index.write_bytes(rng.choice((_flipped, _cut))(index.read_bytes(), rng))


def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def reader_notices(folder: Path) -> bool:
    """Whether the reader of the trainer says so, in a line that a person can read."""
    try:
        shards = ShardSet.open(folder)
        for index in range(len(shards)):
            shards.sample(index)
    except ValueError as error:
        return not wrong_of(error, folder)
    return False


def webdataset_notices(folder: Path, names: list[str]) -> bool:
    """Whether webdataset's reader raises, whatever it is."""
    import webdataset

    try:
        for _ in webdataset.WebDataset([str(folder / n) for n in names], shardshuffle=False):
            pass
    except Exception:  # anything counts as noticed
        return True
    return False
