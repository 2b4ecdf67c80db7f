"""Films are read upright, with their times, past what is broken in them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV is not installed (the extra `video`)")

from film_world import RATE, as_matroska, damage, frame, lay_on_its_side, write_film

from opendet.media.footage import BrokenFrame, Footage, Frame, footage, live
from opendet.media.recording import Recording, encoder, recording


def frames_of(path: Path, every: int = 1) -> list[Frame | BrokenFrame]:
    with footage(path, every=every) as found:
        return list(found)


def whole(path: Path, every: int = 1) -> Iterator[Frame]:
    for one in frames_of(path, every):
        assert isinstance(one, Frame), one
        yield one


def grey(one: Frame) -> float:
    return float(np.asarray(one.image)[40:, 40:].mean())


def test_what_was_written_is_read_with_its_rate_and_its_times(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4")
    with footage(path) as found:
        assert (found.rate, found.frames, found.is_live) == (RATE, 12, False)
    for number, one in enumerate(whole(path)):
        assert one.number == number
        assert one.seconds == pytest.approx(number / RATE, abs=1e-3)
        assert grey(one) == pytest.approx(5 * number, abs=3)
    assert number == 11
    assert [other.name for other in tmp_path.iterdir()] == ["film.mp4"]


def test_every_third_frame_is_the_first_the_fourth_and_so_on(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", 11)
    found = list(whole(path, every=3))
    assert [one.number for one in found] == [0, 3, 6, 9]
    assert found[2].seconds == pytest.approx(6 / RATE, abs=1e-3)
    with footage(path, every=3) as opened:
        assert opened.looked_at == 4


def test_a_film_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", 1)
    lay_on_its_side(path)
    [one] = whole(path)
    assert one.image.size == (64, 96)
    pixels = np.asarray(one.image.convert("L"))
    assert pixels[5, -5] > 200, "the white corner went from the left to the right"
    assert pixels[5, 5] < 60


def test_a_film_of_odd_sides_keeps_its_pixels(tmp_path: Path) -> None:
    [one] = whole(write_film(tmp_path / "film.mp4", 1, size=(95, 63)))
    assert one.image.size == (96, 64)
    told = np.abs(np.asarray(one.image, float)[:60, :92] - np.asarray(frame(0, (95, 63)))[:60, :92])
    assert told.mean() < 5
    assert np.asarray(one.image)[:, -1].mean() < 60, "a black line"


def test_pictures_of_uneven_times_keep_them(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.4, 0.4, 2.0]
    with recording(tmp_path / "film.mp4", rate=Fraction(25)) as film:
        for number, seconds in enumerate(times):
            film.add(frame(number), seconds)
    found = [one.seconds for one in whole(tmp_path / "film.mp4")]
    assert found == pytest.approx(times, abs=2e-3)


def test_what_is_broken_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", 40)
    damage(path)
    found = frames_of(path)
    broken = [one for one in found if isinstance(one, BrokenFrame)]
    assert 0 < len(broken) < 40
    assert all("\n" not in one.why and one.why for one in broken)
    assert len(found) - len(broken) >= 10, "what came before and what comes after"


def test_a_film_that_is_cut_off_says_how_much_is_missing(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", 40)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    *found, last = frames_of(path)
    assert isinstance(last, BrokenFrame)
    assert last.why == f"{40 - last.number} of 40 frames are missing"
    assert last.number >= len(found)


def test_a_film_that_counts_no_frames_is_whole_and_says_where_it_is_cut_off(
    tmp_path: Path,
) -> None:
    path = as_matroska(write_film(tmp_path / "a.mp4", 40, rate=Fraction(5)), tmp_path / "a.mkv")
    with footage(path) as found:
        assert found.frames == 0, "nobody has counted them"
    assert [one.number for one in whole(path)] == list(range(40))
    assert len(list(whole(path, every=15))) == 3
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    *_, last = frames_of(path)
    assert isinstance(last, BrokenFrame)
    assert last.why.startswith("it ends at ")
    assert last.why.endswith(" of 8.0 seconds")


@pytest.mark.parametrize("content", [b"", b"no film at all", b"\0" * 4096])
def test_what_is_no_film_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a film: ") as error:
        frames_of(tmp_path / "film.mp4")
    assert "\n" not in str(error.value)


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux([*stream.encode(sound), *stream.encode(None)])
    with pytest.raises(ValueError, match="has no picture in it: name a film"):
        frames_of(tmp_path / "song.mp4")


def test_no_camera_is_one_line_that_says_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"camera 63: /dev/video63: .* \(cameras here: "):
        live(63).__enter__()


def test_a_camera_goes_on_until_it_is_stopped() -> None:
    """FFmpeg's own test picture stands for a camera: neither has an end."""
    import av

    with av.open("testsrc=size=64x48:rate=10", format="lavfi") as container:
        seen = Footage(container, 2, is_live=True)
        numbers = [one.number for one, _ in zip(seen, range(3), strict=False)]
    assert (numbers, seen.looked_at, seen.rate) == ([0, 2, 4], 0, 10)


def test_without_pyav_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from pathlib import Path\n"
        "from opendet.media.footage import footage\n"
        "try:\n    footage(Path('x.mp4')).__enter__()\n"
        "except ValueError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'opendet[video]'" in told.stdout


def test_nothing_half_is_left_where_writing_ends_badly(tmp_path: Path) -> None:
    def spoil(film: Recording) -> None:
        film.add(frame(0), 0.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), recording(tmp_path / "film.mp4", rate=RATE) as film:
        spoil(film)
    assert not list(tmp_path.iterdir())


def test_a_film_without_a_picture_is_no_film(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(recording(tmp_path / "film.mp4", rate=RATE))
    assert not list(tmp_path.iterdir())


def test_a_film_stays_as_it_was_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the old one")
    with recording(path, rate=RATE) as film:
        film.add(frame(0), 0.0)
        assert path.read_bytes() == b"the old one"
    assert path.read_bytes() != b"the old one"


def test_other_encoders_write_films_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's own is in every build of it."""
    import av

    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    assert encoder() == "mpeg4"
    found = list(whole(write_film(tmp_path / "film.mp4")))
    assert [round(grey(one) / 5) for one in found] == list(range(12))
    monkeypatch.setattr(av, "codecs_available", set())
    with pytest.raises(ValueError, match="this PyAV cannot write films"):
        encoder()
