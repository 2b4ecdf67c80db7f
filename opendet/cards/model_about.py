"""What a trained model's folder says of itself, and what the build that it lies in says of it."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors import safe_open

from opendet.cards.about import Counts, ordered
from opendet.cards.licences import licence_of_model
from opendet.manifest import read_manifest
from opendet.sources.card import SourceCard, read_card
from opendet.train.export import (
    NAMER,
    PROTOTYPES,
    WEIGHTS,
    ModelCard,
)
from opendet.train.export import read_card as read_model

_CLIP = "clip/clip.json"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""owner/name"""
_OWN = "tiny"
"""What configurations call the parts that have no weights but those that a build trains."""


@dataclass(frozen=True, slots=True)
class PartAbout:
    """A network that the model holds, or learned from."""

    part: str
    name: str
    licence: str
    """Empty where it is not known."""
    licence_from: str = ""
    hub: str = ""
    """Its name on the Hugging Face hub, of one that the weights began as."""
    own: bool = False
    """Whether no weights of anybody else are in it."""


@dataclass(frozen=True)
class BuildAbout:
    """The build that a model lies in."""

    name: str
    title: str
    licences: Counts
    """Licence, as the data says it -> images that it was trained on."""
    evaluated: dict[str, Any]
    """What the stage `evaluate` measured of these very weights; empty where it has not."""
    evaluated_split: str
    trained: dict[str, Any]
    """What the stage `train` told of its run; empty where it told nothing."""


@dataclass(frozen=True)
class ModelAbout:
    """All that a model's card tells."""

    name: str
    card: ModelCard
    parameters: int
    prototypes: int
    """Names that it can choose from without being given any; 0 without a prototype head."""
    parts: tuple[PartAbout, ...]
    build: BuildAbout | None


def about_model(folder: Path) -> ModelAbout:
    """Raises ValueError, in one line, for a folder that holds no whole model, and for a build
    around it whose manifests or metrics are damaged."""
    card = read_model(folder)
    place = build_of(folder)
    return ModelAbout(
        name=folder.resolve().name if place is None else place.name,
        card=card,
        parameters=_parameters(folder / WEIGHTS),
        prototypes=_prototypes(folder / PROTOTYPES),
        parts=tuple(_parts(folder, card, place)),
        build=None if place is None else _build(place, card),
    )


def build_of(folder: Path) -> Path | None:
    """The build's folder that a model lies in as `train/model`, if it does."""
    place = folder.resolve()
    build = place.parent.parent
    inside = (place.parent.name, place.name) == ("train", "model")
    return build if inside and (build / "source.yaml").is_file() else None


def _parameters(weights: Path) -> int:
    """Of the file's own header: no weight is read."""
    with safe_open(weights, framework="pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes)


def _prototypes(path: Path) -> int:
    return len(set(_json(path).get("names", ()))) if path.is_file() else 0


# --- what it is made of


def _parts(folder: Path, card: ModelCard, build: Path | None) -> Iterator[PartAbout]:
    yield _backbone(card)
    if (namer := _namer(folder)) is not None:
        yield namer
    if (clip := _clip(card, build)) is not None:
        yield clip


def _backbone(card: ModelCard) -> PartAbout:
    backbone = card.detector.backbone
    if not backbone.pretrained:
        began = "from given weights" if backbone.weights else "from nothing"
        name = f"{backbone.name}, trained {began}"
        return PartAbout("backbone", name, "", own=not backbone.weights)
    import timm

    told = timm.get_pretrained_cfg(backbone.name)
    hub = (told and told.hf_hub_id) or ""
    return PartAbout("backbone", backbone.name, (told and told.license) or "", "timm", hub)


def _namer(folder: Path) -> PartAbout | None:
    """The T5 that writes names, of a model that has one."""
    t5 = str(_json(folder / NAMER / "namer.json").get("t5", "none"))
    if t5 == "none":
        return None
    if t5 == _OWN:
        return PartAbout("namer", "a small T5, trained from nothing", "", own=True)
    place = Path(t5).expanduser()
    hub = t5 if _HUB_NAME.fullmatch(t5) and not place.is_dir() else ""
    known = licence_of_model(t5, None if hub else place)
    return PartAbout("namer", hub or place.name, known.licence, known.said_by, hub)


def _clip(card: ModelCard, build: Path | None) -> PartAbout | None:
    """The CLIP whose text vectors it learned from: none of its weights are in the model."""
    told = str(card.training.get("clip", "none"))
    if told == "none":
        return None
    choice = _json(build / _CLIP) if build and (build / _CLIP).is_file() else {}
    revision = told.split()[0]
    if choice.get("revision") != revision:
        return PartAbout("teacher", f"a CLIP of revision {revision}", "")
    if choice["model"] == "trained":
        return PartAbout("teacher", f"{choice['name']}, trained by the build", "", own=True)
    named = f"{choice['name']} ({choice['pretrained']})" if choice["pretrained"] else choice["name"]
    known = licence_of_model(named)
    return PartAbout("teacher", named, known.licence, known.said_by)


# --- the build around it


def _build(folder: Path, card: ModelCard) -> BuildAbout:
    source = read_card(folder / "source.yaml")
    evaluated = _evaluated(folder, card)
    return BuildAbout(
        name=folder.name,
        title=source.title or folder.name,
        licences=_licences(folder, source, str(card.training.get("loader.split", "train"))),
        evaluated=evaluated,
        evaluated_split=_evaluated_split(folder, source) if evaluated else "",
        trained=_metrics(folder, "train"),
    )


def _licences(folder: Path, source: SourceCard, split: str) -> Counts:
    """Of the images of a split, as the filter's records have them; else as the source card says,
    with no count."""
    if not (folder / "filter" / "manifest.json").is_file():
        return tuple((licence, 0) for licence in sorted({one.licence for one in source.batches}))
    counts: Counter[str] = Counter()
    for part in read_manifest(folder / "filter").of_split(split):
        path = folder / "filter" / f"{part.shard.name}.parquet"
        counts.update(pq.read_table(path, columns=["licence"])["licence"].to_pylist())
    return ordered(counts)


def _evaluated(folder: Path, card: ModelCard) -> dict[str, Any]:
    """Only where the stage judged these weights: those of a later training are others."""
    if not (folder / "evaluate" / "manifest.json").is_file():
        return {}
    (part,) = read_manifest(folder / "evaluate").parts
    judged = part.inputs.get(f"train/model/{WEIGHTS}")
    return _metrics(folder, "evaluate") if judged == card.weights.sha256 else {}


def _evaluated_split(folder: Path, source: SourceCard) -> str:
    """Of the images that have predictions: keys begin with their batch."""
    keys = pq.read_table(folder / "evaluate" / "predictions.parquet", columns=["key"])["key"]
    begun = [f"{one.name}-" for one in source.batches]
    longest = {max((b for b in begun if key.startswith(b)), key=len) for key in keys.to_pylist()}
    return ", ".join(sorted({one.split for one in source.batches if f"{one.name}-" in longest}))


def _metrics(folder: Path, stage: str) -> dict[str, Any]:
    path = folder / "metrics" / f"{stage}.json"
    return dict(_json(path).get(stage, {})) if path.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    """Raises ValueError, in one line, for a file that is no JSON object."""
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged: make it again, or take it from its source") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path} is damaged: make it again, or take it from its source")
    return told
