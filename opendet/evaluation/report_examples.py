"""The report's examples: pictures and crops, chosen evenly and never by their result."""

from collections.abc import Callable
from dataclasses import dataclass

from opendet.curate.filter import precision_recall
from opendet.curate.pool import Prototype
from opendet.evaluation.config import ReportConfig
from opendet.evaluation.report_inputs import ReportInputs
from opendet.evaluation.report_pictures import (
    Comparison,
    Crop,
    ReadImage,
    compare,
    crop_of,
    crop_uri,
    evenly,
)
from opendet.evaluation.report_sections import (
    filter_tally,
    filtered_regions,
    grammar_wrote,
    is_wrong,
)
from opendet.record import Region
from opendet.sources.images import decode_upright


@dataclass(frozen=True, slots=True)
class PlantedErrors:
    """How the agreement rule did on names that are known to be wrong or right."""

    planted: int
    caught: int
    refused: int
    precision: str
    recall: str
    caught_crops: tuple[Crop, ...]
    missed_crops: tuple[Crop, ...]
    wrongly_refused_crops: tuple[Crop, ...]


@dataclass(frozen=True, slots=True)
class PoolEntry:
    prototype: Prototype
    uri: str
    """Crop of the medoid; empty where its image is not at hand."""


def planted_errors(
    inputs: ReportInputs, read_image: ReadImage, config: ReportConfig
) -> PlantedErrors | None:
    """None where nothing was planted, or nobody judged it."""
    tally = filter_tally(inputs)
    if not tally.get("planted.judged") or not grammar_wrote(inputs):
        return None
    precision, recall = precision_recall(tally)

    def crops(wanted: Callable[[Region], bool]) -> tuple[Crop, ...]:
        return _example_crops(inputs, wanted, read_image, config.crops)

    return PlantedErrors(
        planted=tally["planted.judged"],
        caught=tally.get("planted.caught", 0),
        refused=tally.get("disagrees", 0),
        precision="none refused" if precision is None else f"{precision:.1%}",
        recall=f"{recall:.1%}",
        caught_crops=crops(lambda one: is_wrong(one) and one.refusal == "disagrees"),
        missed_crops=crops(lambda one: is_wrong(one) and one.kept),
        wrongly_refused_crops=crops(lambda one: not is_wrong(one) and one.refusal == "disagrees"),
    )


def comparisons(
    inputs: ReportInputs, read_image: ReadImage, config: ReportConfig, match_iou: float
) -> list[Comparison]:
    """Pictures evenly through the judged split, of those that hold an object."""
    by_key = {record.key: record for record in inputs.records}
    shown = [
        (by_key[one.key], one)
        for one in inputs.predictions
        if one.key in by_key and any(region.label for region in by_key[one.key].regions)
    ]
    return [
        compare(
            shown[place][0],
            shown[place][1],
            read_image(shown[place][0]),
            shown_above=config.shown_above,
            match_iou=match_iou,
        )
        for place in evenly(len(shown), config.pictures)
    ]


def pool_entries(
    inputs: ReportInputs, read_image: ReadImage, config: ReportConfig
) -> list[PoolEntry]:
    """The largest prototypes of the finer level that there is, each with its medoid."""
    by_key = {record.key: record for record in inputs.records}
    fine = [one for one in inputs.pool if one.level == "fine"] or list(inputs.pool)
    largest = sorted(fine, key=lambda one: (-one.size, one.index))
    entries = []
    for prototype in largest[: config.prototypes]:
        record, uri = by_key.get(prototype.medoid.key), ""
        if record is not None and prototype.medoid.region < len(record.regions):
            box_xyxy = record.regions[prototype.medoid.region].box_xyxy
            uri = crop_uri(decode_upright(read_image(record)), box_xyxy)
        entries.append(PoolEntry(prototype, uri))
    return entries


def _example_crops(
    inputs: ReportInputs,
    wanted: Callable[[Region], bool],
    read_image: ReadImage,
    most: int,
) -> tuple[Crop, ...]:
    found = [(record, one) for record, one in filtered_regions(inputs) if one.names and wanted(one)]
    chosen = [found[place] for place in evenly(len(found), most)]
    return tuple(crop_of(record, one, read_image(record)) for record, one in chosen)
