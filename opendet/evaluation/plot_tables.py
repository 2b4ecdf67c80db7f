"""The tables that `dvc plots` draws: small, and the same numbers give the same bytes.

`dvc.yaml` says which column is drawn against which, and lays the tables of two revisions over each
other. Each table is there, if only with its head: DVC warns of a plot whose file is missing.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from opendet.console import printable
from opendet.evaluation.ap import Predictions, average_precision, class_agnostic
from opendet.evaluation.report_inputs import ReportInputs
from opendet.evaluation.report_sections import is_wrong, refusals
from opendet.evaluation.truth import truth_of
from opendet.files import write_durably
from opendet.record import Region

FOLDER = "plots"
MOST_NAMES = 40
BINS = 40
Row = Sequence[str | int | float]


def write_plot_tables(folder: Path, inputs: ReportInputs) -> None:
    """Write `plots/*.csv` below a folder."""
    for name, (columns, rows) in plot_tables(inputs).items():
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        write_durably(folder / FOLDER / f"{name}.csv", text.getvalue().encode())


def plot_tables(inputs: ReportInputs) -> dict[str, tuple[Sequence[str], list[Row]]]:
    """Table -> its columns and rows."""
    return {
        "names": (("name", "regions"), list(name_rows(inputs))),
        "drops": (("stage and reason", "images"), list(drop_rows(inputs))),
        "refusals": (("reason", "regions"), list(refusals(inputs).items())),
        "agreement": (("agreement", "kept", "refused", "known wrong"), agreement_rows(inputs)),
        "scores": (("score", "detections"), score_rows(inputs)),
        "precision_recall": (("recall", "precision"), precision_recall_rows(inputs)),
    }


def name_rows(inputs: ReportInputs) -> Iterable[Row]:
    """The most frequent first names of kept regions; equals in the order of the alphabet."""
    names = Counter(one.names[0] for one in _regions(inputs) if one.kept and one.names)
    ordered = sorted(names.items(), key=lambda item: (-item[1], item[0]))
    return ((printable(name), number) for name, number in ordered[:MOST_NAMES])


def drop_rows(inputs: ReportInputs) -> Iterable[Row]:
    """Images that left the flow, by stage and reason; of the quarantined ones their number."""
    for ledger in inputs.ledgers:
        for reason, number in ledger.dropped.items():
            yield f"{ledger.stage}: {printable(reason)}", number
        if failed := sum(ledger.quarantined.values()):
            yield f"{ledger.stage}: quarantined", failed


def agreement_rows(inputs: ReportInputs) -> list[Row]:
    """Regions in each bin of CLIP's agreement of crop and name, by what became of them.

    `known wrong` are those whose name is not the source's label: kept or refused, they count there
    too.
    """
    judged = [one for one in _regions(inputs) if one.agreement is not None]
    series = (
        [one.agreement for one in judged if one.kept],
        [one.agreement for one in judged if not one.kept],
        [one.agreement for one in judged if is_wrong(one)],
    )
    return _histogram(-1.0, 1.0, *series) if judged else []


def score_rows(inputs: ReportInputs) -> list[Row]:
    """Detections in each bin of their score."""
    scores = [float(score) for one in inputs.predictions for score in one.scores]
    return _histogram(0.0, 1.0, scores) if scores else []


def precision_recall_rows(inputs: ReportInputs) -> list[Row]:
    """Precision at each recall, of boxes at IoU 0.5, whatever they are called.

    Empty where nothing was judged, or the judged images have no object.
    """
    by_key = {record.key: record for record in inputs.records}
    judged = [one for one in inputs.predictions if one.key in by_key]
    labels = sorted({one.label for one in _regions(inputs) if one.label is not None})
    truths = [class_agnostic(truth_of(by_key[one.key], labels)) for one in judged]
    found = [
        Predictions(one.boxes_xyxy, one.scores, np.zeros(len(one.scores), np.int64))
        for one in judged
    ]
    if not any(len(truth.classes) for truth in truths):
        return []
    curve = average_precision(truths, found, classes=1).counts.precision[0, :, 0, 0]
    return [(round(point / (len(curve) - 1), 2), _short(p)) for point, p in enumerate(curve)]


def _regions(inputs: ReportInputs) -> list[Region]:
    return [region for record in inputs.records for region in record.regions]


def _histogram(low: float, high: float, *series: Sequence[float | None]) -> list[Row]:
    """A row a bin, from the first to the last that holds something: its middle, and the counts."""
    edges = np.linspace(low, high, BINS + 1)
    counts = [np.histogram(np.asarray(one, np.float64), edges)[0] for one in series]
    full = np.flatnonzero(np.sum(counts, axis=0))
    middles = (edges[:-1] + edges[1:]) / 2
    return [
        (_short(middles[place]), *(int(count[place]) for count in counts))
        for place in range(full[0], full[-1] + 1)
    ]


def _short(number: float) -> float:
    return round(float(number), 4)
