"""The report's numbers as plain values, before any HTML; its pictures are in `report_examples`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opendet.curate.filter import precision_recall
from opendet.evaluation.report_charts import (
    SMALL,
    WIDE,
    Histogram,
    LineChart,
    histogram,
    line_chart,
)
from opendet.evaluation.report_inputs import ReportInputs, StageLedger
from opendet.record import Provenance, Record, Region

_FLOW = ("source", "caption", "regions", "describe", "embed", "verify", "filter", "shards")
_TIERS = ("all", "trained", "frequent", "common", "rare", "unseen")
_NOT_LOSSES = ("lr", "grad_norm", "matched")
REFUSED, GRAMMAR = "refused.", "grammar"


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


def agreement_histogram(inputs: ReportInputs) -> Histogram | None:
    """Agreement of the judged regions: right names first, names that differ from the label second.

    Regions without a label count as the first series.
    """
    judged = [one for _, one in filtered_regions(inputs) if one.agreement is not None]
    right = [one.agreement or 0.0 for one in judged if not is_wrong(one)]
    wrong = [one.agreement or 0.0 for one in judged if is_wrong(one)]
    return histogram(right, wrong, canvas=WIDE)


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


def grammar_captioned(inputs: ReportInputs) -> bool:
    """Whether captions were written from annotations."""
    return any(
        record.caption_from is not None and record.caption_from.model == GRAMMAR
        for record in inputs.records
    )


def grammar_wrote(inputs: ReportInputs) -> bool:
    """Whether names were written from annotations, errors planted among them."""
    return any(
        region.names_from is not None and region.names_from.model == GRAMMAR
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


def is_wrong(region: Region) -> bool:
    """Whether its first name is known to be none of the true ones."""
    true = region.true_names
    return bool(true and region.names) and region.names[0] not in true


def filtered_regions(inputs: ReportInputs) -> list[tuple[Record, Region]]:
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


def _provenances(record: Record) -> Iterator[tuple[str, Provenance | None]]:
    yield "captions", record.caption_from
    for region in record.regions:
        yield "boxes", region.box_from
        yield "names", region.names_from
        yield "descriptions", region.description_from
        yield "agreement", region.agreement_from
