"""A data set's card tells what is known, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard

from opendet.cards.about import DataFile, DatasetAbout, Feature
from opendet.cards.dataset_card import dataset_card_text, write_dataset_cards
from tests.cards.card_world import ABOUT, EMPTY, HOSTILE
from tests.cards.test_card_page import MARKDOWN, cells_of


def licensed(*licences: str) -> DatasetAbout:
    [source] = ABOUT.sources
    return replace(ABOUT, sources=(replace(source, licences=tuple((one, 1) for one in licences)),))


def header_of(about: DatasetAbout) -> dict[str, object]:
    told: dict[str, object] = yaml.safe_load(dataset_card_text(about).split("---\n")[1])
    return told


def test_the_same_facts_give_the_same_text() -> None:
    assert dataset_card_text(ABOUT) == dataset_card_text(replace(ABOUT))


def test_every_fact_is_in_a_cell_of_its_own() -> None:
    page = dataset_card_text(ABOUT).split("---\n", 2)[2]
    cells = cells_of(page)
    for row in (
        ["train", "2", "1", "4", "3"],
        [HOSTILE, "3"],
        ["line break", "1"],
        ["toy", "Toys", "my own | terms", "1"],
        ["grammar", "1", "3 captions", "no model: rules of Open-Det"],
        [f"b/{HOSTILE}", "", "1 names", "<strong>unknown</strong>"],
        ["source", "image", f"too small {HOSTILE}", "1"],
        ["filter", "errors that it found", "3 (75.0 %)"],
    ):
        places = [place for place, cell in enumerate(cells) if cell == row[0]]
        assert any(cells[place : place + len(row)] == row for place in places), row
    assert "And 2 more." in page
    assert "which are quarantined: 1." in page


def test_a_known_licence_is_linked_and_its_witness_named() -> None:
    page = MARKDOWN.render(dataset_card_text(ABOUT).split("---\n", 2)[2])
    assert '<a href="https://spdx.org/licenses/Apache-2.0.html">Apache-2.0</a>, says its' in page
    assert '<a href="https://creativecommons.org/publicdomain/zero/1.0/">CC0-1.0</a>' in page


def test_no_name_becomes_markup() -> None:
    page = MARKDOWN.render(dataset_card_text(ABOUT).split("---\n", 2)[2])
    assert "<script" not in page
    assert "<em>b</em>" not in page
    assert 'http://y.z"' not in page


@pytest.mark.parametrize(
    ("licences", "told"),
    [
        (("MIT",), {"license": "mit"}),
        (("MIT", "CC0-1.0"), {"license": ["cc0-1.0", "mit"]}),
        (("MIT", "mit"), {"license": "mit"}),
        (("MIT", ""), {"license": "unknown"}),
        ((), {"license": "unknown"}),
        (
            ("MIT", "mine"),
            {
                "license": "other",
                "license_name": "as-the-card-says",
                "license_link": "README.md",
            },
        ),
    ],
)
def test_the_hub_s_licence_is_never_more_than_the_data_says(
    licences: tuple[str, ...], told: dict[str, object]
) -> None:
    header = header_of(licensed(*licences))
    assert {key: header[key] for key in header if key.startswith("license")} == told


def test_the_hub_s_own_reader_reads_the_header() -> None:
    files = (
        DataFile("data/train-00000-of-00002.parquet", 1, "a", "train"),
        DataFile("data/train-00001-of-00002.parquet", 1, "b", "train"),
        DataFile("data/val-00000-of-00001.parquet", 1, "c", "val"),
        DataFile("notes.txt", 1, "d"),
    )
    told = DatasetCard(dataset_card_text(replace(ABOUT, files=files))).data.to_dict()
    assert told["pretty_name"] == f"Title {HOSTILE}"
    assert told["size_categories"] == ["n<1K"]
    assert told["task_categories"] == ["object-detection", "image-to-text"]
    assert told["configs"] == [
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": ["data/train-*-of-*.parquet"]},
                {"split": "val", "path": ["data/val-*-of-*.parquet"]},
            ],
        }
    ]


def test_a_build_of_nothing_has_a_card_that_says_so() -> None:
    page = dataset_card_text(EMPTY)
    assert "0 images with 0 kept regions of 0 names, built by Open-Det from nothing." in page
    assert "No image is in it." in page
    assert "## Licences" not in page


def test_many_files_are_counted_and_not_listed() -> None:
    files = tuple(DataFile(f"shards/a-{n:06d}.tar", 10, "f" * 64, "train") for n in range(41))
    assert "shards/a-000000.tar" in dataset_card_text(replace(ABOUT, files=files[:40]))
    page = dataset_card_text(replace(ABOUT, files=files))
    assert "In number 41, in bytes 410" in page
    assert "shards/a-000000.tar" not in page


def test_features_are_told_with_their_parts() -> None:
    box = Feature("bbox", "number", "x | y", many=True)
    features = (Feature("objects", "struct", parts=(box,)), Feature("`", "text"))
    cells = cells_of(dataset_card_text(replace(ABOUT, features=features)).split("---\n", 2)[2])
    place = cells.index("<code>objects.bbox</code>")
    assert cells[place + 1 : place + 3] == ["list of number", "x | y"]
    assert "<code>'</code>" in cells


def test_cards_of_a_folder_tell_its_files_and_its_columns(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table({"key": ["a"], "image": [{"bytes": b"x", "path": "a.jpg"}]})
    pq.write_table(table, tmp_path / "data" / "val-00000-of-00001.parquet")
    write_dataset_cards(tmp_path, ABOUT)
    page = (tmp_path / "README.md").read_text()
    assert "| `data/val-00000-of-00001.parquet` |" in page
    assert "| `image` | image | The picture's own bytes, never encoded again. |" in page
    assert "- The files hold 1 of the 3 images that this card counts" in page
    first = (tmp_path / "croissant.json").read_bytes(), page
    write_dataset_cards(tmp_path, ABOUT)
    assert ((tmp_path / "croissant.json").read_bytes(), (tmp_path / "README.md").read_text()) == (
        first
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "croissant.json",
        "data",
    ]


def test_no_secret_of_the_environment_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENDET_SERVER_KEY"):
        monkeypatch.setenv(name, "hf_secret123")
    write_dataset_cards(tmp_path, ABOUT)
    for path in tmp_path.iterdir():
        assert "hf_secret123" not in path.read_text()
