"""The knobs of the stage `evaluate`."""

from typing import Any, Literal

from pydantic import Field, model_validator

from opendet.annotators.segment import SegmentConfig
from opendet.predict_config import NamingConfig
from opendet.section import Section

GENERATEU: dict[str, Any] = {
    "score_threshold": 0.0,
    "max_detections": 300,
    "beams": 3,
    "reading": "joined",
    "template": "a {name}",
    "top_classes": 15,
    "temperature": 100.0,
    "per_class": 10_000,
}
"""What the protocol of GenerateU (Lin et al. 2024) fixes; its text tower is CLIP ViT-L/14@336."""


class EvaluateConfig(Section):
    """How the trained detector is judged."""

    protocol: Literal["own", "generateu"] = "own"
    """`generateu` fixes every knob of how words are read and counted to GenerateU's; `own` takes
    them from the fields below. Other readings are reported apart, as `alternatives`."""
    split: Literal["train", "val", "test"] = "val"
    """The split that is judged."""
    batch_size: int = Field(default=8, ge=1)
    """Images given to the detector at once."""
    naming: NamingConfig = NamingConfig()
    """Who names, and whether the name joins the score; a vocabulary is the classes that are
    judged."""
    score_threshold: float = Field(default=0.05, ge=0, le=1)
    """Detections below it are not judged."""
    max_detections: int = Field(default=100, ge=1)
    """Detections judged of one image, best first."""
    beams: int = Field(default=0, ge=0)
    """Names per object; 0 for as many as the namer was configured with."""
    reading: Literal["joined", "first", "mean", "max"] = "joined"
    """What stands for a detection's names: all beams in one text, the first beam alone, or each
    class's mean or largest cosine over the beams."""
    template: str = Field(default="a {name}", pattern=r"\{name\}")
    """Text that stands for a name or for the joined beams; best what the judge was trained on."""
    top_classes: int = Field(default=15, ge=1)
    """Classes that one detection's names are read as."""
    temperature: float = Field(default=100.0, gt=0)
    """Factor on the text cosines before the softmax over all class names."""
    per_class: int | None = Field(default=None, ge=1)
    """Best detections kept of one class over the whole split; 10000 is LVIS's fixed AP, None keeps
    all."""
    temperatures: tuple[float, ...] = (50.0, 200.0)
    """Temperatures whose numbers are reported apart."""
    match_iou: float = Field(default=0.5, gt=0, le=1)
    """Overlap from which a detection counts as having found an object whose name is judged."""
    masks: SegmentConfig = SegmentConfig()
    """The model that draws a mask into every box that is judged, so that masks are judged too; an
    object whose mask it does not draw, or draws below `min_score`, counts as missed by mask."""
    frequent_from: int = Field(default=100, ge=1)
    """A label that training names at least so often is `frequent`, where the source gives no
    tiers."""
    common_from: int = Field(default=10, ge=1)
    """A label that training names at least so often is `common`; below it `rare`, never
    `unseen`."""

    @model_validator(mode="before")
    @classmethod
    def _fixed_by_protocol(cls, given: Any) -> Any:
        """A protocol is whole or it is none: a knob of it that says something else is an error."""
        if not isinstance(given, dict) or given.get("protocol") != "generateu":
            return given
        for name, fixed in GENERATEU.items():
            if given.get(name, fixed) != fixed:
                raise ValueError(
                    f"the protocol generateu has {name} {fixed!r}, not {given[name]!r}: take the "
                    "line out, or the protocol own"
                )
        return {**given, **GENERATEU}


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
