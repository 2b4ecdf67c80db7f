"""The stage source on small worlds and on real data: every image is kept or has a reason."""

import io
import json
import math
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from opendet.curate.duplicates import DuplicateJudge
from opendet.curate.source import Checked, SourceChecker, SourceConfig, tally
from opendet.curate.source_record import MAX_CAPTION
from opendet.record import Record
from opendet.sample import Dropped
from opendet.schema import record_from_json, record_to_json
from opendet.sources.batches import CHUNK, chunks, list_batch
from opendet.sources.card import SourceCard, read_card
from opendet.sources.containers import write_images
from opendet.sources.image_files import ImageFiles
from opendet.sources.scenes import SceneVocabulary

ROOT = Path(__file__).resolve().parents[2]


def picture(size: tuple[int, int] = (40, 24), kind: str = "JPEG", orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.effect_noise(size, 80).save(file, kind, exif=exif)
    return file.getvalue()


def card_of(**batch: Any) -> SourceCard:
    batch = {"name": "b", "split": "train", **batch}
    return SourceCard.model_validate(
        {"name": "x", "licence": "MIT", "format": "folder", "root": "data", "batches": [batch]}
    )


def check(
    card: SourceCard, project_root: Path, config: SourceConfig | None = None
) -> list[Checked | Dropped]:
    checker = SourceChecker(config or SourceConfig(), card, project_root)
    checker = pickle.loads(pickle.dumps(checker))
    outcomes: list[Checked | Dropped] = []
    for batch in card.batches:
        for chunk in chunks(list_batch(card, batch, project_root)):
            results = checker(chunk)
            assert [result.key for result in results] == [entry.key for entry in chunk]
            outcomes += results
    return outcomes


def kept(outcomes: list[Checked | Dropped]) -> list[Checked]:
    return [outcome for outcome in outcomes if isinstance(outcome, Checked)]


def reasons(outcomes: list[Any]) -> Counter[str]:
    return Counter(outcome.reason for outcome in outcomes if isinstance(outcome, Dropped))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_folder_of_good_and_bad_files(data: Path) -> None:
    files = {
        "a.jpg": picture(),
        "a.png": picture(kind="PNG"),  # the same key as a.jpg
        "b.txt": picture(kind="WEBP"),
        "broken.jpg": picture()[:-40],
        "empty.jpg": b"",
        "large.jpg": picture((64, 64), kind="PNG"),
        "small.jpg": picture((15, 40)),
        "notes.md": b"# Notes",
    }
    for name, content in files.items():
        (data / name).write_bytes(content)
    config = SourceConfig(max_pixels=64 * 64 - 1)
    outcomes = check(card_of(), data.parent, config)
    assert len(outcomes) == len(files)
    records = {item.key: item.record for item in kept(outcomes)}
    assert records.keys() == {"b-a", "b-b"}
    assert (records["b-a"].format, records["b-b"].format) == ("jpg", "webp")
    assert (records["b-a"].source, records["b-a"].licence) == ("x", "MIT")
    assert reasons(outcomes) == {
        "duplicate key": 1,
        "truncated image": 1,
        "empty file": 1,
        "too many pixels": 1,
        "image too small": 1,
        "format not allowed": 1,
    }
    large = check(card_of(), data.parent, SourceConfig(max_bytes=10))
    assert reasons(large)["file too large"] == len(files) - 3  # a.png, the empty one, the notes
    assert outcomes == check(card_of(), data.parent, config)


def coco_world(data: Path, **annotation: Any) -> SourceCard:
    image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 24}
    box = {"image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 6], **annotation}
    world = {
        "images": [image],
        "annotations": [box],
        "categories": [{"id": 1, "name": "a <b>\x00dog</b>"}, {"id": 2, "name": " \n"}],
    }
    (data / "instances.json").write_text(json.dumps(world))
    captions = ["A dog.", " \x07", "x" * (MAX_CAPTION + 1)]
    texts = {"annotations": [{"image_id": 1, "caption": text} for text in captions]}
    (data / "captions.json").write_text(json.dumps(texts))
    return card_of(format="coco", annotations="instances.json", captions="captions.json")


def test_boxes_labels_and_captions_become_a_record(data: Path) -> None:
    (data / "a.jpg").write_bytes(picture())
    (item,) = kept(check(coco_world(data), data.parent))
    (region,) = item.record.regions
    assert region.box_xyxy == (2, 3, 12, 9)
    assert region.label == "a <b> dog</b>"
    assert region.box_from.model == "source"
    assert region.names == ()
    assert item.record.source_captions == ("A dog.",)
    assert item.problems == {"caption.empty": 1, "caption.too long": 1}
    assert record_from_json(record_to_json(item.record)) == item.record


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        ({"bbox": [math.nan, 3, 10, 6]}, "box.not finite"),
        ({"bbox": [2, 3, -10, 6]}, "box.inverted"),
        ({"bbox": [2, 3, 1, 6]}, "box.degenerate"),
        ({"bbox": [50, 3, 10, 6]}, "box.outside"),
        ({"bbox": [35, 3, 10, 6]}, "box.clipped"),
        ({"category_id": 2}, "label.empty"),
    ],
)
def test_what_is_wrong_with_a_box_is_counted(data: Path, annotation: Any, problem: str) -> None:
    (data / "a.jpg").write_bytes(picture())
    items = kept(check(coco_world(data, **annotation), data.parent))
    stays = problem in ("box.clipped", "label.empty")
    assert len(items[0].record.regions) == stays
    assert tally(items) == {"caption.empty": 1, "caption.too long": 1, problem: 1}


def test_a_missing_image_and_one_of_another_size_are_dropped(data: Path) -> None:
    card = coco_world(data)
    assert reasons(check(card, data.parent)) == {"missing file": 1}
    (data / "a.jpg").write_bytes(picture((44, 24)))
    assert reasons(check(card, data.parent)) == {"size differs from annotation": 1}


def test_boxes_of_the_stored_frame_are_turned_and_others_are_not(data: Path) -> None:
    card = coco_world(data)  # declares 40 x 24
    (data / "a.jpg").write_bytes(picture((40, 24), orientation=6))
    (turned,) = kept(check(card, data.parent))
    assert (turned.record.width, turned.record.height) == (24, 40)
    assert turned.record.regions[0].box_xyxy == (15, 2, 21, 12)
    (data / "a.jpg").write_bytes(picture((24, 40), orientation=6))
    (upright,) = kept(check(card, data.parent))
    assert (upright.record.width, upright.record.height) == (40, 24)
    assert upright.record.regions[0].box_xyxy == (2, 3, 12, 9)


def test_a_broken_xml_drops_its_image_alone(data: Path) -> None:
    for name in ("a", "b", "c"):
        (data / f"{name}.jpg").write_bytes(picture())
    (data / "a.xml").write_text("<annotation/>")
    (data / "b.xml").write_text("<annotation>")
    card = card_of(format="voc", annotations="xml", images="images")
    for suffix, folder in (("jpg", "images"), ("xml", "xml")):
        (data / folder).mkdir()
        for path in data.glob(f"*.{suffix}"):
            path.rename(data / folder / path.name)
    outcomes = check(card, data.parent)
    assert [item.key for item in kept(outcomes)] == ["b-a"]
    assert reasons(outcomes) == {"broken annotation": 1, "missing annotation": 1}


def test_traversal_is_dropped_unopened(data: Path) -> None:
    (data.parent / "secret.jpg").write_bytes(picture())
    card = coco_world(data)
    text = (data / "instances.json").read_text()
    for name in ("../secret.jpg", str(data.parent / "secret.jpg")):
        (data / "instances.json").write_text(text.replace("a.jpg", name))
        assert reasons(check(card, data.parent)) == {"file outside the root": 1}


def test_a_missing_folder_is_one_line_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIRDS", str(tmp_path))
    card = card_of(root="${BIRDS}/birds", images="photos")
    with pytest.raises(
        ValueError, match=r"no folder .*/birds \(root.*set BIRDS, or mend"
    ) as caught:
        list_batch(card, card.batches[0], tmp_path)
    assert "\n" not in str(caught.value)


def test_checksums_hold_or_say_so(data: Path) -> None:
    (data / "list.txt").write_text("x")
    good = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    card = card_of(checksums={"list.txt": good.upper()})
    assert len(list_batch(card, card.batches[0], data.parent)) == 1
    for bad in ({"list.txt": "0" * 64}, {"gone.txt": good}):
        card = card_of(checksums=bad)
        with pytest.raises(ValueError, match=r"list\.txt has SHA-256|gone\.txt is missing"):
            list_batch(card, card.batches[0], data.parent)


def test_scenes_are_drawn_and_read_back(tmp_path: Path) -> None:
    card = card_of(format="scenes", count=CHUNK + 2)
    entries = list_batch(card, card.batches[0], tmp_path)
    assert [entry.file for entry in entries[:: CHUNK + 1]] == [
        "images-b-000000.parquet",
        "images-b-000001.parquet",
    ]
    checker = SourceChecker(SourceConfig(), card, tmp_path)
    items = kept(checker(entries[CHUNK - 1 :]))
    assert items == checker(entries[CHUNK - 1 :])
    build = tmp_path / "datasets" / "b"
    (build / "source").mkdir(parents=True)
    for item in items:
        # one file per chunk
        mine = [
            (one.key, one.content or b"") for one in items if one.record.file == item.record.file
        ]
        write_images(build / "source" / item.record.file, mine)
        assert item.record.regions
        assert all(region.label for region in item.record.regions)
        assert not item.problems
    files = ImageFiles(card, build, tmp_path)
    assert [files.read(item.record) for item in items] == [item.content for item in items]


def real(shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> list[Checked | Dropped]:
    monkeypatch.setenv("OPENDET_SHARED_DATA", str(shared_data.absolute()))
    return check(read_card(ROOT / "datasets" / name / "source.yaml"), ROOT)


def test_coco_tiny(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = kept(outcomes := real(shared_data, monkeypatch, "coco_tiny"))
    regions = [region for item in items for region in item.record.regions]
    assert len(outcomes) == len(items) == 100
    assert sum(not item.record.regions for item in items) == 3
    assert (len(regions), sum(region.crowd for region in regions)) == (852, 10)
    assert sum(len(item.record.source_captions) for item in items) == 500
    assert Counter(item.record.split for item in items) == {"train": 50, "val": 50}
    assert tally(items) == {}
    assert all(item.record.licence != "per image, see COCO's JSON" for item in items)


def test_bccd(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = kept(outcomes := real(shared_data, monkeypatch, "bccd"))
    assert len(outcomes) == len(items) == 364
    assert Counter(item.record.split for item in items) == {"train": 205, "val": 87, "test": 72}
    assert sum(len(item.record.regions) for item in items) == 4888 - 2
    assert tally(items) == {"box.degenerate": 2}
    labels = Counter(region.label for item in items for region in item.record.regions)
    assert labels == {"RBC": 4155 - 2, "WBC": 372, "Platelets": 361}
    near = [*map(DuplicateJudge(SourceConfig()), (item.record for item in items))]
    twins = {one.key: one.near_duplicate_of for one in near if isinstance(one, Record)}
    # one field of view at two focus depths, on both sides of the split
    assert {key: twin for key, twin in twins.items() if twin} == {
        "val-BloodImage_00037": "train-BloodImage_00038"
    }


def test_raccoon(shared_data: Path) -> None:
    batch = {"name": "b", "split": "train", "images": "images", "annotations": "annotations"}
    card = card_of(**{**batch, "root": str(shared_data / "raccoon"), "format": "voc"})
    items = kept(outcomes := check(card, ROOT))
    assert len(outcomes) == 200
    judge = DuplicateJudge(SourceConfig(near_duplicates="keep"))
    judged = [judge(item.record) for item in items]
    pairs = {
        tuple(sorted((one.key.split("-")[-1], one.detail.split("-")[-1])))
        for one in judged
        if isinstance(one, Dropped)
    }
    assert reasons(judged) == {"exact duplicate": 4}
    assert pairs == {("65", "98"), ("120", "83"), ("11", "116"), ("52", "74")}


@pytest.mark.slow
def test_the_card_of_the_demo_tells_the_truth() -> None:
    folder = ROOT / "datasets" / "demo"
    card = read_card(folder / "source.yaml")
    items = kept(check(card, ROOT))
    text = (folder / "README.md").read_text()
    for batch in card.batches:
        row = demo_row(batch.name, batch.split, items, SceneVocabulary.from_seed(card.scenes.seed))
        assert row in text
    judged = [*map(DuplicateJudge(SourceConfig()), (item.record for item in items))]
    assert [one for one in judged if isinstance(one, Dropped) or one.near_duplicate_of] == []


def demo_row(batch: str, split: str, items: list[Checked], names: SceneVocabulary) -> str:
    records = [item.record for item in items if item.record.batch == batch]
    labels = [region.label or "" for record in records for region in record.regions]
    tiers = Counter(names.frequency_of(label) for label in labels)
    cells = [batch, split, len(records), len(labels)]
    cells += [tiers[tier] for tier in ("frequent", "common", "rare", "unseen")]
    cells += [sum(len(record.source_captions) for record in records)]
    cells += [sum(record.bytes for record in records)]
    return "| " + " | ".join(map(str, cells)) + " |"
