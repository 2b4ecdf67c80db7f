"""Detects in films and cameras: frame by frame, a film drawn or a line of JSON each."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from opendet.detections import Detections
from opendet.draw import draw_detections
from opendet.media.footage import BrokenFrame, Footage, Frame
from opendet.media.recording import Recording, recording
from opendet.predict_files import detect_each, picture_json
from opendet.progress import Advance
from opendet.sources.listing import printable

if TYPE_CHECKING:
    from PIL.Image import Image

    from opendet.predict_masks import Asked


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame and what was found in it."""

    number: int
    """From 0, in the film."""
    seconds: float
    """From the film's beginning."""
    image: "Image"
    detections: Detections


@dataclass(slots=True)
class Watched:
    """What came of a film."""

    frames: int = 0
    """Looked at."""
    broken: int = 0
    first_broken: str = ""
    """Its number, and what is wrong with it."""
    names: Counter[str] = field(default_factory=Counter)
    """The likeliest name of each object, in how many frames' objects."""

    def count(self, seen: SeenFrame) -> None:
        self.frames += 1
        self.names.update(names[0] for names in seen.detections.names)

    def refuse(self, frame: BrokenFrame) -> None:
        self.broken += 1
        self.first_broken = self.first_broken or f"frame {frame.number}: {frame.why}"


def detect_frames(
    detector: "Asked", frames: Iterable[Frame | BrokenFrame], *, at_once: int
) -> Iterator[SeenFrame | BrokenFrame]:
    """What is in each of the frames, in their order; `at_once` of them are in memory together."""
    waiting = iter(frames)
    while group := list(islice(waiting, at_once)):
        whole = [one.image for one in group if isinstance(one, Frame)]
        found = iter(detect_each(detector, whole))
        for one in group:
            if isinstance(one, BrokenFrame):
                yield one
            elif isinstance(said := next(found), str):
                yield BrokenFrame(one.number, said)
            else:
                yield SeenFrame(one.number, one.seconds, one.image, said)


def watch(
    detector: "Asked",
    frames: Footage,
    *,
    called: str,
    target: Path | None,
    tell: Callable[[str], None] | None,
    each: Callable[[SeenFrame], None],
    at_once: int,
    advance: Advance,
) -> Watched:
    """Look at a film to its end: what is found is drawn into the film `target`, and told as a line
    of JSON each, where these are given; `each` is handed every frame seen.

    A film without an end, a camera's, ends by Ctrl-C, and is whole then too.
    """
    watched = Watched()
    film: AbstractContextManager[Recording | None] = nullcontext()
    if target:
        film = recording(target, rate=frames.rate / frames.every)
    with film as made:
        for one in _until_stopped(detect_frames(detector, frames, at_once=at_once), frames):
            if isinstance(one, BrokenFrame):
                watched.refuse(one)
                continue
            watched.count(one)
            if made:
                made.add(draw_detections(one.image, one.detections), one.seconds)
            if tell:
                tell(frame_json(one, called))
            each(one)
            advance(watched.frames)
    return watched


def frame_json(seen: SeenFrame, called: str) -> str:
    """One line: as of an image, with the frame's number and its time."""
    return picture_json(
        seen.image,
        seen.detections,
        file=printable(called),
        frame=seen.number,
        seconds=round(seen.seconds, 3),
    )


def _until_stopped(
    seen: Iterator[SeenFrame | BrokenFrame], frames: Footage
) -> Iterator[SeenFrame | BrokenFrame]:
    """A camera has no end but this one; of a film, Ctrl-C leaves no half."""
    try:
        yield from seen
    except KeyboardInterrupt:
        if not frames.is_live:
            raise
