"""What training says of its labels: margins by hand, rows of real steps, sums, kills and ranks."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from opendet.boxes import paired_giou, xyxy_from_cxcywh
from opendet.data.batch import Batch, RegionRef, Target
from opendet.model.config import DetectorConfig
from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks
from opendet.train.objective import LossReport, Objective
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.randomness import StepDraws
from opendet.train.seen import Seen
from opendet.train.signals import SIGNALS, SignalRecorder, _cosines, margins, sum_up
from opendet.train.text_vectors import TextVectors
from opendet.train.training_step import TrainingStep
from tests.model.worlds import NAMES, TINY_DETECTOR, build_detector

HERE = Ranks(torch.device("cpu"))
CONFIG = TrainConfig(steps=5, checkpoint_every=2, threads=1)
PLAIN = TINY_DETECTOR.model_copy(update={"aligner": "none"})


def _text() -> TextVectors:
    torch.manual_seed(6)
    return TextVectors(NAMES, functional.normalize(torch.randn(len(NAMES), 32), dim=-1))


def _batch() -> Batch:
    """Three named objects, one of them with two names, and one whose name was refused."""
    torch.manual_seed(5)
    boxes = torch.tensor([[0.3, 0.3, 0.3, 0.3], [0.7, 0.6, 0.2, 0.4], [0.5, 0.5, 0.1, 0.1]])
    first = Target(
        boxes,
        ((NAMES[0], NAMES[1]), (NAMES[2],), ()),
        regions=(RegionRef("b", 4), RegionRef("b", 0), RegionRef("b", 1)),
    )
    second = Target(boxes[:1], ((NAMES[1],),), regions=(RegionRef("a", 7),))
    sizes = torch.full((2, 2), 64)
    return Batch(("b.1", "a"), torch.rand(2, 3, 64, 64), sizes, sizes, (first, second))


def _recorder(folder: Path, *, start: int = 0, ranks: Ranks = HERE) -> SignalRecorder:
    return SignalRecorder(folder, start=start, config=CONFIG, ranks=ranks, same=0.99)


class _Keeper(SignalRecorder):
    """Keeps what it saw last."""

    seen: Seen

    def costs(self, seen: Seen) -> dict[str, object]:  # type: ignore[override]
        self.seen = seen
        super().costs(seen)
        return {}


def _observe(
    recorder: SignalRecorder | None,
    batch: Batch,
    step: int = 0,
    config: DetectorConfig = TINY_DETECTOR,
    text: TextVectors | None = None,
) -> tuple[LossReport, dict[str, Tensor]]:
    detector = build_detector(config).train()
    objective = Objective(ObjectiveConfig(), text, (recorder,) if recorder else ())
    report = TrainingStep(detector, objective)(batch, StepDraws(0, step))
    report.total.backward()
    objective.finish_step(step, HERE)
    gradients = {
        name: parameter.grad for name, parameter in detector.named_parameters()
        if parameter.grad is not None
    }  # fmt: skip
    return report, gradients


def _kept(folder: Path, batch: Batch, config: DetectorConfig = TINY_DETECTOR) -> Seen:
    keeper = _Keeper(folder, start=0, config=CONFIG, ranks=HERE, same=0.99)
    _observe(keeper, batch, 1, config, _text())
    return keeper.seen


def _rows(folder: Path, step: int = 2, rank: int = 0) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(
        folder / f"rank-{rank}" / f"step-{step:08d}.parquet"
    ).to_pylist()
    return rows


def test_the_margin_is_that_over_the_best_rival() -> None:
    own = torch.tensor([0.8, 0.8, 0.1])
    others = torch.tensor([[0.2, 0.9, 0.5], [0.2, 0.9, 0.5], [0.2, 0.9, 0.5]])
    rivals = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
    found = margins(own, others, rivals)
    torch.testing.assert_close(found[:2], torch.tensor([-0.1, 0.3]))
    assert found[2].isnan()
    assert margins(own, torch.zeros(3, 0), torch.zeros(3, 0, dtype=torch.bool)).isnan().all()


def test_cosines_are_as_exact_in_mixed_precision() -> None:
    ones, others = functional.normalize(torch.randn(10, 32), dim=1).split((4, 6))
    with torch.autocast("cpu", torch.bfloat16):
        found = _cosines(ones, others)
    assert torch.equal(found, ones @ others.mT)


def test_a_row_for_each_matched_object_with_a_name(tmp_path: Path) -> None:
    seen = _kept(tmp_path, _batch())
    rows = {(row["key"], row["region"]): row for row in _rows(tmp_path)}
    assert set(rows) == {("b", 4), ("b", 0), ("a", 7)}
    assert [rows[place]["name"] for place in (("b", 4), ("b", 0), ("a", 7))] == [
        NAMES[0], NAMES[2], NAMES[1],
    ]  # fmt: skip
    losses = dict(
        zip(
            zip(seen.named.images.tolist(), seen.named.targets.tolist(), strict=True),
            seen.lessons.losses.tolist(),
            strict=True,
        )
    )
    assert rows["b", 0]["loss"] == pytest.approx(losses[0, 1])
    assert rows["a", 7]["loss"] == pytest.approx(losses[1, 0])
    assert all(row["step"] == 1 for row in rows.values())


@pytest.mark.parametrize("config", [TINY_DETECTOR, PLAIN], ids=["aligner", "prompts"])
def test_the_agreement_is_worked_out_again(tmp_path: Path, config: DetectorConfig) -> None:
    seen = _kept(tmp_path, _batch(), config)
    rows = {(row["key"], row["region"]): row for row in _rows(tmp_path)}
    text = _text()
    for image, target, place, own in (
        (0, 0, ("b", 4), {NAMES[0], NAMES[1]}),
        (0, 1, ("b", 0), {NAMES[2]}),
        (1, 0, ("a", 7), {NAMES[1]}),
    ):
        chosen = (seen.match.images == image) & (seen.match.targets == target)
        query = seen.match.queries[chosen]
        drawn = seen.truths.names[image][target]
        assert drawn in own
        if config is PLAIN:
            prompt = seen.detector.prompt(seen.output, torch.tensor([image]), query)
            shown = (prompt @ text.matrix.T)[0] / 2
        else:
            state = seen.output.queries[image, query][None]
            shown = seen.detector.aligners[-1](state, text.matrix[None])[0, 0].sigmoid()
        told = dict(zip(NAMES, shown.tolist(), strict=True))
        best = max(value for name, value in told.items() if name not in own)
        assert rows[place]["agreement"] == pytest.approx(told[drawn] - best, abs=1e-5)
        assert rows[place]["score"] == pytest.approx(seen.output.scores()[image, query].item())
        boxes = xyxy_from_cxcywh(seen.output.boxes_cxcywh[image, query])
        wanted = xyxy_from_cxcywh(seen.truths.boxes_cxcywh[image, target][None])
        assert rows[place]["iou"] == pytest.approx(paired_giou(boxes, wanted)[1].item(), abs=1e-6)


def test_what_means_the_same_is_no_rival(tmp_path: Path) -> None:
    """Of two names with one vector neither contradicts the other; with no third there is none."""
    twins = TextVectors(NAMES[1:3], torch.eye(32)[[0, 0]])
    batch = replace(_batch(), targets=(_batch().targets[1],) * 2)
    _observe(_recorder(tmp_path), batch, 1, text=twins)
    assert [row["agreement"] for row in _rows(tmp_path)] == [None, None]


def test_without_a_teacher_there_is_no_agreement_and_objects_of_no_record_have_no_row(
    tmp_path: Path,
) -> None:
    batch = _batch()
    nameless = replace(batch.targets[0], regions=())
    _observe(_recorder(tmp_path), replace(batch, targets=(nameless, batch.targets[1])), 1)
    [row] = _rows(tmp_path)
    assert (row["key"], row["agreement"]) == ("a", None)
    assert row["loss"] is not None


def test_watching_changes_nothing(tmp_path: Path) -> None:
    watched, first = _observe(_recorder(tmp_path), _batch(), text=_text())
    alone, second = _observe(None, _batch(), text=_text())
    assert torch.equal(watched.total, alone.total)
    assert watched.parts.keys() == alone.parts.keys()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def _part(folder: Path, rank: int, step: int, *rows: tuple[object, ...]) -> None:
    path = folder / f"rank-{rank}" / f"step-{step:08d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("step", "key", "region", "name", "loss", "agreement", "score", "iou")
    types = [pa.int64(), pa.string(), pa.int32(), pa.string(), *[pa.float32()] * 4]
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    pq.write_table(pa.table(dict(zip(names, arrays, strict=True))), path)


def test_objects_are_summed_over_steps_and_ranks(tmp_path: Path) -> None:
    _part(
        tmp_path, 0, 2,
        (0, "b", 1, "cat", 2.0, 0.5, 0.25, 1.0),
        (1, "b", 1, "cat", None, -0.25, 0.75, 0.5),
        (1, "a", 3, "dog", None, None, 0.5, 0.0),
    )  # fmt: skip
    _part(tmp_path, 1, 2, (0, "b", 0, "red cat", 1.0, 0.25, 0.5, 0.5))
    _part(tmp_path, 0, 4, (2, "b", 1, "cat", 1.0, -1.0, 0.5, 0.0))
    _part(tmp_path, 1, 4)
    sum_up(tmp_path, tmp_path / "signals.parquet")
    table = pq.read_table(tmp_path / "signals.parquet")
    assert table.schema.equals(SIGNALS)
    assert [list(row.values()) for row in table.to_pylist()] == [
        ["a", 3, "dog", 1, None, None, 0.5, 0.0],
        ["b", 0, "red cat", 1, 1.0, 0.25, 0.5, 0.5],
        ["b", 1, "cat", 3, 1.5, -0.25, 0.5, 0.5],
    ]
    before = (tmp_path / "signals.parquet").read_bytes()
    sum_up(tmp_path, tmp_path / "signals.parquet")
    assert (tmp_path / "signals.parquet").read_bytes() == before


def test_a_run_without_a_named_object_has_an_empty_table(tmp_path: Path) -> None:
    sum_up(tmp_path, tmp_path / "signals.parquet")
    table = pq.read_table(tmp_path / "signals.parquet")
    assert (table.num_rows, table.schema.equals(SIGNALS)) == (0, True)


def test_a_killed_run_has_the_rows_of_an_undisturbed_one(tmp_path: Path) -> None:
    """Its last checkpoint may be older than what it wrote, or noted, before it died."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    recorder = _recorder(whole)
    for step in range(CONFIG.steps):
        _observe(recorder, _batch(), step, text=_text())
    recorder = _recorder(killed)
    for step in range(5):
        _observe(recorder, _batch(), step, text=_text())
    _part(killed, 0, 4, (3, "torn", 0, "cat", 1.0, 1.0, 1.0, 1.0))
    recorder = _recorder(killed, start=2)
    assert [path.name for path in (killed / "rank-0").iterdir()] == ["step-00000002.parquet"]
    for step in range(2, CONFIG.steps):
        _observe(recorder, _batch(), step, text=_text())
    for folder in (whole, killed):
        sum_up(folder, folder / "signals.parquet")
    assert (whole / "signals.parquet").read_bytes() == (killed / "signals.parquet").read_bytes()
    assert pq.read_table(whole / "signals.parquet")["seen"].to_pylist() == [5, 5, 5]
    assert len(list((whole / "rank-0").iterdir())) == 3  # after steps 2, 4 and 5


def test_a_part_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step-00000004.parquet is missing.*put it back"):
        _recorder(tmp_path, start=4)


def test_ranks_write_side_by_side(tmp_path: Path) -> None:
    for rank in (0, 1):
        _observe(_recorder(tmp_path, ranks=Ranks(HERE.device, rank, 2)), _batch(), 1, text=_text())
    assert _rows(tmp_path, rank=0) == _rows(tmp_path, rank=1)
    sum_up(tmp_path, tmp_path / "signals.parquet")
    assert pq.read_table(tmp_path / "signals.parquet")["seen"].to_pylist() == [2, 2, 2]
