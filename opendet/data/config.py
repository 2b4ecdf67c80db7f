"""How shards become batches."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from opendet.data.kinds import KindChoice
from opendet.section import Section

CaptionText = Literal["caption", "conversation"]
MosaicSide = Annotated[int, Field(ge=1, le=6)]
MosaicShare = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class MixtureSource(Section):
    """One source of the mixture that an epoch is drawn from."""

    batch: str
    """The batch of the build's source card; that of its records."""
    weight: float = Field(gt=0, allow_inf_nan=False)
    """Its share of an epoch's draws, relative to the other sources' weights."""
    kind: KindChoice = "auto"
    """What its annotations are good for, and so which losses use them: `box`, `pseudo_box` (boxes
    that a model drew), `image` (the caption alone). `auto` asks each record: a caption without an
    object is `image`, an object that a model found makes it `pseudo_box`, anything else is `box`.
    """


class LoaderConfig(Section):
    """What the trainer's loader reads and how it varies it."""

    split: str = "train"
    """Split of the shards to train on."""
    batch_size: int = Field(8, ge=1)
    """Images a step on each rank."""
    drop_last: bool = True
    """Leave out an epoch's last batch where it is not full; off, it comes smaller."""
    seed: int = Field(0, ge=0)
    """Decides the order of an epoch and every sample's augmentation, whatever the workers."""
    mixture: tuple[MixtureSource, ...] = ()
    """The sources to draw from, by weight; others are left out. Empty: every sample of the split
    once an epoch, its boxes taken as people's (`kind: box`)."""
    epoch_draws: int = Field(0, ge=0)
    """Samples drawn in an epoch; 0: as many as there are to draw from, or, with repeat factors and
    no mixture, as many as the factors add up to. Samples of one source and one repeat factor come
    equally often, but for one draw that chance decides in each epoch."""
    repeat_threshold: float = Field(0.0, ge=0, le=1)
    """Share t of the images below which a name counts as rare; images with one come
    max(1, sqrt(t / share)) times as often (repeat factor sampling of LVIS, there 0.001). Within a
    source of the mixture, whose share stays its weight. 0 is off."""
    texts: CaptionText = "caption"
    """What an image's caption is in training: the record's, or the last answer of its conversation,
    where it has one (LLMDet's long captions)."""
    drop_empty: bool = False
    """Leave out images without an object to learn from, as GenerateU does; those of `kind: image`
    stay if they have a caption. Off, they stay and teach what is background."""
    workers: int = Field(0, ge=0)
    """Processes that decode; 0 decodes in the trainer's own. The batches are the same."""
    cache: bool = False
    """Keep decoded and resized images in memory, one for each size that was drawn: for data sets
    of some hundred images. With workers each of them keeps its own. The batches are the same."""
    shortest_edges: tuple[PositiveInt, ...] = Field(tuple(range(480, 801, 32)), min_length=1)
    """Pixels of an image's shortest edge; one is drawn for each image."""
    longest_edge: int = Field(1333, ge=1)
    """Pixels of an image's longest edge at most; wins over the shortest edge."""
    evaluation_edge: int = Field(800, ge=1)
    """Shortest edge, in pixels, where nothing is drawn: evaluation."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability of mirroring left and right; 0 where names or descriptions tell left from right.
    """
    crop: float = Field(0.5, ge=0, le=1)
    """Probability of cutting a part out before the last resize."""
    crop_edges: tuple[PositiveInt, ...] = Field((400, 500, 600), min_length=1)
    """Shortest edge, in pixels, of the image of which a part is cut out; one is drawn."""
    crop_sides: tuple[PositiveInt, PositiveInt] = (384, 600)
    """Smallest and largest side of the part, in pixels."""
    crop_keep: float = Field(0.0, ge=0, le=1)
    """A box that has less than this share of its area inside the part is dropped; 0 drops only
    those that are outside, as GenerateU does."""
    mosaic: dict[MosaicSide, MosaicShare] = Field(default_factory=dict)
    """How often an image comes as one tile of a grid, by the grid's side; shares are relative, and
    `{1: 2, 2: 1, 3: 1}` leaves half of the images alone. The other tiles are drawn from the epoch's
    images of the same kind, and each is augmented by itself. OWL-ST goes up to 6 and shows 13.2
    images at a time, as equal shares of 1, 2, 3, 4 and 6 do. Empty: never."""
    mosaic_least_side: float = Field(4.0, ge=0)
    """A box in a mosaic with a side below this, in pixels, is left out: nothing can be seen of it.
    """
    multiple: int = Field(32, ge=1)
    """Batches are padded to sides that this divides, in pixels."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        batches = [source.batch for source in self.mixture]
        twice = next((batch for batch in batches if batches.count(batch) > 1), None)
        if twice:
            raise ValueError(f"mixture names the batch {twice} twice: give it one weight")
        return self

    @model_validator(mode="after")
    def _smallest_first(self) -> Self:
        if self.crop_sides[0] > self.crop_sides[1]:
            raise ValueError(f"crop_sides {self.crop_sides}: write the smallest side first")
        return self
