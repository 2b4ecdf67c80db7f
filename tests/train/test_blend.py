"""Blending: at the ends the parents, between them the mean, and no folder that does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from typer.testing import CliRunner

from opendet.cli import app
from opendet.model import t5_namer
from opendet.model.config import DetectorConfig
from opendet.model.detector import OpenDetector
from opendet.model.t5_namer import T5Namer
from opendet.train.blend import blend
from opendet.train.export import Resize, export_model, load_detector, read_card
from opendet.train.weights import own_tensors
from tests.model.worlds import NAMES, TINY_DETECTOR, TINY_NAMER, build_detector

RESIZE = Resize(shortest=32, longest=64, multiple=32)


def _export(folder: Path, detector: OpenDetector) -> Path:
    detector.namer.merge_head()
    export_model(folder, detector, own_tensors(detector), resize=RESIZE, training={})
    return folder


@pytest.fixture
def parents(tmp_path: Path) -> tuple[Path, Path]:
    folders = [_export(tmp_path / str(seed), build_detector(seed=seed)) for seed in (1, 2)]
    return folders[0], folders[1]


def test_at_the_ends_it_is_a_parent_to_the_bit(parents: tuple[Path, Path], tmp_path: Path) -> None:
    for share, parent in enumerate(parents):
        blend(*parents, share=float(share), out=tmp_path / f"at-{share}")
        wanted = own_tensors(load_detector(parent))
        got = own_tensors(load_detector(tmp_path / f"at-{share}"))
        assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())


def test_between_them_every_weight_is_the_mean(parents: tuple[Path, Path], tmp_path: Path) -> None:
    blend(*parents, share=0.25, out=tmp_path / "new" / "out")
    one, two, got = (
        own_tensors(load_detector(folder)) for folder in (*parents, tmp_path / "new" / "out")
    )
    for name, tensor in got.items():
        torch.testing.assert_close(tensor, 0.75 * one[name] + 0.25 * two[name])
    card = read_card(tmp_path / "new" / "out")
    assert card.training == {
        "blend.share": 0.25,
        "blend.first": read_card(parents[0]).weights.sha256,
        "blend.second": read_card(parents[1]).weights.sha256,
    }


def _other_detector(**knobs: object) -> OpenDetector:
    config = DetectorConfig.model_validate(TINY_DETECTOR.model_dump() | knobs)
    return build_detector(config)


def test_what_does_not_fit_is_refused_in_one_line(
    parents: tuple[Path, Path], tmp_path: Path
) -> None:
    first = parents[0]
    wider = _export(tmp_path / "wider", _other_detector(feedforward=48))
    tokens = T5Namer.tiny((*NAMES, "an entirely different zebra"), TINY_NAMER, seed=3)
    other = _export(tmp_path / "other", OpenDetector(TINY_DETECTOR, tokens))
    for second, says in (
        (wider, "their detectors differ in feedforward"),
        (other, "their namers know other tokens"),
        (tmp_path, "holds no model"),
    ):
        with pytest.raises(ValueError, match=says) as error:
            blend(first, second, share=0.5, out=tmp_path / "out")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="is there already"):
        blend(*parents, share=0.5, out=first)
    with pytest.raises(ValueError, match="between 0"):
        blend(*parents, share=1.5, out=tmp_path / "out")


def test_a_folder_that_lacks_its_tokens_is_one_line(
    parents: tuple[Path, Path], tmp_path: Path
) -> None:
    (parents[1] / "namer" / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"2/namer/tokenizer\.json is missing: take"):
        blend(*parents, share=0.5, out=tmp_path / "out")


def test_a_file_in_the_way_is_one_line(parents: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"file/x cannot be a folder, .*/file is none"):
        blend(*parents, share=0.5, out=tmp_path / "file" / "x")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_lies_beside_it_stays(parents: tuple[Path, Path], tmp_path: Path) -> None:
    beside = [tmp_path / name for name in (".both-2026-backup", ".both.mine", ".both-2-ab12cd34")]
    for folder in beside:
        folder.mkdir()
        (folder / "x").write_text("mine")
    blend(*parents, share=0.5, out=tmp_path / "both")
    assert [(folder / "x").read_text() for folder in beside] == ["mine"] * 3


def test_a_full_disk_is_one_line_and_leaves_nothing(
    parents: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(t5_namer, "save_file", full)
    with pytest.raises(OSError, match=r"make room and run again: '.*/both'"):
        blend(*parents, share=0.5, out=tmp_path / "both")
    assert set(tmp_path.iterdir()) == before


def test_the_command(parents: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ["blend", *map(str, parents), "--share", "0.5", "--out", str(tmp_path / "out")]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    assert read_card(tmp_path / "out").training["blend.share"] == 0.5
