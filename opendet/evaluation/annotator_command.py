"""The command `opendet data judge`. Light to import: what is heavy is imported when it is run."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from opendet.build import Build
    from opendet.evaluation.annotator_quality import AnnotatorQuality
    from opendet.evaluation.verdict_quality import VerdictQuality, Verdicts
    from opendet.record import Record

COLUMNS = {
    "ap": "AP",
    "ap50": "AP50",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "right_names": "right names",
    "box_ap50": "box AP50",
    "box_precision": "box precision",
    "box_recall": "box recall",
    "box_f1": "box F1",
    "mean_iou": "IoU",
}
"""Number of `AnnotatorQuality` -> its column."""
BELIEF = 0.5
"""Least belief where the build's filter has none."""


def judge_annotated(
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    stage: Annotated[
        str,
        typer.Option(help="Whose records: regions for the annotators, verify for the verifier."),
    ] = "regions",
    split: Annotated[str, typer.Option(help="One whose source's boxes are kept.")] = "val",
    min_belief: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least belief of the verifier; else the filter's, or 0.5."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Judge the build's annotators, and its verifier, by boxes and labels of the source.

    What the detectors found in val: [cyan]opendet data judge --build coco_tiny[/cyan]

    What is left of it after the filter: [cyan]opendet data judge --stage filter[/cyan]

    AP is COCO's; precision, recall and F1 are at an IoU of 0.5, of all that the stage kept. The
    first five columns ask for box and name, those called `box` for the box alone.
    """
    from opendet.build import Build
    from opendet.evaluation.annotator_quality import annotators_in, judge_annotators

    opened = Build.open(build)
    records = read_split(opened, stage, split)
    verdicts = _verdicts(opened, records, min_belief)
    qualities: list[AnnotatorQuality] = []
    # Of a build whose boxes are the source's alone the verifier can be judged all the same.
    if annotators_in(records) or not verdicts:
        try:
            qualities = judge_annotators(records)
        except ValueError as error:
            raise ValueError(f"{opened.name}, stage {stage}, split {split}: {error}") from error
    if as_json:
        typer.echo(json.dumps(quality_json(qualities, verdicts), indent=1))
    else:
        from opendet.inspect.tables import show

        show(*quality_lines(qualities, verdicts))


def read_split(build: "Build", stage: str, split: str) -> "list[Record]":
    """A split's records of a stage. Raises ValueError, in one line, where there are none."""
    from opendet.stage_order import RECORD_STAGES, known_stage

    if known_stage(stage) not in RECORD_STAGES:
        raise ValueError(f"the stage {stage} has no records; {', '.join(RECORD_STAGES)} have")
    manifest = build.manifest(stage)
    parts = manifest.of_split(split)
    if not parts:
        there = ", ".join(sorted({part.shard.split for part in manifest.parts})) or "none"
        raise ValueError(f"the build {build.name} has no split {split!r}; it has {there}")
    return list(build.records(stage, parts))


def quality_json(qualities: "Sequence[AnnotatorQuality]", verdicts: "Verdicts") -> dict[str, Any]:
    """All numbers; null where there is nothing to measure, and for verdicts that there are not."""
    kinds = {"names": verdicts.names, "boxes": verdicts.boxes}
    return {
        "annotators": [_finite(asdict(one)) for one in qualities],
        "verdicts": {kind: one and _finite(asdict(one)) for kind, one in kinds.items()},
    }


def quality_lines(
    qualities: "Sequence[AnnotatorQuality]", verdicts: "Verdicts"
) -> "Iterator[Table | str]":
    """A row for each annotator, a line for each kind of verdict; for people."""
    if qualities:
        yield _table(qualities)
        yield f"{qualities[0].images} images, {qualities[0].objects} objects of the source"
    for kind, quality in (("names", verdicts.names), ("boxes", verdicts.boxes)):
        if quality is not None:
            yield _verdict_line(kind, quality)


def _table(qualities: "Sequence[AnnotatorQuality]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("annotator", overflow="fold")
    for column in ("boxes", *COLUMNS.values()):
        table.add_column(column, justify="right")
    models = [one.annotator for one in qualities]
    for one in qualities:
        twice = models.count(one.annotator) > 1
        called = f"{one.annotator} {one.revision}".strip() if twice else one.annotator
        numbers = [_shown(getattr(one, name)) for name in COLUMNS]
        table.add_row(called, str(one.boxes), *numbers)
    return table


def _verdicts(build: "Build", records: "Sequence[Record]", min_belief: float | None) -> "Verdicts":
    """Names and boxes each at its own threshold."""
    from opendet.evaluation.verdict_quality import Verdicts, verdict_quality

    rules = build.config.filter
    asked = (rules.min_name_belief, rules.min_box_belief)
    of_name, of_box = (
        next(one for one in (min_belief, rule, BELIEF) if one is not None) for rule in asked
    )
    return Verdicts(verdict_quality(records, of_name).names, verdict_quality(records, of_box).boxes)


def _verdict_line(kind: str, quality: "VerdictQuality") -> str:
    return (
        f"verdicts on {kind}: {quality.accepted} of {quality.judged} accepted, "
        f"precision {_shown(quality.precision)}, recall {_shown(quality.recall)}, "
        f"{_shown(quality.caught)} of the wrong ones caught"
    )


def _shown(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.3f}"


def _finite(numbers: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(one, float) and math.isnan(one) else one
        for name, one in numbers.items()
    }
