"""Open-Det: images in, curated and verified training data and an open-ended detector out.

`from opendet import OpenDet` is a trained detector; torch is imported when it is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opendet.open_det import OpenDet

__all__ = ["OpenDet", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name != "OpenDet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from opendet.open_det import OpenDet

    return OpenDet
