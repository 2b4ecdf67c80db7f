"""What a call of `opendet annotate` asks for, kept beside what it makes: the same call goes on with
it, and another one is told where it differs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from opendet.files import write_json_durably
from opendet.typed_json import read_json

KEPT = "annotate.json"
"""In the data set's own folder."""
_OPTIONS = {"photographs": "FOLDER", "start_from": "--start-from"}


@dataclass(frozen=True, slots=True)
class Wish:
    """The options that decide what is made."""

    photographs: str
    """Their folder, absolute."""
    detector: str
    """A hub's name, a folder or an .onnx file; never empty."""
    names: tuple[str, ...]
    """What is looked for; none where the detector finds what it knows."""
    captioner: str
    licence: str
    start_from: str
    """A model of ours that training begins with; empty for none."""

    def keep(self, path: Path) -> None:
        write_json_durably(path, asdict(self))


def require_same(wish: Wish, path: Path, dataset: Path) -> None:
    """Raises ValueError, in one line, where the call that began the data set asked for another
    thing."""
    begun = read_json(Wish, path)
    differing = [
        f"{_option(key)} was {_said(old)}, is {_said(new)}"
        for (key, old), new in zip(asdict(begun).items(), asdict(wish).values(), strict=True)
        if old != new
    ]
    if differing:
        raise ValueError(
            f"{dataset} was begun otherwise: {'; '.join(differing)}: take the same options to go "
            f"on, or name another --out"
        )


def _option(key: str) -> str:
    return _OPTIONS.get(key, f"--{key}")


def _said(value: str | Sequence[str]) -> str:
    if isinstance(value, str):
        return value or "not given"
    shown = ",".join(value[:5]) + (f" and {len(value) - 5} more" if len(value) > 5 else "")
    return shown or "not given"
