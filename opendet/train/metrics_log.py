"""What a run measured: a series for plots, a JSON for `dvc metrics`.

A row averages the steps since the row before it. A checkpoint closes its row, so a resumed run
writes the rows that an undisturbed one would have written.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opendet.files import write_durably
from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks


class Series:
    """Rows of numbers by step, in a CSV file, and in TensorBoard or DVCLive where wanted.

    All ranks close their rows at the same steps: a row is their mean, and rank 0 writes it.
    """

    def __init__(self, path: Path, *, start: int, config: TrainConfig, ranks: Ranks) -> None:
        """Goes on after step `start`: rows of the file beyond it are forgotten."""
        self.path = path
        self._ranks = ranks
        self.rows = [row for row in _read(path) if row["step"] <= start]
        self.step = start
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._mirrors = _mirrors(path.parent, start, config) if ranks.leads else []

    def add(self, step: int, values: Mapping[str, Tensor | float]) -> None:
        """Note one step's numbers. Tensors stay where they are: nothing waits for a GPU here."""
        for name, value in values.items():
            number = torch.as_tensor(value, dtype=torch.float32).detach()
            self._sums[name] = self._sums[name] + number if name in self._sums else number
        self.step = step
        self._count += 1

    def close_row(self) -> None:
        """End the row and start the next one; nothing where no step came since."""
        if not self._count:
            return
        totals = torch.stack([total.to(self._ranks.device) for total in self._sums.values()])
        over_ranks = (self._ranks.mean(totals) / self._count).tolist()
        means = dict(zip(self._sums, over_ranks, strict=True))
        self.rows.append({"step": self.step, **means})
        self._sums, self._count = {}, 0
        for mirror in self._mirrors:
            mirror.write(self.step, means)

    def note(self) -> str:
        """The last row's loss, for a person who watches."""
        return f"loss {self.rows[-1]['loss']:.3f}" if self.rows else ""

    def save(self) -> None:
        """Close the row and write the file in one step."""
        self.close_row()
        if not self._ranks.leads:
            return
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: value if name == "step" else f"{value:.6g}" for name, value in row.items()}
            for row in self.rows
        )
        write_durably(self.path, text.getvalue().encode())

    def close(self) -> None:
        for mirror in self._mirrors:
            mirror.close()


class _TensorBoard:
    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=start + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _DvcLive:
    def __init__(self, folder: Path, start: int) -> None:
        from dvclive.live import Live

        self._live = Live(
            str(folder), resume=start > 0, save_dvc_exp=False, report=None, dvcyaml=None
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._live.step = step
        for name, value in values.items():
            self._live.log_metric(name, value)
        self._live.make_summary()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._live.end()  # type: ignore[no-untyped-call]


def _mirrors(folder: Path, start: int, config: TrainConfig) -> list[_TensorBoard | _DvcLive]:
    mirrors: list[_TensorBoard | _DvcLive] = []
    if config.tensorboard:
        mirrors.append(_TensorBoard(folder / "tensorboard", start))
    if config.dvclive:
        mirrors.append(_DvcLive(folder / "dvclive", start))
    return mirrors


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {k: int(v) if k == "step" else float(v) for k, v in row.items() if v}
            for row in csv.DictReader(file)
        ]
