"""What training learns about its own labels: of each object in each step, how well its name sits.

A wrong name is contradicted by all the right ones: while a detector learns, it goes on believing
another one. The mean of that margin over all of training tells wrong labels from hard ones better
than its last value does (area under the margin, Pleiss et al. 2020).

Each rank writes a part for every stretch between two checkpoints, so a run that was killed has the
rows of one that was not. P matched objects of a step, K names beside their own, D_t the text
vectors' width.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from opendet.boxes import paired_giou, xyxy_from_cxcywh
from opendet.files import write_durably
from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks
from opendet.train.normalise import Cost
from opendet.train.seen import Seen
from opendet.train.text_vectors import TextVectors

MOST_RIVALS = 1024
"""Other names of a step, drawn where more are taught."""
DECIMALS = 6
"""A mean is rounded to so many, below what differs between machines for no reason."""

_MEASURES = ("loss", "agreement", "score", "iou")
_ROWS = pa.schema(
    [
        ("step", pa.int64()),
        ("key", pa.string()),
        ("region", pa.int32()),
        ("name", pa.string()),
        *((measure, pa.float32()) for measure in _MEASURES),
    ]
)
"""Of a part: an object of a step. What a step did not measure is null."""
SIGNALS = pa.schema(
    [
        ("key", pa.string()),
        ("region", pa.int32()),
        ("name", pa.string()),
        ("seen", pa.int64()),
        *((measure, pa.float32()) for measure in _MEASURES),
    ]
)
"""Of `signals.parquet`: an object by its record's key and its index there; its first name; how
often training saw it under a name; means over those steps, null where none measured it:
`loss`, of the tokens of its name; `agreement`, in [-1, 1], how much more its query shows its name
than the best other one; `score`, of the query, and `iou`, of its box, in [0, 1]."""
_SORTED = [("key", "ascending"), ("region", "ascending")]


class SignalRecorder:
    """A further objective that costs nothing and changes no step: it watches.

    `same`: names whose text vectors have a larger cosine are no rivals.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start: int,
        config: TrainConfig,
        ranks: Ranks,
        same: float,
    ) -> None:
        """Goes on after step `start`: parts beyond it are forgotten. Raises ValueError where those
        before it are gone."""
        self._folder = folder / f"rank-{ranks.rank}"
        self._config = config
        self._same = same
        self._rows: list[pa.RecordBatch] = []
        for part in _parts(folder, ranks.rank):
            if _last_step(part) > start:
                part.unlink()
        if start and not self._part(start).is_file():
            raise ValueError(
                f"{self._part(start)} is missing, and its steps are done: put it back, or remove "
                f"the checkpoints in {folder.parent}, so that training begins anew"
            )

    def weights(self, step: int) -> Mapping[str, float]:  # noqa: ARG002
        """None: nothing is learned from it."""
        return {}

    @torch.no_grad()
    def costs(self, seen: Seen) -> Mapping[str, Cost]:
        """Notes the step's objects; there is nothing to pay."""
        self._rows.append(_observed(seen, same=self._same))
        return {}

    def before_update(self, step: int, detector: nn.Module) -> None:
        """Nothing is held still."""

    def finish_step(self, step: int, ranks: Ranks) -> None:  # noqa: ARG002
        """Writes down what was noted, where a checkpoint follows."""
        done = step + 1
        if done % self._config.checkpoint_every == 0 or done == self._config.steps:
            _write(self._part(done), pa.Table.from_batches(self._rows, _ROWS))
            self._rows = []

    def _part(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}.parquet"


def sum_up(folder: Path, path: Path) -> None:
    """Write the `SIGNALS` of all parts of a run, an object a row, by key and region; the same bytes
    for the same parts. One process, after all ranks have done their last step."""
    total: pa.Table | None = None
    for part in sorted(folder.glob("rank-*/step-*.parquet"), key=_by_step):
        added = _summed(_addends(pq.read_table(part, schema=_ROWS)))
        total = added if total is None else _summed(pa.concat_tables([total, added]))
    rows = total if total is not None else _summed(_addends(_ROWS.empty_table()))
    means = {
        measure: pc.round(
            pc.divide(rows[measure], pc.cast(rows[f"{measure}_count"], pa.float64())), DECIMALS
        )
        for measure in _MEASURES
    }
    columns = {name: rows[name] for name in ("key", "region", "name", "seen")} | means
    _write(path, pa.table(columns).cast(SIGNALS).sort_by(_SORTED))


def margins(own: Tensor, others: Tensor, rivals: Tensor) -> Tensor:
    """own (P,), others (P, K), rivals (P, K) which of those count -> (P,) own less the largest
    rival; NaN where an object has none."""
    if others.shape[1] == 0:
        return torch.full_like(own, torch.nan)
    best = others.masked_fill(~rivals, -torch.inf).amax(1)
    return torch.where(rivals.any(1), own - best, torch.nan)


# --- a step's objects


def _observed(seen: Seen, *, same: float) -> pa.RecordBatch:
    """The matched objects that have a name, and whose region is known."""
    images, targets = seen.match.images.tolist(), seen.match.targets.tolist()
    known = [
        place
        for place, (image, target) in enumerate(zip(images, targets, strict=True))
        if seen.batch.targets[image].regions and seen.truths.names[image][target]
    ]
    pairs = [(images[place], targets[place]) for place in known]
    chosen = torch.tensor(known, dtype=torch.int64, device=seen.match.images.device)
    refs = [seen.batch.targets[image].regions[target] for image, target in pairs]
    return pa.record_batch(
        {
            "step": [seen.draws.step] * len(pairs),
            "key": [ref.key for ref in refs],
            "region": [ref.region for ref in refs],
            "name": [seen.batch.targets[image].names[target][0] for image, target in pairs],
            "loss": _losses(seen, pairs),
            "agreement": _finite(_agreement(seen, chosen, pairs, same=same)),
            "score": _finite(seen.output.scores()[seen.match.images, seen.match.queries][chosen]),
            "iou": _finite(_ious(seen)[chosen]),
        },
        schema=_ROWS,
    )


def _losses(seen: Seen, pairs: Sequence[tuple[int, int]]) -> list[float | None]:
    """Of those objects that the namer was taught in this step."""
    if not len(seen.lessons.losses):
        return [None] * len(pairs)
    places = zip(seen.named.images.tolist(), seen.named.targets.tolist(), strict=True)
    told = dict(zip(places, _finite(seen.lessons.losses), strict=True))
    return [told.get(pair) for pair in pairs]


def _ious(seen: Seen) -> Tensor:
    """(P,) of the matched queries' boxes with their objects."""
    match = seen.match
    boxes_cxcywh = seen.output.boxes_cxcywh[match.images, match.queries].float()
    targets_cxcywh = seen.truths.boxes_cxcywh[match.images, match.targets]
    return paired_giou(xyxy_from_cxcywh(boxes_cxcywh), xyxy_from_cxcywh(targets_cxcywh))[1]


def _agreement(
    seen: Seen,
    chosen: Tensor,
    pairs: Sequence[tuple[int, int]],
    *,
    same: float,
) -> Tensor:
    """(P,) in [-1, 1] of the chosen pairs; NaN without a text vector or a rival."""
    text, truths = seen.text, seen.truths
    images, targets = seen.match.images[chosen], seen.match.targets[chosen]
    if text is None or truths.texts is None or not pairs:
        return torch.full((len(pairs),), torch.nan)
    own = truths.texts[images, targets].float()  # (P, D_t)
    rows = _rival_rows(seen, text)
    others = text.matrix[rows.to(text.matrix.device)].to(own)  # (K, D_t)
    synonyms = _synonyms(seen, pairs, [text.names[row] for row in rows.tolist()])
    rivals = ~synonyms.to(own.device) & (_cosines(own, others) <= same)  # (P, K)
    alike, unlike = _shown(seen, chosen, own, others)
    return torch.where(truths.texted[images, targets], margins(alike, unlike, rivals), torch.nan)


def _shown(seen: Seen, chosen: Tensor, own: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) and (P, K) how much the matched queries show their own name, and each other one: the
    aligner's belief; without an aligner the prompts' cosine, halved."""
    match = seen.match
    images, queries = match.images[chosen], match.queries[chosen]
    if len(seen.detector.aligners):
        aligner = seen.detector.aligners[-1]
        chosen_queries = seen.output.queries[images, queries]  # (P, D)
        alike = aligner(chosen_queries[:, None], own[:, None])[:, 0, 0]
        return alike.sigmoid(), aligner(chosen_queries[None], others[None])[0].sigmoid()
    prompts = seen.detector.prompt(seen.output, images, queries).float()
    return (prompts * own).sum(1) / 2, _cosines(prompts, others) / 2


def _cosines(ones: Tensor, others: Tensor) -> Tensor:
    """(P, K) of unit rows, fp32 whatever the precision of training: margins are small."""
    with torch.autocast(ones.device.type, enabled=False):
        return ones @ others.mT


def _rival_rows(seen: Seen, text: TextVectors) -> Tensor:
    """(K,) rows of all names, or of so many, the same for each image of a step."""
    if len(text) <= MOST_RIVALS:
        return torch.arange(len(text))
    return torch.randperm(len(text), generator=seen.draws.of("", "signals"))[:MOST_RIVALS]


def _synonyms(seen: Seen, pairs: Sequence[tuple[int, int]], names: Sequence[str]) -> Tensor:
    """(P, K) True where a name is one of the object's own."""
    columns = {name: column for column, name in enumerate(names)}
    own = torch.zeros(len(pairs), len(names), dtype=torch.bool)
    for row, (image, target) in enumerate(pairs):
        for name in seen.batch.targets[image].names[target]:
            if name in columns:
                own[row, columns[name]] = True
    return own


def _finite(values: Tensor) -> list[float | None]:
    return [value if value == value else None for value in values.float().tolist()]


# --- from steps to objects


def _addends(rows: pa.Table) -> pa.Table:
    """A row for each object of each step, with what is added up."""
    columns = {name: rows[name] for name in ("key", "region", "name")}
    columns["seen"] = pc.cast(pc.is_valid(rows["key"]), pa.int64())
    for measure in _MEASURES:
        columns[measure] = pc.cast(rows[measure], pa.float64())
        columns[f"{measure}_count"] = pc.cast(pc.is_valid(rows[measure]), pa.int64())
    return pa.table(columns)


def _summed(rows: pa.Table) -> pa.Table:
    """A row for each object. In one thread, so that sums are added in one order."""
    added = [name for name in rows.column_names if name not in ("key", "region", "name")]
    summed = rows.group_by(["key", "region", "name"], use_threads=False).aggregate(
        [(name, "sum") for name in added]
    )
    return summed.rename_columns([name.removesuffix("_sum") for name in summed.column_names])


def _parts(folder: Path, rank: int) -> Iterator[Path]:
    yield from sorted((folder / f"rank-{rank}").glob("step-*.parquet"))


def _by_step(part: Path) -> tuple[int, int]:
    return _last_step(part), int(part.parent.name.removeprefix("rank-"))


def _last_step(part: Path) -> int:
    """The step that a part ends with, counted from 1 as checkpoints are."""
    return int(part.stem.removeprefix("step-"))


def _write(path: Path, table: pa.Table) -> None:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    write_durably(path, file.getvalue())
