"""What can be set of LLMDet's caption objectives. Light to import."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from opendet.section import Section


class LanguageLoraConfig(Section):
    """Corrections of low rank of the language model's linear layers: LLMDet's, whose LLM would
    otherwise be a fixed reader."""

    rank: PositiveInt = 128
    """Width of a correction; LLMDet takes 64 for Swin-L."""
    alpha: float = Field(default=256.0, gt=0)
    """Strength of a correction, in units of its rank."""
    modules: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
    )
    """Last names of the layers that get one: attention and feed-forward of a Llama or a Qwen."""


class LlmdetConfig(Section):
    """Captions that a language model writes of the detector's features, in training alone
    (spec/llmdet.md). Left/right in a caption is wrong in a mirrored image: `loader.flip: 0`."""

    language: str = "none"
    """`none` leaves both objectives out; `t5` is the namer's own, trained or frozen as the namer
    is; else a causal language model of transformers, a folder or a name on the hub."""
    language_revision: str | None = None
    """Commit, branch or tag on the hub; without one a training keeps to the commit that it began
    with."""
    tuning: Literal["frozen", "lora"] = "frozen"
    """A causal model's own weights are never trained; `lora` trains corrections beside them."""
    lora: LanguageLoraConfig = LanguageLoraConfig()
    """The corrections of `tuning: lora`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of a causal model's own weights; in bfloat16 it also computes in it."""

    image_weight: NonNegativeFloat = 1.0
    """Cross-entropy of an image's caption, read from the encoder's maps; 0 leaves it out."""
    image_prompt: str = Field(default="Describe the image in detail.", min_length=1)
    """What the language model is asked, behind the image."""
    grids: dict[PositiveInt, PositiveInt] = Field(default={32: 20, 16: 27}, min_length=1)
    """Stride of a map -> side of the square grid of tokens that it is sampled to, coarse before
    fine; LLMDet's `only P5` is `{32: 27}`."""
    max_tokens: PositiveInt = 1600
    """Image, prompt and caption together; a caption is cut to what is left."""

    region_weight: NonNegativeFloat = 1.0
    """Cross-entropy of a region's description, of its name where it has none, read from its matched
    query; 0 leaves it out."""
    region_prompt: str = Field(default="Describe the region in a phrase.", min_length=1)
    """What the language model is asked, behind the region's token."""
    regions: PositiveInt = 16
    """At most so many of an image in a step, drawn at random."""
    region_tokens: PositiveInt = 40
    """A region's text is cut after so many tokens."""
    look_back_layers: NonNegativeInt = 6
    """So many of the language model's layers, evenly spaced, read the encoder's maps around the
    region's box; 0 leaves its token alone with what it has."""

    projector_steps: NonNegativeInt = 0
    """In so many steps at the start only the projectors learn (LLaVA's first stage): the detector
    and the language model stay as they are."""
    keep: bool = False
    """Whether the model folder also gets what the objectives trained, for a run that begins with it
    (`train.start_from`); no detector needs it to detect."""

    @property
    def used(self) -> bool:
        """Whether there is an objective at all."""
        return self.language != "none"

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.language:
            raise ValueError("language is empty: give none, t5, a folder or a name on the hub")
        if self.used and not (self.image_weight or self.region_weight):
            raise ValueError(
                f"language {self.language} has nothing to write: raise image_weight or "
                "region_weight, or set language: none"
            )
        if self.language == "t5" and self.tuning == "lora":
            raise ValueError(
                "tuning: lora is for a causal language model: the namer's T5 is trained as the "
                "section namer says"
            )
        return self
