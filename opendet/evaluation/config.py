"""The knobs of the stage `evaluate`."""

from typing import Literal

from pydantic import Field

from opendet.section import Section


class EvaluateConfig(Section):
    """How the trained detector is judged."""

    split: Literal["train", "val", "test"] = "val"
    """The split that is judged."""
    batch_size: int = Field(default=8, ge=1)
    """Images given to the detector at once."""
    score_threshold: float = Field(default=0.05, ge=0, le=1)
    """Detections below it are not judged. Use 0 with the protocol `generateu`."""
    max_detections: int = Field(default=100, ge=1)
    """Detections judged of one image, best first. GenerateU uses 300."""
    reading: Literal["joined", "first"] = "joined"
    """What stands for a detection's names: all beams in one text, as GenerateU has it, or the first
    beam alone. The first beam's numbers are always reported apart."""
    template: str = "a {name}"
    """Text that stands for a name or for the joined beams; best what the judge was trained on."""
    top_classes: int = Field(default=15, ge=1)
    """Classes that one detection's names are read as."""
    temperature: float = Field(default=100.0, gt=0)
    """Factor on the text cosines before the softmax over all class names."""
    per_class: int | None = Field(default=None, ge=1)
    """Best detections kept of one class over the whole split; 10000 is LVIS's fixed AP, None keeps
    all."""
    match_iou: float = Field(default=0.5, gt=0, le=1)
    """Overlap from which a detection counts as having found an object whose name is judged."""
    frequent_from: int = Field(default=100, ge=1)
    """A label that training names at least so often is `frequent`, where the source gives no
    tiers."""
    common_from: int = Field(default=10, ge=1)
    """A label that training names at least so often is `common`; below it `rare`, never
    `unseen`."""


class ReportConfig(Section):
    """What the report shows."""

    pictures: int = Field(default=6, ge=0)
    """Images with truth beside prediction."""
    crops: int = Field(default=8, ge=0)
    """Example crops of each outcome: planted errors caught, missed, and good names refused."""
    prototypes: int = Field(default=18, ge=0)
    """Prototypes whose medoid is shown."""
    shown_above: float = Field(default=0.3, ge=0, le=1)
    """Score from which a prediction is drawn."""
