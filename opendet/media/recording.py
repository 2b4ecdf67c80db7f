"""A film that is written picture by picture, and is there when it is whole.

MP4, by the first of these that PyAV has: OpenH264's H.264; libvpx's VP9, which its own wheels have
and browsers show too; FFmpeg's own MPEG-4. x264 is left alone: it is under the GPL.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from opendet.files import fsync_path

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

TICK = Fraction(1, 60_000)
"""Seconds; the rates in use are whole numbers of it, or nearly, and MPEG-4 counts no finer."""
_ENCODERS: dict[str, dict[str, str]] = {
    "libopenh264": {},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "28", "b": "0"},
    "mpeg4": {},
}
_BITS = 0.15  # for a pixel, of encoders that are told no quality


class Recording:
    """A film in the making."""

    def __init__(self, container: Any, rate: Fraction) -> None:
        self._container, self._rate = container, rate
        self._stream: Any = None
        self._last = -1  # ticks
        self.frames = 0

    def add(self, image: "Picture", seconds: float) -> None:
        """The next picture, shown from then on; the first one's size is the film's."""
        import av

        if self._stream is None:
            self._stream = self._new_stream(_even(image.width), _even(image.height))
        size = self._stream.codec_context.width, self._stream.codec_context.height
        frame: Any = av.VideoFrame.from_image(_fitted(image, size))  # type: ignore[no-untyped-call]
        self._last = max(self._last + 1, round(seconds / TICK))
        frame.pts, frame.time_base = self._last, TICK
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def end(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _new_stream(self, width: int, height: int) -> Any:
        name = encoder()
        stream = self._container.add_stream(name, rate=self._rate, options=_ENCODERS[name])
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = TICK
        if not _ENCODERS[name]:
            stream.bit_rate = round(_BITS * width * height * float(self._rate))
        return stream


@contextmanager
def recording(path: Path, *, rate: Fraction) -> Iterator[Recording]:
    """Write a film to `path`; it appears when the block ends well, if it has a picture at all."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        with av.open(name, "w", format="mp4", options={"movflags": "+faststart"}) as container:
            made = Recording(container, rate)
            yield made
            made.end()
        if made.frames:
            Path(name).chmod(0o644)
            fsync_path(Path(name))
            Path(name).replace(path)
            fsync_path(path.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def encoder() -> str:
    """The first of those that we take that this PyAV has. Raises ValueError where it has none."""
    import av

    for name in _ENCODERS:
        if name in av.codecs_available:
            return name
    raise ValueError(
        f"this PyAV cannot write films ({', '.join(_ENCODERS)}): install its own wheel, or take "
        "--json, which writes none"
    )


def _even(side: int) -> int:
    """Colours are kept for 2 x 2 pixels together."""
    return side + side % 2


def _fitted(image: "Picture", size: tuple[int, int]) -> "Picture":
    """In the film's size: an odd side gets a black line, any other size is stretched."""
    if image.size == size:
        return image
    if (_even(image.width), _even(image.height)) == size:
        canvas = Image.new("RGB", size)
        canvas.paste(image)
        return canvas
    return image.resize(size)
