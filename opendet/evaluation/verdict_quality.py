"""How good the verifier's verdicts are where the source knows the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan

from opendet.evaluation.annotator_truth import IOU, SOURCE, Scene, first_name, words_of
from opendet.record import Provenance, Record, Region

TIGHT_IOU = 0.75
"""Overlap with an object from which a box is tight in truth."""


@dataclass(frozen=True, slots=True)
class VerdictQuality:
    """Verdicts of one kind; NaN where there is nothing to measure."""

    judged: int
    """Verdicts whose truth is known."""
    right: int
    """Names or boxes that are right in truth."""
    accepted: int
    """Those that the verifier believes in, at the threshold."""
    precision: float
    """Of the accepted, the share that is right."""
    recall: float
    """Of the right, the share that is accepted."""
    caught: float
    """Of the wrong, the share that is not accepted."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """None of a kind where no verdict has a known truth."""

    names: VerdictQuality | None
    boxes: VerdictQuality | None

    def __bool__(self) -> bool:
        return self.names is not None or self.boxes is not None


def verdict_quality(records: Sequence[Record], threshold: float) -> Verdicts:
    """The verdicts on first names and on boxes, refused regions' too, at one least belief.

    The records are of splits whose source's boxes are kept. The source's own region has its name
    right where it is the label or another one; an annotator's where an object there (IoU >= 0.5) or
    a crowd that it lies in is called so. A box is right from an IoU of 0.75 with an object; the
    source's own boxes are the truth, so verdicts on them tell nothing.
    """
    scenes = [Scene.of(record) for record in records]
    if not any(scene.objects or scene.crowds for scene in scenes):
        return Verdicts(None, None)
    names: list[tuple[float, bool]] = []
    boxes: list[tuple[float, bool]] = []
    for record, scene in zip(records, scenes, strict=True):
        names += _known(record, "name_checked", scene)
        boxes += _known(record, "box_checked", scene)
    return Verdicts(_quality(names, threshold), _quality(boxes, threshold))


def _known(record: Record, verdict: str, scene: Scene) -> Iterator[tuple[float, bool]]:
    """Belief, and whether it is so, for each verdict whose truth is known."""
    for region in record.regions:
        said: Provenance | None = getattr(region, verdict)
        if said is None or said.score is None:
            continue
        of_name = verdict == "name_checked"
        right = name_is_right(region, scene) if of_name else box_is_tight(region, scene)
        if right is not None:
            yield said.score, right


def name_is_right(region: Region, scene: Scene) -> bool | None:
    """None where nobody can say: it has no name, or the source has none for what is there."""
    name = first_name(region)
    if not name:
        return None
    if region.box_from.model == SOURCE:
        return None if region.label is None else name in words_of(region)
    there = scene.overlaps([region])[0] >= IOU  # (M,)
    inside = scene.in_crowds([region])[0]  # (K,)
    if (there & scene.called([name])[0]).any() or (inside & scene.crowds_called([name])[0]).any():
        return True
    unnamed = any(
        one.label is None for one, is_there in zip(scene.objects, there, strict=True) if is_there
    )
    return None if unnamed else False


def box_is_tight(region: Region, scene: Scene) -> bool | None:
    """None where nobody can say: it is the truth itself, or lies in a crowd."""
    if region.box_from.model == SOURCE:
        return None
    if (scene.overlaps([region]) >= TIGHT_IOU).any():
        return True
    return None if scene.in_crowds([region]).any() else False


def _quality(verdicts: Sequence[tuple[float, bool]], threshold: float) -> VerdictQuality | None:
    if not verdicts:
        return None
    right = sum(so for _, so in verdicts)
    accepted = sum(belief >= threshold for belief, _ in verdicts)
    both = sum(so and belief >= threshold for belief, so in verdicts)
    wrong = len(verdicts) - right
    return VerdictQuality(
        judged=len(verdicts),
        right=right,
        accepted=accepted,
        precision=both / accepted if accepted else nan,
        recall=both / right if right else nan,
        caught=(wrong - (accepted - both)) / wrong if wrong else nan,
    )
