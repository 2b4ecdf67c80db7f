"""The settings of procedural scenes, apart from their drawing: every source card reads them."""

from pydantic import Field, model_validator

from opendet.section import Section


class SceneSettings(Section):
    """What scenes are drawn like."""

    seed: int = Field(default=0, ge=0)
    """Decides everything: the pictures, and which names are frequent, common, rare, unseen."""
    size: int = Field(default=128, ge=32, le=2048)
    """Pixels of the square picture's side."""
    min_objects: int = Field(default=2, ge=1)
    """Fewest objects of a scene, as long as there is room."""
    max_objects: int = Field(default=8, ge=1)
    """Most objects of a scene."""
    smallest: float = Field(default=0.125, gt=0, lt=1)
    """Longer side of the smallest object, as a share of the picture's side."""
    largest: float = Field(default=0.47, gt=0, lt=1)
    """Longer side of the largest object, as a share of the picture's side."""
    repeat_share: float = Field(default=0.2, ge=0, le=1)
    """Share of objects that repeat a name of their scene, so that there is something to count."""
    apart_share: float = Field(default=0.5, ge=0, le=1)
    """Share of objects that hide nothing, where there is room; the others lie where they fall."""

    @model_validator(mode="after")
    def _ordered(self) -> "SceneSettings":
        if self.min_objects > self.max_objects or self.smallest > self.largest:
            raise ValueError("min_objects <= max_objects and smallest <= largest must hold")
        return self
