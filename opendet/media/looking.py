"""Shows a detector one input after the other, and gives what it saw: drawings, lines, or JSON."""

import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from opendet.console import say_wrong
from opendet.draw import draw_detections
from opendet.files import write_durably
from opendet.inspect.tables import show
from opendet.media.footage import Footage, footage, live
from opendet.media.inputs import Camera, Film, Shown
from opendet.media.watching import Watched, watch
from opendet.predict_files import Seen, Unseen, detect_files, drawing_paths, seen_json
from opendet.progress import Advance, progress

if TYPE_CHECKING:
    from opendet.predict_masks import Asked

_NAMES_TOLD = 5  # of a film, the most frequent


def _nothing(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Look:
    """What becomes of what is seen."""

    out: Path | None = None
    """A folder for drawings; None draws none."""
    as_json: bool = False
    """Lines of JSON in place of lines for people."""
    every: int = 1
    """Of a film, the first of so many frames, and so on."""
    at_once: int = 8
    """Pictures in memory together."""
    each: Callable[[str], None] = _nothing
    """Called after each picture with its name, such as `photo`, or of a frame `clip-000030`."""


@dataclass(frozen=True, slots=True)
class _Job:
    shown: Shown
    called: str
    stem: str
    """What its files are called, without their endings."""
    target: Path | None


def look_at(detector: "Asked", shown: Sequence[Shown], look: Look) -> int:
    """Look at everything, in order; gives how many inputs could not be looked at, or not whole.

    What is wrong with one of them is a line on stderr, and the next one's turn.
    """
    wrong = 0
    kinds = groupby(_jobs(shown, look), key=lambda job: isinstance(job.shown, Path))
    for are_stills, jobs in kinds:
        if are_stills:
            wrong += _stills(detector, list(jobs), look)
        else:
            wrong += sum(_film(detector, job, look) for job in jobs)
    return wrong


def _jobs(shown: Sequence[Shown], look: Look) -> Iterator[_Job]:
    paths = [_path_of(one) for one in shown]
    films = {_path_of(one) for one in shown if not isinstance(one, Path)}
    targets = drawing_paths(paths, look.out or Path(), films=films)
    for one, path, target in zip(shown, paths, targets, strict=True):
        yield _Job(one, str(path), target.stem, target if look.out else None)


def _path_of(one: Shown) -> Path:
    if isinstance(one, Camera):
        return Path(f"webcam-{one.index}")
    return one.path if isinstance(one, Film) else one


def _stills(detector: "Asked", jobs: Sequence[_Job], look: Look) -> int:
    seen = detect_files(detector, [Path(job.called) for job in jobs], at_once=look.at_once)
    wrong = 0
    with _advancing("images", len(jobs), look) as advance:
        for done, (one, job) in enumerate(zip(seen, jobs, strict=True), 1):
            if isinstance(one, Unseen):
                wrong += 1
                say_wrong(f"{one.path}: {one.why}")
            else:
                _give(one, job, look)
            advance(done)
    return wrong


def _give(seen: Seen, job: _Job, look: Look) -> None:
    """Draws what was seen where there is a place for it, and says it in a line."""
    look.each(job.stem)
    if job.target:
        content = io.BytesIO()
        draw_detections(seen.image, seen.detections).save(content, "PNG")
        write_durably(job.target, content.getvalue())
    if look.as_json:
        typer.echo(seen_json(seen))
    else:
        names = ", ".join(names[0] for names in seen.detections.names) or "nothing found"
        show(f"{seen.path}: {names}{_drawn(job)}")


def _film(detector: "Asked", job: _Job, look: Look) -> int:
    """Whether anything of a film or a camera is wrong."""
    try:
        with _opened(job.shown, look) as frames:
            watched = _watched(detector, frames, job, look)
    except BrokenPipeError:  # who reads our lines has seen enough: no fault of the film's
        raise
    except (ValueError, OSError) as error:
        say_wrong(f"{job.called}: {error}")
        return 1
    if not look.as_json:
        show(f"{job.called}: {_summary(watched)}{_drawn(job) if watched.frames else ''}")
    if watched.broken:
        told = "a frame is" if watched.broken == 1 else f"{watched.broken} frames are"
        say_wrong(f"{job.called}: {told} broken ({watched.first_broken}); the rest was looked at")
    return int(watched.broken > 0)


def _watched(detector: "Asked", frames: Footage, job: _Job, look: Look) -> Watched:
    with _advancing(job.called, frames.looked_at, look) as advance:
        return watch(
            detector,
            frames,
            called=job.called,
            target=job.target,
            tell=typer.echo if look.as_json else None,
            each=lambda seen: look.each(f"{job.stem}-{seen.number:06d}"),
            at_once=1 if frames.is_live else look.at_once,  # nobody waits for eight of a camera
            advance=advance,
        )


def _opened(shown: Shown, look: Look) -> AbstractContextManager[Footage]:
    if isinstance(shown, Camera):
        return live(shown.index, every=look.every)
    assert isinstance(shown, Film)
    return footage(shown.path, every=look.every)


def _summary(watched: Watched) -> str:
    return f"{watched.frames} frames, {_most_frequent(watched.names) or 'nothing found'}"


def _most_frequent(names: Counter[str]) -> str:
    told = [f"{name} {count}" for name, count in names.most_common(_NAMES_TOLD)]
    more = len(names) - len(told)
    return ", ".join([*told, f"{more} more names"] if more else told)


def _drawn(job: _Job) -> str:
    return f" -> {job.target}" if job.target else ""


@contextmanager
def _advancing(title: str, total: int, look: Look) -> Iterator[Advance]:
    """A bar, where somebody sees it and something else is not the same news: lines of JSON on a
    terminal, or a camera, which has no end."""
    out = sys.stdout
    if not total or (look.as_json and out.isatty()):
        yield _silent
    elif out.isatty():
        with progress(title, total) as advance:
            yield advance
    else:  # rich would print our lines above its bar, and so on stderr
        with progress(title, total) as advance, redirect_stdout(out):
            yield advance


def _silent(done: int, note: str = "") -> None:
    pass
