"""Frames of films and cameras, read by PyAV (the extra `video`), upright and with their time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.Image import Transpose

if TYPE_CHECKING:
    from PIL.Image import Image

MISSING = "films and cameras are read by PyAV, which is not installed: pip install 'opendet[video]'"
_RATE = Fraction(25)  # of what says no rate
_LONGEST_STILL = 2.0  # seconds that a film's last picture may be shown
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_UPRIGHT = {90: Transpose.ROTATE_90, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_270}


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a film."""

    number: int
    """From 0, every frame of the film counted."""
    seconds: float
    """From the film's beginning."""
    image: "Image"
    """Upright, RGB."""


@dataclass(frozen=True, slots=True)
class BrokenFrame:
    """One that cannot be decoded, or that comes out damaged."""

    number: int
    why: str


class Footage:
    """An opened film or camera. `footage` and `live` are the ways in."""

    def __init__(self, container: Any, every: int, *, is_live: bool = False) -> None:
        self._container, self.every, self.is_live = container, every, is_live
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or _RATE)
        """Frames in a second, on average; of `every` so many, one is given."""
        self.frames = int(self._stream.frames)
        """How many there are, as far as the film says so; else 0."""

    @property
    def looked_at(self) -> int:
        """How many frames `every` leaves of those."""
        return -(-self.frames // self.every)

    def __iter__(self) -> "Iterator[Frame | BrokenFrame]":
        """The first of every so many frames, and all that are broken."""
        number, begin, seconds = 0, None, 0.0
        for one in self._decoded():
            if isinstance(one, str):
                yield BrokenFrame(number, one)
            elif one.is_corrupt:
                yield BrokenFrame(number, "damaged")
            else:
                seconds = float(number / self.rate if one.time is None else one.time)
                begin = seconds if begin is None else begin
                if number % self.every == 0:
                    yield Frame(number, max(0.0, seconds - begin), _upright(one))
            number += 1
        if lacking := self._lacking(number, seconds):
            yield BrokenFrame(number, lacking)

    def _lacking(self, frames: int, seconds: float) -> str:
        """What a film that came to its end there says that it had more; else nothing."""
        if self.frames:
            missing = self.frames - frames
            return f"{missing} of {self.frames} frames are missing" if missing > 0 else ""
        told = self._told_seconds()
        is_short = seconds + _LONGEST_STILL < told
        return f"it ends at {seconds:.1f} of {told:.1f} seconds" if is_short else ""

    def _told_seconds(self) -> float:
        """Until the film's end, where it says that in place of a number of frames, as Matroska and
        WebM do; else 0."""
        told = _CLOCK.fullmatch(self._stream.metadata.get("DURATION", ""))
        if not told:
            return 0.0
        hours, minutes, seconds = map(float, told.groups())
        return 3600 * hours + 60 * minutes + seconds

    def _decoded(self) -> Iterator[Any]:
        """Frames, and for each packet that gives none the reason."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:  # of the file, not of one frame: nothing comes after it
                yield f"the rest cannot be read: {error.strerror}"
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                yield str(error.strerror)


@contextmanager
def footage(path: Path, *, every: int = 1) -> Iterator[Footage]:
    """A film's frames. Raises ValueError, in one line, for a file that is none."""
    av = _pyav()
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise ValueError(f"cannot be read as a film: {error.strerror}") from error
    with container:
        if not container.streams.video:
            raise ValueError("has no picture in it: name a film")
        yield Footage(container, every)


@contextmanager
def live(index: int, *, every: int = 1) -> Iterator[Footage]:
    """What a camera sees, without an end. Raises ValueError, in one line, where there is none."""
    av = _pyav()
    device = f"/dev/video{index}"
    try:
        container = av.open(device, format="v4l2")
    except (av.FFmpegError, ValueError) as error:  # ValueError: a PyAV that knows no v4l2
        why = getattr(error, "strerror", None) or error
        there = ", ".join(sorted(path.name for path in Path("/dev").glob("video*"))) or "none"
        raise ValueError(f"camera {index}: {device}: {why} (cameras here: {there})") from error
    with container:
        yield Footage(container, every, is_live=True)


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise ValueError(MISSING) from error
    return av


def _upright(frame: Any) -> "Image":
    """As a player shows it: phones write films lying on their side, with a word about it."""
    image: Image = frame.to_image()  # RGB
    turn = _UPRIGHT.get(round(frame.rotation / 90) * 90 % 360)
    return image if turn is None else image.transpose(turn)
