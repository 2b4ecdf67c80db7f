"""Masks as COCO's files have them, polygons or run-length codes (RLE), made compressed RLE.

N masks; H, W height and width of a mask's image in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag

LONGEST_SIDE = 100_000
"""Pixels: COCO's ranges of size end at its square."""

Coordinate = Annotated[float, Field(ge=-LONGEST_SIDE, le=LONGEST_SIDE)]
"""Pixels; a polygon's outline is walked pixel by pixel, so that one far away would fill memory."""
Polygon = Annotated[tuple[Coordinate, ...], Field(min_length=6)]
"""x, y of its corners in turn. COCO's library takes four numbers for a box: they are refused."""


@dataclass(frozen=True, slots=True)
class Rle:
    """How many pixels, down the columns from the left, are outside, inside, outside and so on."""

    size: tuple[int, int]
    """H, W."""
    counts: tuple[int, ...] | str
    """The numbers, or COCO's compressed text of them."""


_Polygons = Annotated[tuple[Polygon, ...], Field(min_length=1)]
Segmentation = Annotated[
    Annotated[Rle, Tag("rle")] | Annotated[_Polygons, Tag("polygons")],
    Discriminator(lambda value: "rle" if isinstance(value, dict) else "polygons"),
]


def compressed(
    segmentation: Rle | Sequence[Polygon], size_hw: tuple[int, int], place: str
) -> dict[str, Any]:
    """A code as `Masks` hold them; an object's polygons are joined.

    Raises ValueError, naming the place, for a mask that is none of an image of that size.
    """
    from faster_coco_eval.core.mask import segmToRle

    height, width = size_hw
    if isinstance(segmentation, Rle):
        plain: Any = {"size": [height, width], "counts": _counts(segmentation, size_hw, place)}
    else:
        odd = next((n for n, one in enumerate(segmentation) if len(one) % 2), None)
        if odd is not None:
            raise ValueError(f"{place}.{odd} has an x without a y: write both for every corner")
        plain = [list(one) for one in segmentation]
    return segmToRle(plain, width, height)  # type: ignore[no-any-return]


def turned(code: dict[str, Any], orientation: int) -> dict[str, Any]:
    """A code of the image as it is stored, of the image as EXIF's orientation 1 to 8 shows it."""
    if orientation == 1:
        return code
    from faster_coco_eval.core.mask import decode, encode

    stored = decode(code)  # (H, W)
    match orientation:
        case 2:  # mirrored from left to right
            shown = stored[:, ::-1]
        case 3:  # turned half round
            shown = stored[::-1, ::-1]
        case 4:  # mirrored from top to bottom
            shown = stored[::-1]
        case 5:  # transposed
            shown = stored.T
        case 6:  # to be turned clockwise
            shown = np.rot90(stored, -1)
        case 7:  # transposed along the other diagonal
            shown = np.rot90(stored, 2).T
        case 8:  # to be turned counter-clockwise
            shown = np.rot90(stored)
        case _:
            raise AssertionError(f"EXIF knows no orientation {orientation}")
    return encode(np.asfortranarray(shown))  # type: ignore[no-any-return]


def mask_areas(codes: Sequence[Any]) -> NDArray[np.float64]:
    """(N,) pixels inside."""
    from faster_coco_eval.core.mask import area

    return np.asarray(area(list(codes)), np.float64)


def mask_boxes_xywh(codes: Sequence[Any]) -> NDArray[np.float64]:
    """(N, 4) pixels."""
    from faster_coco_eval.core.mask import toBbox

    return np.asarray(toBbox(list(codes)), np.float64).reshape(-1, 4)


def _counts(rle: Rle, size_hw: tuple[int, int], place: str) -> list[int]:
    """The numbers of a code that covers the image, no more and no less."""
    from faster_coco_eval.mask_api_new_cpp import toUncompressedRLE

    height, width = size_hw
    if rle.size != size_hw:
        raise ValueError(f"{place}.size {list(rle.size)} is not its image's [{height}, {width}]")
    if isinstance(rle.counts, str):
        try:
            [plain] = toUncompressedRLE([{"size": [height, width], "counts": rle.counts}])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{place}.counts is no RLE: {error}") from error
        counts = list(plain["counts"])
    else:
        counts = list(rle.counts)
    if min(counts, default=0) < 0:
        raise ValueError(f"{place}.counts is no RLE: a run has {min(counts)} pixels")
    if sum(counts) != height * width:
        raise ValueError(
            f"{place}.counts is no RLE of its image: it has {sum(counts)} pixels and the image "
            f"{height * width}"
        )
    return counts
