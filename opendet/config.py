"""One YAML file fills one `Config`; every section lives beside the code that it configures."""

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, field_validator, model_validator

from opendet.curate.caption import CaptionConfig
from opendet.curate.clip import ClipConfig
from opendet.curate.describe import DescribeConfig
from opendet.curate.embed import EmbedConfig
from opendet.curate.filter import FilterConfig
from opendet.curate.prototypes import PrototypesConfig
from opendet.curate.regions import RegionsConfig
from opendet.curate.shards import ShardsConfig
from opendet.curate.source import SourceConfig
from opendet.curate.verify import VerifyConfig
from opendet.data.config import LoaderConfig
from opendet.evaluation.config import EvaluateConfig, ReportConfig
from opendet.model.config import DetectorConfig, NamerConfig
from opendet.section import Section, explain
from opendet.train.config import TrainConfig
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.text_config import TextConfig
from opendet.yaml_file import read_yaml


class RunConfig(Section):
    """How the stages run. Nothing here changes a byte of what they make."""

    actors: int = Field(default=2, ge=0)
    """Ray actors; 0 runs in one process, without Ray."""
    gpus: float = Field(default=0.0, ge=0)
    """Share of a GPU that each actor of a stage with a model books."""
    batch_size: int = Field(default=16, ge=1)
    """Images per call of a model."""
    answers: str = ".opendet/answers"
    """Folder of the answer store, below the project or, as an absolute path, anywhere that all
    workers see: what models said of images is kept there, for any build to use. Empty: none."""

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("above 1 it is a whole number of GPUs: Ray shares one, not several")
        return gpus


class Config(Section):
    """A whole configuration. The sections up to `shards`, `train`, `evaluate` and `report` have the
    names of the stages; `detector`, `namer`, `loader`, `objective` and `text` are what `train`
    trains and by what."""

    run: RunConfig = RunConfig()
    source: SourceConfig = SourceConfig()
    caption: CaptionConfig = CaptionConfig()
    regions: RegionsConfig = RegionsConfig()
    describe: DescribeConfig = DescribeConfig()
    clip: ClipConfig = ClipConfig()
    embed: EmbedConfig = EmbedConfig()
    verify: VerifyConfig = VerifyConfig()
    filter: FilterConfig = FilterConfig()
    prototypes: PrototypesConfig = PrototypesConfig()
    shards: ShardsConfig = ShardsConfig()
    detector: DetectorConfig = DetectorConfig()
    namer: NamerConfig = NamerConfig()
    loader: LoaderConfig = LoaderConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    text: TextConfig = TextConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _captions_fit(self) -> Self:
        """What one stage is told is not undone, or made untrue, by another."""
        if self.caption.without_caption == "keep" and self.filter.require_caption:
            raise ValueError(
                "filter.require_caption drops what caption.without_caption keeps: set it to false"
            )
        if self.regions.detectors and self.caption.caption_empty_images:
            raise ValueError(
                "caption.caption_empty_images calls an image empty before regions.detectors look: "
                "leave it out; caption.without_caption: keep lets such images pass"
            )
        return self

    @model_validator(mode="after")
    def _names_have_their_clip(self) -> Self:
        if self.detector.semantics == "prototypes" and self.text.tower != "build":
            raise ValueError(
                "detector.semantics: prototypes reads names by the CLIP that made the pool: leave "
                f"text.tower at build, not {self.text.tower}"
            )
        return self

    @model_validator(mode="after")
    def _regions_keep_their_numbers(self) -> Self:
        """Crop vectors and signals are found by a region's place in its record."""
        if not self.shards.keep_refused and (
            self.detector.semantics == "prototypes" or self.train.signals
        ):
            asks = "train.signals" if self.train.signals else "detector.semantics: prototypes"
            raise ValueError(
                f"shards.keep_refused: false numbers regions anew, and {asks} finds them by "
                "their number: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _captions_stay_true(self) -> Self:
        if self.objective.llmdet.used and self.loader.flip:
            raise ValueError(
                f"loader.flip {self.loader.flip:g} mirrors images, and not what their captions say "
                "of left and right: set it to 0 with objective.llmdet"
            )
        if self.objective.llmdet.used and self.loader.crop:
            raise ValueError(
                f"loader.crop {self.loader.crop:g} cuts away what captions tell of: set it to 0 "
                "with objective.llmdet"
            )
        return self

    @model_validator(mode="after")
    def _beliefs_have_a_verifier(self) -> Self:
        """A rule over beliefs that nobody measures would refuse every region."""
        judge = self.verify.annotator
        if self.filter.min_name_belief is not None and judge == "none":
            raise ValueError("filter.min_name_belief needs a verifier: set verify.annotator")
        if self.filter.min_box_belief is not None and judge in ("none", "clip"):
            raise ValueError(
                "filter.min_box_belief needs a verifier that sees boxes: set verify.annotator to "
                "vision_language or served"
            )
        judges = self.filter.min_name_belief is not None or self.filter.min_box_belief is not None
        if self.filter.min_box_belief is not None and self.verify.box_prompt is None:
            raise ValueError("filter.min_box_belief needs verify.box_prompt, which is null")
        asked = judge in ("vision_language", "served")
        if self.filter.min_name_belief is not None and asked and self.verify.name_prompt is None:
            raise ValueError("filter.min_name_belief needs verify.name_prompt, which is null")
        if judges and (unjudged := set(self.filter.splits) - set(self.verify.splits)):
            raise ValueError(
                f"filter.splits has {', '.join(sorted(unjudged))}, which verify.splits has not: "
                "name it there too"
            )
        return self


def load_config(path: Path) -> Config:
    """The configuration in a YAML file.

    Raises ValueError, in one line, that names every wrong key by its dotted path, with the nearest
    right one.
    """
    try:
        return Config.model_validate(read_yaml(path) or {})
    except FileNotFoundError as error:
        there = ", ".join(sorted(other.stem for other in path.parent.glob("*.yaml"))) or "none"
        raise ValueError(f"{path} is missing; the configurations here: {there}") from error
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error, Config)}") from error
