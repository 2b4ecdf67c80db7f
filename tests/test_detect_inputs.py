"""`opendet detect` looks at folders and films, goes past what is broken, and is stopped cleanly."""

import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from opendet.detections import Detections
from opendet.media.footage import footage, live
from opendet.media.inputs import Film
from opendet.media.looking import Look, look_at
from opendet.predict_files import detect_each
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.cli_world import Ended, picture, run_cli, start_cli
from tests.model.worlds import build_detector

pytest.importorskip("av", reason="PyAV is not installed (the extra `video`)")

from tests.media.film_world import RATE, damage, frame, write_film


class Brightness:
    """Finds one box as large as the picture, called by how bright the picture is; of a picture
    that is white it cannot say anything."""

    def detect(self, images: Any) -> list[Detections]:
        return [self._one(image) for image in images]

    def _one(self, image: Image.Image) -> Detections:
        bright = float(np.asarray(image.convert("L"))[40:, 40:].mean())
        if bright > 250:
            raise ValueError("too bright")
        box = torch.tensor([[0.0, 0.0, image.width, image.height]])
        return Detections(box, torch.tensor([0.5]), [[f"grey {round(bright / 5)}"]], None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    detector = build_detector()
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(folder, detector, own_tensors(detector), resize=resize, training={})
    return folder


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = tmp_path / "shots"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(("b.jpg", "below/a.jpg")):
        (folder / name).write_bytes(picture(number))
    (folder / "notes.txt").write_text("no image")
    write_film(folder / "film.mp4", 10)
    return folder


def detect(folder: Path, model: Path, *words: str) -> Ended:
    return run_cli(folder, "detect", *words, "--model", str(model), "--min-score", "0")


def test_a_folder_is_looked_at_with_its_films(shots: Path, model: Path) -> None:
    ended = detect(shots.parent, model, "shots", "--every", "4", "--json")
    assert (ended.code, ended.line) == (0, "1 files that are no images were skipped")
    seen = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["file"] for one in seen] == [
        *("shots/b.jpg", "shots/below/a.jpg"),
        *["shots/film.mp4"] * 3,
    ]
    assert [one.get("frame") for one in seen] == [None, None, 0, 4, 8]
    assert [one["seconds"] for one in seen[2:]] == [0.0, 0.133, 0.267]
    assert all(one["objects"] for one in seen)
    assert not (shots.parent / "detections").exists()


def test_drawings_of_a_folder_are_not_looked_at_again(shots: Path, model: Path) -> None:
    for _ in range(2):
        ended = detect(shots, model, ".")
        assert ended.code == 0, ended.err
        made = sorted(path.name for path in (shots / "detections").iterdir())
        assert made == ["a.png", "b.png", "film.mp4"]
    film = ended.out.splitlines()[-1]
    assert film.startswith("film.mp4: 10 frames, ")
    assert film.endswith(" -> detections/film.mp4")


def test_a_drawn_film_has_the_rate_and_the_length_of_its_own(tmp_path: Path) -> None:
    film = Film(write_film(tmp_path / "film.mp4"))
    for every, frames in ((1, 12), (3, 4)):
        out = tmp_path / f"every {every}"
        assert look_at(Brightness(), [film], Look(out, every=every)) == 0
        with footage(out / "film.mp4") as drawn:
            assert drawn.frames == frames
            last = list(drawn)[-1]
        assert last.seconds == pytest.approx((12 - every) / RATE, abs=2e-3)
        if every == 1:
            assert drawn.rate == RATE
        assert last.image.size == (6 * 96, 6 * 64), "small pictures are enlarged"  # type: ignore[union-attr]


def test_what_is_broken_is_told_and_the_rest_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [Film(write_film(tmp_path / f"{name}.mp4", 40)) for name in ("good", "hurt", "none")]
    damage(films[1].path)
    films[2].path.write_bytes(b"no film")
    wrong = look_at(Brightness(), films, Look(as_json=True))
    told = capsys.readouterr()
    assert wrong == 2
    hurt, none = told.err.splitlines()
    assert "hurt.mp4: " in hurt
    assert " broken (frame " in hurt
    assert hurt.endswith("; the rest was looked at")
    assert none.endswith(
        "none.mp4: cannot be read as a film: Invalid data found when processing input"
    )
    assert 50 < len(told.out.splitlines()) < 80


def test_a_reader_who_has_seen_enough_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault of the film's, and the next one is not begun."""

    def closed(text: str) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(typer, "echo", closed)
    films = [Film(write_film(tmp_path / f"{name}.mp4")) for name in ("one", "two")]
    with pytest.raises(BrokenPipeError):
        look_at(Brightness(), films, Look(as_json=True))
    assert capsys.readouterr().err == ""


def test_what_the_detector_cannot_take_is_that_pictures_trouble(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    white = Image.new("RGB", (96, 64), "white")
    said = detect_each(Brightness(), [frame(1), white, frame(3)])
    assert [one if isinstance(one, str) else one.names[0][0] for one in said] == [
        *("grey 1", "too bright", "grey 3"),
    ]
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, (frame(1), white, frame(3)), strict=True):
        image.save(path)
    assert look_at(Brightness(), paths, Look(as_json=True)) == 1
    told = capsys.readouterr()
    assert told.err == f"{paths[1]}: too bright\n"
    assert len(told.out.splitlines()) == 2


def test_a_camera_ends_by_ctrl_c_and_its_film_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg's own test picture stands for the camera."""
    import av

    from opendet.media import footage as reading
    from opendet.media import looking

    class Tired(Brightness):
        seen = 0

        def detect(self, images: Any) -> list[Detections]:
            self.seen += 1
            if self.seen > 5:
                raise KeyboardInterrupt
            return super().detect(images)

    class Camera:
        def __enter__(self) -> reading.Footage:
            self.container = av.open("testsrc=size=64x48:rate=10", format="lavfi")
            return reading.Footage(self.container, 1, is_live=True)

        def __exit__(self, *_: object) -> None:
            self.container.close()

    assert live is reading.live
    monkeypatch.setattr(looking, "live", lambda index, every: Camera())
    assert look_at(Tired(), [looking.Camera(0)], Look(tmp_path / "out")) == 0
    with footage(tmp_path / "out" / "webcam-0.mp4") as drawn:
        assert len(list(drawn)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_a_kill_leaves_no_half_film(tmp_path: Path, model: Path, stop: signal.Signals) -> None:
    write_film(tmp_path / "film.mp4", 3000)
    ours = ("film.mp4", "--model", str(model), "--min-score", "0", "--out", "out")
    running = start_cli(tmp_path, "detect", *ours)
    out = tmp_path / "out"
    begun = time.monotonic()
    while not out.is_dir() or not list(out.iterdir()):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() - begun < 120
        time.sleep(0.02)
    os.kill(running.pid, stop)
    running.communicate(timeout=60)
    assert running.returncode in (130, -signal.SIGKILL)
    left = [path.name for path in out.iterdir()]
    assert "film.mp4" not in left
    assert stop == signal.SIGKILL or not left, "what can be taken away is"


def test_onnx_finds_what_the_model_finds(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    from opendet.onnx_export.exporting import export_onnx

    (tmp_path / "a.jpg").write_bytes(picture(1))
    export_onnx(model, tmp_path / "onnx")
    own = detect(tmp_path, model, "a.jpg", "--json")
    other = run_cli(tmp_path, "detect", "a.jpg", "--json", "--onnx", "onnx", "--min-score", "0")
    [one, two] = [json.loads(ended.out)["objects"] for ended in (own, other)]
    assert one
    for ours, theirs in zip(one, two, strict=True):
        assert ours["box_xyxy"] == pytest.approx(theirs["box_xyxy"], abs=0.05)
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-3)
        assert ours["names"] == theirs["names"]
    drawn = run_cli(tmp_path, "detect", "a.jpg", "--onnx", "onnx", "--min-score", "0")
    assert drawn.code == 0, drawn.err
    assert (tmp_path / "detections" / "a.png").is_file()


def test_names_without_their_vectors_are_one_line(tmp_path: Path, model: Path) -> None:
    ended = detect(tmp_path, model, "0", "--names", "cat")
    assert ended.code == 1
    assert "names: their text vectors are missing" in ended.line


@pytest.mark.parametrize(
    ("name", "said"),
    [("nobody/nothing", "nobody/nothing could not be fetched"), ("nothing", "no model 'nothing'")],
)
def test_a_model_that_is_nowhere_is_one_line(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1))
    ended = run_cli(tmp_path, "detect", "a.jpg", "--model", name)
    assert ended.code == 1
    assert said in ended.line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("63",), "webcam-63: camera 63: /dev/video63: "),
        (("--webcam", "63"), "webcam-63: camera 63: /dev/video63: "),
        (("gone.mp4",), "gone.mp4: there is no such file"),
        (("gone/*.jpg",), "gone/*.jpg: there is no such file"),
        (("empty",), "empty: no image and no film there: name some"),
        (("empty", "--onnx", "x"), "--model and --onnx both name a model: leave one of them out"),
    ],
)
def test_what_is_not_there_is_one_line(
    tmp_path: Path, model: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    ended = detect(tmp_path, model, *words)
    assert ended.code == 1
    assert said in ended.line


def test_every_frame_of_none_is_refused(tmp_path: Path, model: Path) -> None:
    assert detect(tmp_path, model, "film.mp4", "--every", "0").code == 2
