"""What an image's annotations are good for, and how its record tells. Light to import."""

from typing import Literal

from opendet.record import Record

AnnotationKind = Literal["box", "pseudo_box", "image"]
"""What an image's annotations are good for: boxes that people drew; boxes that a model drew, whose
places are not to be trusted; a caption of the whole image. GenerateU's `anno_type`."""

KINDS: tuple[AnnotationKind, ...] = ("box", "pseudo_box", "image")

KindChoice = Literal["auto", "box", "pseudo_box", "image"]
"""A kind, or `auto`: each record tells its own."""

_PEOPLE = "source"
"""The provenance of the data's own annotations (`opendet.record.Provenance.model`)."""


def kind_of(record: Record, choice: KindChoice) -> AnnotationKind:
    """The choice, or what the record says for itself: a caption and no object to learn from is
    `image`; an object whose box a model drew makes it `pseudo_box`; else it is `box`, an image
    without objects and caption too."""
    if choice != "auto":
        return choice
    objects = [region for region in record.regions if region.has_object]
    if not objects:
        return "image" if record.caption else "box"
    drawn_by_people = all(region.box_from.model == _PEOPLE for region in objects)
    return "box" if drawn_by_people else "pseudo_box"


def teaches(record: Record, kind: AnnotationKind) -> bool:
    """Whether there is anything to see in it: a caption of an `image`, else an object."""
    if kind == "image":
        return bool(record.caption)
    return any(region.has_object for region in record.regions)
