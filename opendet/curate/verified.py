"""What a verifier said of an image: verdicts, the record that they are written into, their file.

A belief goes into the record; an answer that could not be read leaves nothing there. So all
verdicts lie beside the records, for people and for the tally.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from opendet.annotators.verifier import Kind
from opendet.curate.asking import noted
from opendet.record import NameJudgement, Provenance, Record
from opendet.schema import read_records, write_records, write_table

Fault = Literal["", "unread", "unanswered"]

DOUBT = 0.5
"""A lower belief in a name or a box says no: for counting only, the filter has thresholds."""
DECIMALS = 6
"""A belief is rounded to so many, below what differs between machines for no reason."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One question and its answer."""

    kind: Kind
    region: int
    """Index into the record's regions; -1 for a question about the whole image."""
    name: str
    prompt: str
    """As the verifier saw it."""
    belief: float | None
    """That it is so, in [0, 1]; None where the answer could not be read, or there is none."""
    said: str = ""
    """The answer in a line, where it could not be read; why there is none, where there is none."""
    fault: Fault = ""
    version: str = ""
    """Of the prompt's file, where it came from one."""


@dataclass(frozen=True, slots=True)
class VerifiedRecord:
    """A record with the beliefs of its verifier, and all that the verifier said."""

    record: Record
    verdicts: tuple[Verdict, ...] = ()

    @property
    def key(self) -> str:
        return self.record.key


def with_beliefs(
    record: Record, verdicts: Sequence[Verdict], said_by: Provenance, *, least_belief: float
) -> VerifiedRecord:
    """The record with what was believed of its regions and names.

    A name counts as partial, or as absent, above `least_belief`; what the source says of a name
    stays as it is.
    """
    regions = list(record.regions)
    against: dict[Kind, list[NameJudgement]] = {"all_found": [], "there": []}
    for verdict in verdicts:
        if verdict.belief is None:
            continue
        origin = replace(said_by, prompt=verdict.prompt, score=verdict.belief)
        if verdict.version:
            origin = noted(origin, f"prompt {verdict.version}")
        if verdict.kind == "name":
            regions[verdict.region] = replace(regions[verdict.region], name_checked=origin)
        elif verdict.kind == "box":
            regions[verdict.region] = replace(regions[verdict.region], box_checked=origin)
        elif (doubt := rounded(1 - verdict.belief)) > least_belief:
            judged = NameJudgement(verdict.name, replace(origin, score=doubt))
            against[verdict.kind].append(judged)
    fuller = replace(
        record,
        regions=tuple(regions),
        partial=_joined(record.partial, against["all_found"]),
        absent=_joined(record.absent, against["there"]),
    )
    return VerifiedRecord(fuller, tuple(verdicts))


def rounded(belief: float) -> float:
    return round(belief, DECIMALS)


def _joined(
    known: tuple[NameJudgement, ...], new: Sequence[NameJudgement]
) -> tuple[NameJudgement, ...]:
    names = {judged.name for judged in known}
    return (*known, *(judged for judged in new if judged.name not in names))


# --- counting


def tally(items: Sequence[VerifiedRecord]) -> dict[str, int]:
    """Questions by what became of them; and, to measure and never to decide, how the beliefs in
    names did on the regions whose true name is known: `judged`, of which `said_wrong`;
    `planted.judged` whose first name is not a true one, of which `planted.caught`. Of the hard
    negatives, `absent.untrue` are a true name of their image."""
    counts: Counter[str] = Counter()
    for item in items:
        for verdict in item.verdicts:
            counts.update(_counted(verdict, item.record))
    return dict(counts)


def precision_recall(tally: Mapping[str, int]) -> tuple[float | None, float | None]:
    """Of the names that were said to be wrong, the share that was; of the wrong ones that were
    judged, the share that was said to be. Both in [0, 1], None where there were none."""
    caught = tally.get("planted.caught", 0)
    said, planted = tally.get("said_wrong", 0), tally.get("planted.judged", 0)
    return caught / said if said else None, caught / planted if planted else None


def _counted(verdict: Verdict, record: Record) -> list[str]:
    if verdict.belief is None:
        return [verdict.fault]
    denied = verdict.belief < DOUBT
    match verdict.kind:
        case "box":
            return ["boxes"] + ["boxes.loose"] * denied
        case "all_found":
            return ["all_found"] + ["partial"] * _is_among(record.partial, verdict)
        case "there":
            true = {name for region in record.regions for name in region.true_names}
            absent = _is_among(record.absent, verdict)
            untrue = absent and verdict.name in true
            return ["tried"] + ["absent"] * absent + ["absent.untrue"] * untrue
    counted = ["names"] + ["names.wrong"] * denied
    if true := set(record.regions[verdict.region].true_names):
        planted = verdict.name not in true
        counted += ["judged"] + ["said_wrong"] * denied + ["planted.judged"] * planted
        counted += ["planted.caught"] * (denied and planted)
    return counted


def _is_among(judgements: Sequence[NameJudgement], verdict: Verdict) -> bool:
    return any(judged.name == verdict.name for judged in judgements)


# --- on disk

_VERDICTS: TypeAdapter[list[Verdict]] = TypeAdapter(list[Verdict])
_COLUMNS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("region", pa.int32(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("belief", pa.float64()),
        pa.field("said", pa.string(), nullable=False),
        pa.field("fault", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
    ]
)


def write_verified(folder: Path, shard: str, items: Sequence[VerifiedRecord]) -> None:
    """The records as a part, and the verdicts beside them where there are any."""
    write_records(folder / f"{shard}.parquet", [item.record for item in items])
    rows = [{"key": item.key, **asdict(one)} for item in items for one in item.verdicts]
    if rows:
        table = pa.Table.from_pylist(rows, schema=_COLUMNS)
        write_table(_verdicts_of(folder, shard), table)


def read_verified(folder: Path, shard: str) -> list[VerifiedRecord]:
    """What `write_verified` wrote. Raises ValueError, in one line, for any other files."""
    records = read_records(folder / f"{shard}.parquet")
    verdicts = _read_verdicts(_verdicts_of(folder, shard))
    return [VerifiedRecord(record, verdicts.get(record.key, ())) for record in records]


def _read_verdicts(path: Path) -> Mapping[str, tuple[Verdict, ...]]:
    if not path.exists():
        return {}
    try:
        rows = pq.read_table(path).to_pylist()
        keys = [row.pop("key") for row in rows]
        verdicts = _VERDICTS.validate_python(rows)
    except (pa.ArrowException, OSError, KeyError, ValidationError) as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} holds no verdicts ({said}): build the stage `verify`") from error
    found: dict[str, tuple[Verdict, ...]] = {}
    for key, verdict in zip(keys, verdicts, strict=True):
        found[key] = (*found.get(key, ()), verdict)
    return found


def _verdicts_of(folder: Path, shard: str) -> Path:
    return folder / f"{shard}.verdicts.parquet"
