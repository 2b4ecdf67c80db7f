"""Pictures for builds that are measured: quickly drawn, none like another, sized like photographs.

Each is a coarse pattern of its own number under a texture that all share, so that 640 x 480 pixels
make some 100 KB.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from opendet.faults.toy_project import picture

A_FOLDER = 1000
"""Pictures of one folder."""


def write_pictures(folder: Path, count: int, size_wh: tuple[int, int]) -> None:
    """Write `count` JPEGs below the folder; the same ones each time."""
    width, height = size_wh
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    texture = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(0.8))
    for number in range(count):
        place = folder / f"{number // A_FOLDER:04d}"
        if number % A_FOLDER == 0:
            place.mkdir(parents=True)
        file = io.BytesIO()
        Image.blend(picture(number, size_wh), texture, 0.6).save(file, "JPEG", quality=85)
        (place / f"{number:07d}.jpg").write_bytes(file.getvalue())
