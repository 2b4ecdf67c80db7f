"""Images that are small as files and huge as pixels."""

import io
import subprocess
import sys
from pathlib import Path

from PIL import Image

from opendet.faults.rows import Effort, Shown, Tally

MEGABYTES = 50
"""That the process may grow by."""
BOMBS = (
    *(("inspect_image", kind, side) for kind, side in (("PNG", 20_000), ("PNG", 12_000))),
    *(("inspect_image", kind, 7_200) for kind in ("JPEG", "WEBP")),
    ("inspect_image", "PNG", 7_100),
    *(("decode_upright", kind, side) for kind, side in (("PNG", 20_000), ("PNG", 9_500))),
    *(("decode_upright", kind, 9_500) for kind in ("JPEG", "WEBP")),
)
"""Who reads it, and what. The stage `source` inspects: above Pillow's error, above its warning, and
above our own limit alone. The trainer and `detect` decode, also what a configuration let pass."""
_LOOK = """
import io, resource, sys
from PIL import Image
from opendet.sources import images
read = getattr(images, sys.argv[3])
warm = io.BytesIO()
Image.new("RGB", (64, 64)).save(warm, sys.argv[2])
read(warm.getvalue())
content = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read(content)
except images.BadImageError as bad:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(bad.reason, grown // 1024, sep=",")
"""


def bombs(effort: Effort) -> Shown:
    """Let each be read as the program does, and see how much memory that takes."""
    tally, most = Tally(), 0
    for number in effort.tries(len(BOMBS), least=len(BOMBS)):
        reader, kind, side = BOMBS[number]
        path = write_bomb(effort.folder / f"bomb-{number}", kind, side)
        ran = subprocess.run(
            [sys.executable, "-c", _LOOK, str(path), kind, reader],
            capture_output=True,
            text=True,
            check=False,
        )
        reason, _, grown = ran.stdout.strip().partition(",")
        most = max(most, int(grown or 0))
        good = reason == "too many pixels" and int(grown) < MEGABYTES
        told = f"{reader}, {kind} of {side} pixels a side: "
        tally.add("" if good else f"{told}{ran.stdout.strip() or ran.stderr[-80:]!r}")
    return tally.shown(f"refused; memory grew by at most {most} MB, {MEGABYTES} allowed")


def write_bomb(path: Path, kind: str, side: int) -> Path:
    """A file of one colour, `side` pixels wide and high. Decoded it takes far more than is allowed:
    4 bytes a pixel of RGB; of the largest, which are to be made in bounded memory, one."""
    file = io.BytesIO()
    image = Image.new("1" if kind == "PNG" and side > 9_000 else "RGB", (side, side))
    image.save(file, kind, method=0, compress_level=1, quality=1)
    path.write_bytes(file.getvalue())
    return path
