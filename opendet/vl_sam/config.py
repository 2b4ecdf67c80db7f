"""How VL-SAM is told what to do: which two models, what is asked, how a map becomes masks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from opendet.annotators.detection import FinderSection
from opendet.section import explain
from opendet.vl_sam.points import Threshold
from opendet.yaml_file import read_yaml

QUESTION = (
    "List every object that you can see in this image, large and small. "
    "Give only their names, separated by commas."
)


class VlSamConfig(FinderSection):
    """A vision-language model (`model`) that says what is there, and a SAM that draws it."""

    annotator: Literal["vl_sam"] = "vl_sam"
    """Which detector this is."""
    segmenter: str = ""
    """A folder that holds a SAM, SAM 2 or SAM 3, or its name on the hub."""
    segmenter_revision: str | None = None
    """Its commit, branch or tag on the hub."""
    batch_size: int = Field(default=4, ge=1)
    """Questions about one image that the model is asked together, halved for as long as a GPU's
    memory does not hold them."""
    longest_side: int = Field(default=1024, ge=56)
    """Pixels of a view's longer side that the model is shown at most; the segmenter sees all of
    them. N tokens attend to each other in N x N numbers for each head, and some models have a token
    for every 28 x 28 pixels."""
    questions: tuple[str, ...] = Field(default=(QUESTION,), min_length=1)
    """What the model is asked of every view; each of its answers counts."""
    own_questions: int = Field(default=0, ge=0)
    """Further questions, which the model writes itself, once; 10 as published."""
    answers: Literal["list", "phrases"] = "list"
    """How an answer is read: `list` as a list of names in any form, `phrases` as a description,
    whose noun phrases are names."""
    corners: bool = True
    """Whether the image's four quarters are looked at too, as published, beside the whole of it;
    what a quarter's border cuts is left to the other views."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens; of one that is cut off, the last name goes."""
    temperature: float = Field(default=0.0, ge=0)
    """Of sampled answers, 0.8 as published; 0: the likeliest words, the same ones each time."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Chance of the likeliest words that are sampled from, 0.1 as published; of no effect at
    temperature 0."""
    seed: int = Field(default=0, ge=0)
    """Of sampled answers: the same seed gives an image the same answers."""
    threshold: Threshold = "mean_std"
    """From where on a map is hot: its mean and one standard deviation, or Otsu's rule."""
    redraws: int = Field(default=1, ge=0)
    """How often a mask is handed back to be drawn anew with its pair of points."""
    instances: int = Field(default=3, ge=1)
    """Most things of one name that are looked for in one view, one after the other."""
    prompts_at_once: int = Field(default=16, ge=1)
    """Pairs of points in one call of the segmenter; halved for as long as a GPU's memory does not
    hold them."""
    mask_iou: float = Field(default=0.7, gt=0, le=1)
    """IoU of masks from which one repeats a surer one, whatever they are called."""


def read_vl_sam_config(path: Path, **knobs: Any) -> VlSamConfig:
    """What a YAML file says, `knobs` over its own; every wrong key in one line of a ValueError."""
    if not path.is_file():
        raise ValueError(
            f"there is no file {path}: write a YAML file that names model and segmenter"
        )
    told = read_yaml(path) or {}
    if not isinstance(told, Mapping):
        raise ValueError(f"{path} is no section of keys: write `model: ...` and `segmenter: ...`")
    try:
        return VlSamConfig.model_validate({**told, **knobs})
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error, VlSamConfig)}") from error
