"""What decides a trained model, and whether two runs are the same run. Light to import."""

from dataclasses import dataclass, fields
from typing import Any

from opendet.data.config import LoaderConfig
from opendet.model.config import DetectorConfig, NamerConfig
from opendet.section import Section
from opendet.train.config import TrainConfig
from opendet.train.objective_config import ObjectiveConfig

Identity = dict[str, Any]
"""Dotted name -> JSON value."""

WITHOUT_EFFECT = {
    "train": {
        *("checkpoint_every", "keep", "log_every", "tensorboard", "dvclive"),
        *("workers", "gpus_per_worker", "restarts"),  # how many ranks there are is said apart
        "start_from",  # so is what lies there
    },
    "loader": {"workers", "cache"},
}
"""Knobs that change no weight, so a run may be resumed with others."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All sections that decide what training does."""

    train: TrainConfig
    loader: LoaderConfig
    detector: DetectorConfig
    namer: NamerConfig
    objective: ObjectiveConfig

    def sections(self) -> tuple[Section, ...]:
        return (self.train, self.loader, self.detector, self.namer, self.objective)

    def identity(self) -> Identity:
        """Every knob that changes a weight."""
        identity: Identity = {}
        for section in fields(self):
            values = getattr(self, section.name).model_dump(mode="json")
            skipped = WITHOUT_EFFECT.get(section.name, set())
            kept = {name: value for name, value in values.items() if name not in skipped}
            _flatten(section.name, kept, identity)
        return identity


def require_same_identity(saved: Identity, wanted: Identity, *, what: str) -> None:
    """Raises ValueError, in one line, that names what differs; `what` was saved."""
    odd = [
        f"{name} was {saved.get(name, 'absent')} and is {wanted.get(name, 'absent')}"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name, _ABSENT) != wanted.get(name, _ABSENT)
    ]
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise ValueError(
            f"{what} is of another run ({'; '.join(odd[:3])}{more}): take the old configuration "
            "back, or train in another folder"
        )


_ABSENT = object()


def _flatten(prefix: str, values: dict[str, Any], into: Identity) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _flatten(f"{prefix}.{name}", value, into)
        else:
            into[f"{prefix}.{name}"] = value
