"""What can be set of detecting. Light to import: no torch here."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from opendet.section import Section

NamerChoice = Literal["auto", "t5", "prototypes", "vocabulary", "cascade"]
ScoreChoice = Literal["auto", "object", "named"]

CERTAINTY_TEMPERATURE = 0.01
"""CLIP's own. How sure the prototypes of a cascade are is told at it: at the .07 of DeCo-DETR's
head hundreds of names share what is likely, however clear the case is."""


class NamingConfig(Section):
    """Who names what was found, and whether the name joins its score."""

    namer: NamerChoice = "auto"
    """Who names: the T5 that writes, the nearest prototypes, a list of names (`vocabulary`), or
    prototypes first and the T5 where they are unsure (`cascade`). `auto`: a list that is given,
    else the T5 where the model has one, else the prototypes."""
    vocabulary_by: Literal["auto", "prototypes", "alignment", "prompts"] = "auto"
    """How objects are compared with it: by the prototype head's semantic predictor, by the aligner
    of training, or by their prompts; `auto` takes the first that the model has."""
    unsure_below: float = Field(default=0.6, ge=0, le=1)
    """Of the cascade: names of prototypes that are at most so likely, at CLIP's temperature of .01,
    are left to the T5."""
    score: ScoreChoice = "auto"
    """An object's score: that there is one (`object`), or that times the probability of its first
    name (`named`). `auto`: `named` for prototypes and for a vocabulary, `object` for a T5 and for
    the cascade, whose two namers' probabilities are not of one kind."""


class PredictConfig(NamingConfig):
    """What is kept of a picture, and how it is named."""

    score_threshold: float = Field(default=0.05, ge=0, le=1)
    """Objects below it are dropped before they are named: it is of the object, whatever `score`
    makes of its name."""
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
    names: tuple[str, ...] = ()
    """The names that are meant: of the vocabulary, all of it where empty; without one, of the
    prototypes, which need no text vectors."""
    vocabulary: Path | None = None
    """A file of names and their text vectors, as `opendet vocabulary` writes it."""

    @model_validator(mode="after")
    def _list_has_a_reader(self) -> Self:
        if self.namer in ("t5", "cascade") and (self.names or self.vocabulary):
            raise ValueError(
                f"namer {self.namer} writes what it likes: leave names and vocabulary out, or take "
                "namer vocabulary or prototypes"
            )
        if self.namer == "prototypes" and self.vocabulary:
            raise ValueError(
                "namer prototypes has vectors of its own: leave vocabulary out, or take namer "
                "vocabulary"
            )
        return self
