"""One YAML file fills one `Config`; every section lives beside the code that it configures."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from opendet.curate.caption import CaptionConfig
from opendet.curate.clip import ClipConfig
from opendet.curate.describe import DescribeConfig
from opendet.curate.embed import EmbedConfig
from opendet.curate.filter import FilterConfig
from opendet.curate.prototypes import PrototypesConfig
from opendet.curate.regions import RegionsConfig
from opendet.curate.shards import ShardsConfig
from opendet.curate.source import SourceConfig
from opendet.data.config import LoaderConfig
from opendet.evaluation.config import EvaluateConfig, ReportConfig
from opendet.model.config import DetectorConfig, NamerConfig
from opendet.section import Section
from opendet.train.config import TrainConfig
from opendet.train.objective_config import ObjectiveConfig


class RunConfig(Section):
    """How the stages run. Nothing here changes a byte of what they make."""

    actors: int = Field(default=2, ge=0)
    """Ray actors; 0 runs in one process, without Ray."""
    gpus: float = Field(default=0.0, ge=0)
    """Share of a GPU that each actor of a stage with a model books."""
    batch_size: int = Field(default=16, ge=1)
    """Images per call of a model."""


class Config(Section):
    """A whole configuration. The sections up to `shards`, `train`, `evaluate` and `report` have the
    names of the stages; `detector`, `namer`, `loader` and `objective` are what `train` trains."""

    run: RunConfig = RunConfig()
    source: SourceConfig = SourceConfig()
    caption: CaptionConfig = CaptionConfig()
    regions: RegionsConfig = RegionsConfig()
    describe: DescribeConfig = DescribeConfig()
    clip: ClipConfig = ClipConfig()
    embed: EmbedConfig = EmbedConfig()
    filter: FilterConfig = FilterConfig()
    prototypes: PrototypesConfig = PrototypesConfig()
    shards: ShardsConfig = ShardsConfig()
    detector: DetectorConfig = DetectorConfig()
    namer: NamerConfig = NamerConfig()
    loader: LoaderConfig = LoaderConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    report: ReportConfig = ReportConfig()


def load_config(path: Path) -> Config:
    """The configuration in a YAML file.

    Raises ValueError, in one line, that names every wrong key by its dotted path, with the nearest
    right one.
    """
    try:
        return Config.model_validate(yaml.safe_load(path.read_bytes()) or {})
    except FileNotFoundError as error:
        there = ", ".join(sorted(other.stem for other in path.parent.glob("*.yaml"))) or "none"
        raise ValueError(f"{path} is missing; the configurations here: {there}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        wrong = "; ".join(_explain(one) for one in error.errors())
        raise ValueError(f"{path}: {wrong}") from error


def _explain(error: Any) -> str:
    place = tuple(str(step) for step in error["loc"])
    where = ".".join(place) or "its root"
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg']}, not {error['input']!r}"
    near = difflib.get_close_matches(place[-1], _keys_at(place[:-1]), n=1, cutoff=0.5)
    return f"{where}: no such key" + (f" (did you mean {near[0]}?)" if near else "")


def _keys_at(place: tuple[str, ...]) -> list[str]:
    section: Any = Config
    for step in place:
        field = section.model_fields.get(step)
        section = field.annotation if field else None
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return []
    return list(section.model_fields)
