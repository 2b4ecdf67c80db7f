"""The report's sections as plain values: what is counted, compared and said, before any HTML."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opendet.curate.filter import precision_recall
from opendet.curate.pool import Prototype
from opendet.evaluation.config import ReportConfig
from opendet.evaluation.report_charts import (
    SMALL,
    WIDE,
    Histogram,
    LineChart,
    histogram,
    line_chart,
)
from opendet.evaluation.report_inputs import ReportInputs, StageLedger
from opendet.evaluation.report_pictures import (
    Comparison,
    Crop,
    ReadImage,
    compare,
    crop_of,
    crop_uri,
    evenly,
    open_upright,
)
from opendet.record import Provenance, Record, Region

_FLOW = ("source", "caption", "regions", "describe", "embed", "filter", "shards")
_TIERS = ("all", "trained", "frequent", "common", "rare", "unseen")
_NOT_LOSSES = ("lr", "grad_norm", "matched")
REFUSED = "refused."


@dataclass(frozen=True, slots=True)
class Headline:
    value: str
    label: str
    note: str


@dataclass(frozen=True, slots=True)
class Share:
    """A number of a whole, for a bar."""

    label: str
    text: str
    share: float
    """In [0, 1]."""


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One stage, in images."""

    ledger: StageLedger
    dropped: int
    quarantined: int
    widest: int
    """Images of the widest step: the length of a full bar."""


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


def headlines(inputs: ReportInputs) -> list[Headline]:
    """The numbers that a reader wants first; only those that there are."""
    found: list[Headline] = []
    flow = flow_ledgers(inputs)
    if flow:
        first, last = flow[0], flow[-1]
        note = f"of {count(first.samples_in)} that came in"
        found.append(Headline(count(last.samples_out), "images kept", note))
    tally = filter_tally(inputs)
    if tally:
        total = tally.get("kept", 0) + sum(refusals(inputs).values())
        share = percent(tally.get("kept", 0), total)
        found.append(Headline(share, "of regions kept", f"{count(total)} were judged"))
    precision, recall = precision_recall(tally)
    if recall is not None and grammar_wrote(inputs):
        note = "" if precision is None else f"{precision:.1%} of refusals were right"
        found.append(Headline(f"{recall:.1%}", "of planted errors caught", note))
    judged = inputs.metrics.get("evaluate", {})
    named = judged.get("named_ap50", {})
    names = judged.get("names", {})
    for value, label, note in (
        (judged.get("agnostic_ap50"), "AP50, objects found", "whatever they are called"),
        (named.get("trained", named.get("all")), "AP50, found and named", "names seen in training"),
        (names.get("exact"), "names right, word for word", "of the objects that were found"),
    ):
        if value is not None:
            shown = f"{value:.1%}" if label.startswith("names") else f"{value:.3f}"
            found.append(Headline(shown, label, note))
    return found


def flow_ledgers(inputs: ReportInputs) -> list[StageLedger]:
    """The stages that images flow through."""
    return [one for one in inputs.ledgers if one.stage in _FLOW]


def funnel(inputs: ReportInputs) -> list[FunnelStep]:
    ledgers = flow_ledgers(inputs)
    widest = max((one.samples_in for one in ledgers), default=0) or 1
    return [
        FunnelStep(one, sum(one.dropped.values()), sum(one.quarantined.values()), widest)
        for one in ledgers
    ]


def filter_tally(inputs: ReportInputs) -> dict[str, int]:
    return next((one.tally for one in inputs.ledgers if one.stage == "filter"), {})


def refusals(inputs: ReportInputs) -> dict[str, int]:
    """Reason -> regions that the filter refused, the most frequent first."""
    found = {
        name.removeprefix(REFUSED).replace("_", " "): number
        for name, number in filter_tally(inputs).items()
        if name.startswith(REFUSED)
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def region_shares(inputs: ReportInputs) -> list[Share]:
    tally = filter_tally(inputs)
    counts = {"kept": tally.get("kept", 0), **refusals(inputs)}
    total = sum(counts.values())
    if not total:
        return []
    return [
        Share(label, f"{count(number)} ({percent(number, total)})", number / total)
        for label, number in counts.items()
    ]


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
        caught_crops=crops(lambda one: _is_wrong(one) and one.refusal == "disagrees"),
        missed_crops=crops(lambda one: _is_wrong(one) and one.kept),
        wrongly_refused_crops=crops(lambda one: not _is_wrong(one) and one.refusal == "disagrees"),
    )


def agreement_histogram(inputs: ReportInputs) -> Histogram | None:
    """Agreement of the judged regions: right names first, names that differ from the label second.

    Regions without a label count as the first series.
    """
    judged = [one for _, one in _filtered_regions(inputs) if one.agreement is not None]
    right = [one.agreement or 0.0 for one in judged if not _is_wrong(one)]
    wrong = [one.agreement or 0.0 for one in judged if _is_wrong(one)]
    return histogram(right, wrong, canvas=WIDE)


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


def tier_shares(inputs: ReportInputs) -> list[Share]:
    named = inputs.metrics.get("evaluate", {}).get("named_ap50", {})
    return [Share(tier, f"{named[tier]:.3f}", named[tier]) for tier in _TIERS if tier in named]


def judged_split(inputs: ReportInputs) -> str:
    keys = {one.key for one in inputs.predictions}
    splits = sorted({record.split for record in inputs.records if record.key in keys})
    return " and ".join(splits)


def training_charts(inputs: ReportInputs) -> list[LineChart]:
    """The losses, the total first."""
    losses = [one for one in inputs.curves if one.name not in _NOT_LOSSES]
    losses.sort(key=lambda one: one.name != "loss")
    charts = [
        line_chart(one.name.replace("_", " "), one.points, canvas=SMALL if place else WIDE)
        for place, one in enumerate(losses)
    ]
    return [chart for chart in charts if chart is not None]


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
            uri = crop_uri(open_upright(read_image(record)), box_xyxy)
        entries.append(PoolEntry(prototype, uri))
    return entries


def pool_levels(inputs: ReportInputs) -> dict[str, int]:
    """Level -> prototypes."""
    return dict(Counter(one.level for one in inputs.pool))


def time_shares(inputs: ReportInputs) -> list[Share]:
    total = sum(inputs.seconds.values())
    if not total:
        return []
    return [Share(stage, duration(own), own / total) for stage, own in inputs.seconds.items()]


def believers(inputs: ReportInputs) -> list[tuple[str, list[tuple[str, int]]]]:
    """Kind of belief -> who said it, and how often."""
    counts: dict[str, Counter[str]] = {}
    for record in inputs.records:
        for kind, provenance in _provenances(record):
            if provenance is not None:
                who = " ".join(filter(None, (provenance.model, provenance.revision)))
                counts.setdefault(kind, Counter())[who] += 1
    return [(kind, own.most_common()) for kind, own in counts.items()]


def grammar_wrote(inputs: ReportInputs) -> bool:
    """Whether names were written from annotations, errors planted among them."""
    return any(
        region.names_from is not None and region.names_from.model == "grammar"
        for record in inputs.records
        for region in record.regions
    )


def flat_metrics(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted name -> value as text, sorted."""
    for key in sorted(metrics):
        value, name = metrics[key], f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat_metrics(value, name + ".")
        else:
            yield name, f"{value:.6g}" if isinstance(value, float) else str(value)


def count(number: int) -> str:
    """With a narrow space between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0%"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _is_wrong(region: Region) -> bool:
    return region.label is not None and bool(region.names) and region.names[0] != region.label


def _filtered_regions(inputs: ReportInputs) -> list[tuple[Record, Region]]:
    """The regions of the splits that the filter's rules applied to."""
    refused = {
        record.split for record in inputs.records for one in record.regions if not one.kept
    } or {"train"}
    return [
        (record, one)
        for record in inputs.records
        if record.split in refused
        for one in record.regions
    ]


def _example_crops(
    inputs: ReportInputs,
    wanted: Callable[[Region], bool],
    read_image: ReadImage,
    most: int,
) -> tuple[Crop, ...]:
    found: Sequence[tuple[Record, Region]] = [
        (record, one) for record, one in _filtered_regions(inputs) if one.names and wanted(one)
    ]
    chosen = [found[place] for place in evenly(len(found), most)]
    return tuple(crop_of(record, one, read_image(record)) for record, one in chosen)


def _provenances(record: Record) -> Iterator[tuple[str, Provenance | None]]:
    yield "captions", record.caption_from
    for region in record.regions:
        yield "boxes", region.box_from
        yield "names", region.names_from
        yield "descriptions", region.description_from
        yield "agreement", region.agreement_from
