"""The stage source as a whole: what is listed is checked, judged in order, and planned."""

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from opendet import intake
from opendet.curate.source import SourceConfig
from opendet.flow import Ran, run
from opendet.intake import check_stage, link_drawn_images, plan
from opendet.manifest import (
    DroppedEntry,
    Manifest,
    PartCommit,
    QuarantinedEntry,
    ShardName,
)
from opendet.record import Record, Turn
from opendet.schema import read_records
from opendet.sources import batches
from opendet.sources.card import SourceCard
from opendet.sources.containers import ImageContainer
from opendet.sources.listing_file import read_listing
from opendet.stage import Task
from opendet.work import WorkFolder


def noise(seed: int) -> bytes:
    file = io.BytesIO()
    Image.frombytes("L", (24, 16), bytes((seed * 37 + n * n) % 251 for n in range(384))).save(
        file, "PNG"
    )
    return file.getvalue()


def card_of(*names: str, **fields: Any) -> SourceCard:
    listed = [
        {"name": name, "split": "val" if name == "c" else "train", **fields} for name in names
    ]
    if not fields:
        listed = [batch | {"images": str(batch["name"])} for batch in listed]
    return SourceCard.model_validate(
        {"name": "x", "licence": "MIT", "format": "folder", "root": ".", "batches": listed}
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Batch b: five images, of which one is broken; batch c: a twin of one of them, and another."""
    monkeypatch.setattr(batches, "CHUNK", 2)
    for number, name in enumerate(
        ["b/1.png", "b/2.png", "b/3.png", "b/4.png", "b/5.png", "c/7.png"]
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(noise(number))
    (tmp_path / "c" / "6.png").write_bytes(noise(1))
    (tmp_path / "b" / "4.png").write_bytes(b"")
    return tmp_path


CONFIG = SourceConfig(shard_samples=3, near_duplicates="keep")
Change = Callable[[Ran, WorkFolder], Ran]


def planned(card: SourceCard, root: Path, change: Change = lambda ran, _: ran) -> tuple[Ran, Ran]:
    """What the check did, and what the plan made of it."""
    checks, work = WorkFolder(root / "checks"), WorkFolder(root / "work")
    stage, tasks = check_stage(card, CONFIG, root=root, checks=checks, fingerprint="f1")
    checked = change(run(stage, tasks, checks, actors=0), checks)
    return checked, plan(card, CONFIG, checked, checks, work)


def records_of(root: Path, part: PartCommit) -> list[Record]:
    folder = WorkFolder(root / "work").part_folder(part.shard.name, part.files)
    return read_records(folder / f"{part.shard.name}.parquet")


def test_a_listing_is_cut_into_tasks_and_lies_where_workers_read_it(root: Path) -> None:
    checks = WorkFolder(root / "checks" / "deep")
    stage, tasks = check_stage(
        card_of("b", "c"), CONFIG, root=root, checks=checks, fingerprint="f1"
    )
    assert (stage.name, stage.fingerprint) == ("source", "f1")
    assert [task.shard for task in tasks] == [
        ShardName("b-000000", "b", "train"),
        ShardName("b-000001", "b", "train"),
        ShardName("b-000002", "b", "train"),
        ShardName("c-000000", "c", "val"),
    ]
    assert [set(task.inputs) for task in tasks] == [{"listing"}] * 4
    assert len({task.inputs["listing"] for task in tasks}) == 4
    listed = [[entry.key for entry in stage.read(task)] for task in tasks]
    assert listed == [["b-1", "b-2"], ["b-3", "b-4"], ["b-5"], ["c-6", "c-7"]]
    files = [checks.root / "listings" / f"{task.shard.name}.json" for task in tasks]
    assert [[entry.key for entry in read_listing(path)] for path in files] == listed
    assert [path.name for path in checks.root.iterdir()] == ["listings"]


def test_a_new_listing_takes_the_place_of_the_old_one_in_one_step(root: Path) -> None:
    def listed() -> tuple[list[Task], set[str]]:
        checks = WorkFolder(root / "checks")
        _, tasks = check_stage(card_of("b"), CONFIG, root=root, checks=checks, fingerprint="f1")
        assert [path.name for path in checks.root.iterdir()] == ["listings"]
        return tasks, {path.name for path in (checks.root / "listings").iterdir()}

    before, files = listed()
    assert files == {"b-000000.json", "b-000001.json", "b-000002.json"}
    assert listed() == (before, files)
    (root / "b" / "5.png").unlink()
    after, files = listed()
    assert files == {"b-000000.json", "b-000001.json"}
    assert after == before[:2]


def test_every_image_is_planned_or_has_a_reason(root: Path) -> None:
    checked, ran = planned(card_of("b", "c"), root)
    assert (ran.parts_made, checked.parts_made) == (4, 4)
    assert (ran.manifest.stage, ran.manifest.fingerprint) == ("source", "f1")
    first, second, third = ran.manifest.parts
    assert [part.shard for part in ran.manifest.parts] == [
        ShardName("b-000000", "b", "train"),
        ShardName("b-000001", "b", "train"),
        ShardName("c-000000", "c", "val"),
    ]
    keys = [[record.key for record in records_of(root, part)] for part in ran.manifest.parts]
    assert keys == [["b-1", "b-2", "b-3"], ["b-5"], ["c-7"]]
    counts = [(part.samples_in, part.samples_out) for part in ran.manifest.parts]
    assert counts == [(4, 3), (1, 1), (2, 1)]
    assert first.dropped == (DroppedEntry("b-4", "empty file", "b/4.png"),)
    assert second.dropped == ()
    assert third.dropped == (DroppedEntry("c-6", "exact duplicate", "b-2"),)
    assert [set(part.files) for part in ran.manifest.parts] == [
        {f"{name}.parquet"} for name in ("b-000000", "b-000001", "c-000000")
    ]
    assert all(part.quarantined == () for part in ran.manifest.parts)


def test_what_was_quarantined_and_counted_stays_so(root: Path) -> None:
    sick = QuarantinedEntry("b-4", "source", "OSError: no", 1)

    def change(ran: Ran, _: WorkFolder) -> Ran:
        first, second, *others = ran.manifest.parts
        first = replace(first, tally={"z": 1, "a": 2})
        second = replace(second, dropped=(), quarantined=(sick,), tally={"a": 5})
        return replace(ran, manifest=replace(ran.manifest, parts=(first, second, *others)))

    _, ran = planned(card_of("b", "c"), root, change)
    first = ran.manifest.parts[0]
    assert (first.quarantined, first.dropped) == ((sick,), ())
    assert list(first.tally.items()) == [("a", 7), ("z", 1)], "in one order"


def test_an_image_that_was_lost_on_the_way_is_not_passed_over(root: Path) -> None:
    def losing(ran: Ran, _: WorkFolder) -> Ran:
        parts = ran.manifest.parts
        stray = replace(parts[0], shard=replace(parts[0].shard, batch="gone"))
        return replace(ran, manifest=replace(ran.manifest, parts=(*parts, stray)))

    with pytest.raises(AssertionError, match=r"^9 images were listed$"):
        planned(card_of("b", "c"), root, losing)


def test_a_batch_of_which_nothing_came_is_told_with_its_reasons(root: Path) -> None:
    for name in ("b/1.png", "b/2.png", "b/3.png", "b/5.png"):
        (root / name).write_bytes(b"GIF89a")
    sick = QuarantinedEntry("b-5", "source", "OSError: no", 0)

    def change(ran: Ran, _: WorkFolder) -> Ran:
        *others, last = ran.manifest.parts
        last = replace(last, dropped=(), quarantined=(sick,))
        return replace(ran, manifest=replace(ran.manifest, parts=(*others, last)))

    said = r"batch b: no image of it can be taken \(1 empty file, 3 .+, 1 quarantined\)"
    with pytest.raises(ValueError, match=said):
        planned(card_of("b"), root, change)
    with pytest.raises(ValueError, match=r"\(1 empty file, 4 [a-z ]+\): mend it"):
        planned(card_of("b"), root)


def test_boxes_and_texts_are_what_a_batch_is_worth(root: Path) -> None:
    _, ran = planned(card_of("b"), root)
    [record, *_] = records_of(root, ran.manifest.parts[0])
    texts = [
        replace(record, caption="a"),
        replace(record, source_captions=("a",)),
        replace(record, conversation=(Turn("human", "a"),)),
        record,
    ]
    worth = intake._Worth()
    for _ in range(2):
        worth.count(ran.manifest.parts[0], texts)
    assert (worth.images, worth.boxes, worth.texts) == (8, 0, 6)
    assert worth.refused == {"empty file": 2, "quarantined": 0}


def test_a_batch_that_is_built_from_something_else_is_said_once(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
        caplog.clear()
        return told

    card = card_of("b", "c")
    planned(card, root)
    planned(card, root)
    assert warnings() == []
    (root / "b" / "0.png").write_bytes(noise(9))  # moves every image of its batch along
    planned(card, root)
    assert warnings() == [
        "batch b is not what it was when it was built before: 3 of its chunks were checked again, "
        "and its shards will be made again; new images belong in a new batch"
    ]
    planned(card, root)
    assert warnings() == []


def test_drawn_images_lie_beside_the_parts(tmp_path: Path) -> None:
    card = card_of("d", format="scenes", count=3)
    checked, ran = planned(card, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    checks = WorkFolder(tmp_path / "checks")
    link_drawn_images(checked, checks, out, Manifest("source", "f", ()))
    [path] = out.iterdir()
    assert path.name == "images-d-000000.parquet"
    [part] = checked.manifest.parts
    assert path.samefile(checks.part_folder(part.shard.name, part.files) / path.name)
    [planned_part] = ran.manifest.parts
    for record in records_of(tmp_path, planned_part):
        assert record.file == path.name
        assert len(ImageContainer(path).read(record.key)) == record.bytes
