"""How shards become batches."""

from pydantic import Field

from opendet.section import Section


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
    workers: int = Field(0, ge=0)
    """Processes that decode; 0 decodes in the trainer's own. The batches are the same."""
    cache: bool = False
    """Keep decoded and resized images in memory, one for each size that was drawn: for data sets
    of some hundred images. With workers each of them keeps its own. The batches are the same."""
    shortest_edges: tuple[int, ...] = Field(tuple(range(480, 801, 32)), min_length=1)
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
    crop_edges: tuple[int, ...] = Field((400, 500, 600), min_length=1)
    """Shortest edge, in pixels, of which a part is cut out."""
    crop_sides: tuple[int, int] = (384, 600)
    """Smallest and largest side of the part, in pixels."""
    crop_keep: float = Field(0.5, gt=0, le=1)
    """A box that has less than this share of its area inside the part is dropped."""
    multiple: int = Field(32, ge=1)
    """Batches are padded to sides that this divides, in pixels."""
