"""Bad samples of every class through the real stage `source`, and bad files from elsewhere."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from opendet.curate.source import SourceConfig
from opendet.faults.odd_files import NOWHERE, judge_images, judge_tars, shared_data
from opendet.faults.poisons import BAD, Poison, poisons
from opendet.faults.rows import Effort, Shown, Tally
from opendet.flow import run
from opendet.intake import check_stage, plan
from opendet.manifest import Manifest
from opendet.record import Record
from opendet.schema import read_records
from opendet.sources.card import SourceCard
from opendet.sources.images import decode_upright
from opendet.work import WorkFolder

BATCH = "b"
NEAR = 6
"""By which a colour may differ: JPEG does not keep it to the bit."""


@dataclass(frozen=True, slots=True)
class Sourced:
    """What the stage made of a folder."""

    manifest: Manifest
    records: Mapping[str, Record]
    """Key -> record."""

    @property
    def dropped(self) -> Mapping[str, str]:
        """Key -> reason."""
        return {one.key: one.reason for part in self.manifest.parts for one in part.dropped}

    @property
    def unaccounted(self) -> int:
        """Images that came in and are neither kept, dropped nor quarantined."""
        parts = self.manifest.parts
        gone = sum(len(part.dropped) + len(part.quarantined) for part in parts)
        return sum(part.samples_in for part in parts) - len(self.records) - gone


def poisoned_sources(effort: Effort) -> Shown:
    """Each class beside a good picture; then every odd file that lies beside the checkout."""
    tally, unaccounted, classes = Tally(), 0, poisons()
    for number in effort.tries(len(classes), least=len(classes)):
        folder = effort.folder / str(number)
        problem, missing = wrong_of(classes[number], folder)
        unaccounted += missing
        tally.add(f"{classes[number].name}: {problem}" if problem else "")
        shutil.rmtree(folder)
    told = f"{len(classes)} classes, {unaccounted} samples unaccounted for"
    shared = shared_data()
    if shared is None:
        return tally.shown(f"{told}; {NOWHERE}")
    images = judge_images(tally, shared / "odd_images", partial(fates_of, effort.folder))
    tars = judge_tars(tally, shared / "tars")
    return tally.shown(f"{told}; {images} odd images and {tars} odd tar files as the policy says")


def wrong_of(poison: Poison, folder: Path) -> tuple[str, int]:
    """What was not as it must be, empty where all was; and how many samples nobody speaks of."""
    poison.write(folder / "pictures")
    wanted = poison.wanted
    try:
        made = sourced(folder, poison.batch or _COCO)
    except ValueError as error:
        told = str(error)
        right = wanted.refusal and wanted.refusal in told and "\n" not in told
        return ("" if right else f"refused: {told[:200]}"), 0
    except Exception as error:  # a crash is what this looks for
        return f"{type(error).__name__}: {error}"[:200], 0
    reasons, counted = dict(Counter(made.dropped.values())), made.manifest.tally()
    problem = "" if made.unaccounted == 0 else f"{made.unaccounted} samples unaccounted for"
    if wanted.refusal:
        problem = "it was not refused"
    elif reasons != wanted.dropped or counted != wanted.counted:
        problem = f"dropped {reasons}, counted {counted}"
    elif len(made.records) != 2 - sum(wanted.dropped.values()):
        problem = f"kept {sorted(made.records)}"
    elif not wanted.dropped:
        problem = problem or _wrong_of_kept(poison, folder / "pictures", made.records)
    return problem, made.unaccounted


def fates_of(folder: Path, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Name -> why the file was dropped, or the size with which it was kept."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for name, content in contents.items():
        (pictures / name).write_bytes(content)
    made = sourced(folder, {"format": "folder"})
    kept = {key: f"kept as {one.width}x{one.height}" for key, one in made.records.items()}
    fates = {**made.dropped, **kept}
    return {name: fates.get(f"{BATCH}-{name}", "lost") for name in contents}


def sourced(folder: Path, batch: Mapping[str, Any]) -> Sourced:
    """Run the stage on a batch whose images lie in `folder/pictures`.

    Raises ValueError for what is wrong with the batch as a whole.
    """
    told = {"name": BATCH, "split": "train", "root": "pictures", **batch}
    card = SourceCard.model_validate({"name": "toys", "licence": "CC0-1.0", "batches": [told]})
    config = SourceConfig()
    checks, work = WorkFolder(folder / "checks"), WorkFolder(folder / "work")
    stage, tasks = check_stage(card, config, root=folder, checks=checks, fingerprint="toy")
    checked = run(stage, tasks, checks, actors=0)
    manifest = plan(card, config, checked, checks, work).manifest
    return Sourced(manifest, {record.key: record for record in records_of(manifest, work)})


_COCO = {"format": "coco", "annotations": "instances.json", "captions": "captions.json"}


def records_of(manifest: Manifest, work: WorkFolder) -> list[Record]:
    """What really lies in the parts, whatever their commit records say."""
    found: list[Record] = []
    for part in manifest.parts:
        name = part.shard.name
        found += read_records(work.part_folder(name, part.files) / f"{name}.parquet")
    return found


def _wrong_of_kept(poison: Poison, pictures: Path, records: Mapping[str, Record]) -> str:
    """What is wrong with the record and the pixels of the bad sample, which is usable."""
    record, wanted = records[f"{BATCH}-{BAD}"], poison.wanted
    if (record.width, record.height) != wanted.size:
        return f"it is {record.width}x{record.height}"
    boxes_xyxy = [region.box_xyxy for region in record.regions]
    if boxes_xyxy != ([] if wanted.box_xyxy is None else [wanted.box_xyxy]):
        return f"its boxes are {boxes_xyxy}"
    if wanted.colour is None:
        return ""
    image = decode_upright((pictures / record.file).read_bytes())
    pixel = cast(Sequence[int], image.getpixel((image.width // 2, image.height // 2)))
    near = all(abs(one - other) <= NEAR for one, other in zip(pixel, wanted.colour, strict=True))
    return "" if near else f"its colour is {pixel}"
