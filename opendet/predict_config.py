"""What can be set of detecting. Light to import: no torch here."""

from pydantic import Field

from opendet.section import Section


class PredictConfig(Section):
    """What is kept of a picture, and how it is named."""

    score_threshold: float = Field(default=0.05, ge=0, le=1)
    """Objects below it are dropped before they are named."""
    max_objects: int = Field(default=100, ge=1)
    """At most so many objects of an image, the surest first."""
    beams: int = Field(default=0, ge=0)
    """Names per object; 0 for as many as the namer was configured with."""
    batch_size: int = Field(default=8, ge=1)
    """Images that the detector sees at once."""
    naming_batch: int = Field(default=256, ge=1)
    """Objects that are named at once."""
    device: str = "auto"
    """`auto` takes the first GPU where there is one, else the CPU."""
