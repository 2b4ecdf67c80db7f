"""Small collections for the pages: shards with hostile texts, masks, refusals and lost samples."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from opendet.curate.shards import write_index, write_part
from opendet.manifest import (
    DroppedEntry,
    FileStamp,
    Manifest,
    PartCommit,
    QuarantinedEntry,
    ShardName,
    commit_text,
    write_manifest,
)
from opendet.record import Mask, Phrase, Provenance, Region
from opendet.sample import Sample
from tests.shard_world import painted

MARKUP = "<script>window.planted = 1</script><img src=x onerror='window.planted = 2'>"
MARKUP_KEY = "a-0001"
"""The sample whose texts are markup."""
SOURCE = Provenance("source", score=0.5)
DETECTOR = Provenance("finder", "2", "find all", 0.875)


def mask_of(box_xyxy: tuple[int, int, int, int], size: tuple[int, int]) -> Mask:
    """The box without its left upper pixel, of an image of (width, height)."""
    from faster_coco_eval.core.mask import encode

    inside = np.zeros((size[1], size[0]), np.uint8, order="F")
    x0, y0, x1, y1 = box_xyxy
    inside[y0:y1, x0:x1] = 1
    inside[y0, x0] = 0
    counts = encode(inside)["counts"]
    return Mask(counts.decode() if isinstance(counts, bytes) else counts, SOURCE)


def region(
    box_xyxy: tuple[int, int, int, int], name: str, *, score: float = 0.5, **more: Any
) -> Region:
    return Region(
        tuple(map(float, box_xyxy)),  # type: ignore[arg-type]
        Provenance("finder", score=score),
        names=(name,),
        names_from=DETECTOR,
        agreement=score / 2,
        rival="rival",
        rival_agreement=0.125,
        **more,
    )


def sample(key: str, caption: str = "", regions: Sequence[Region] = (), **more: Any) -> Sample:
    """A painted picture of 64 x 48 with a caption, whose first word speaks of the first region."""
    made = painted(key, regions=regions, image_format="jpg", seed=len(key), split="train")
    phrases = ()
    if regions and caption:
        phrases = (Phrase(0, len(caption.split()[0]), (0,), SOURCE),)
    record = replace(made.record, caption=caption, phrases=phrases, **more)
    return Sample(record, content=made.content)


def world(count: int = 12) -> list[Sample]:
    """Samples a-0000 ...: cats, every second with a dog, every third with a refused crowd; scores
    rise with the numbers. The first has a mask and two phrases, the second hostile texts."""
    made = []
    for number in range(count):
        score = number / max(count - 1, 1)
        regions = [region((4, 4, 30, 28), "cat", score=score, description="a cat that sits")]
        if number % 2 == 0:
            regions.append(region((32, 10, 60, 44), "dog", score=score))
        if number % 3 == 0:
            crowd = replace(region((2, 30, 20, 46), "birds"), crowd=True, refusal="disagrees")
            regions.append(crowd)
        split = "val" if number == count - 1 else "train"
        caption = f"cat number {number} beside dog"
        made.append(sample(f"a-{number:04d}", caption, regions, split=split))
    made[0] = _phrased(made[0])
    if count > 1:
        made[1] = sample(
            MARKUP_KEY,
            f"hostile {MARKUP} \x1b[31m \u202e reversed \u2028 line",
            [region((4, 4, 30, 28), f"{MARKUP}name", score=0.25)],
            source=MARKUP[:100],
        )
    return made


def _phrased(one: Sample) -> Sample:
    """Its caption names cat and dog; the cat has a mask."""
    regions = list(one.record.regions)
    regions[0] = replace(regions[0], mask=mask_of((4, 4, 30, 28), (64, 48)))
    caption = "😀 a cat beside a dog and nothing"
    phrases = (
        Phrase(2, 7, (0,), SOURCE),
        Phrase(caption.index("a dog"), caption.index("a dog") + 5, (1,), SOURCE),
        Phrase(caption.index("nothing"), len(caption), (), SOURCE),
    )
    record = replace(one.record, caption=caption, phrases=phrases, regions=tuple(regions))
    return Sample(record, content=one.content)


def publish(
    folder: Path,
    parts: Mapping[str, Sequence[Sample]],
    *,
    dropped: Mapping[str, str] | None = None,
    quarantined: Mapping[str, str] | None = None,
) -> Path:
    """A stage's folder of shards; the first part lost `dropped` and `quarantined` (key -> why)."""
    folder.mkdir(parents=True)
    lost = tuple(DroppedEntry(key, why, "told") for key, why in (dropped or {}).items())
    failed = tuple(
        QuarantinedEntry(key, "shards", why, 0) for key, why in (quarantined or {}).items()
    )
    commits = []
    for name, members in parts.items():
        write_part(folder, name, members)
        files = {n: FileStamp.of(folder / n) for n in (f"{name}.idx", f"{name}.tar")}
        split = members[0].record.split if members else "train"
        shard = ShardName(name, name.rpartition("-")[0], split)
        gone = len(lost) + len(failed)
        commit = PartCommit(shard, len(members) + gone, len(members), lost, failed, {}, files)
        (folder / f"{name}.json").write_text(commit_text(commit))
        commits.append(commit)
        lost, failed = (), ()
    manifest = Manifest("shards", "toy", tuple(commits))
    write_index(folder, "toy", manifest)
    write_manifest(folder, manifest)
    return folder


def parted(made: Sequence[Sample], each: int) -> dict[str, Sequence[Sample]]:
    """Shards of so many samples; the last sample, which is of another split, has its own."""
    parts = [made[start : start + each] for start in range(0, len(made) - 1, each)]
    parts = [part[:-1] if part[-1] is made[-1] else part for part in parts] + [made[-1:]]
    return {f"a-{number:06d}": part for number, part in enumerate(parts)}


def shards(folder: Path, count: int = 12, *, each: int = 5) -> Path:
    """The world in shards, with a sample that was dropped and one in quarantine."""
    return publish(
        folder,
        parted(world(count), each),
        dropped={"a-gone": "exact duplicate"},
        quarantined={"a-failed": "no answer"},
    )
