"""What flows through a stage: samples in, records or refusals out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opendet.record import Record

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Sample:
    """A record on its way through a stage, with as much of its image as the stage asked for."""

    record: Record
    pixels: "Image | None" = None
    """The upright image in RGB, where the stage reads pixels."""
    content: bytes = b""
    """The file's own bytes, where the stage packs them."""

    @property
    def key(self) -> str:
        return self.record.key


@dataclass(frozen=True, slots=True)
class Dropped:
    """A sample that a stage refused: it leaves the flow and stays in the ledger."""

    key: str
    reason: str
    """A short stable phrase that can be counted, such as `exact duplicate`."""
    detail: str = ""
    """What concerns this sample alone, such as the key of the twin."""
