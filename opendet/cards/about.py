"""What is known of a data set, as its card and its Croissant file tell it."""

from dataclasses import dataclass

IMAGE = "image"
TEXT = "text"
INTEGER = "integer"
NUMBER = "number"
TRUTH = "truth"
STRUCT = "struct"
KINDS = frozenset({IMAGE, TEXT, INTEGER, NUMBER, TRUTH, STRUCT})
"""What a feature's values are: an image file, a string, a whole number, a number, yes or no, or a
thing of several parts."""

SOURCE = "source"
PEOPLE = "people"
RULES = "rules"
OWN = "own"
MODEL = "model"

Counts = tuple[tuple[str, int], ...]
"""Word -> how often, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a table, or one key of a record."""

    name: str
    kind: str
    """One of `KINDS`."""
    told: str = ""
    """One line for people."""
    many: bool = False
    """Whether a row has a list of them."""
    parts: tuple["Feature", ...] = ()
    """Of a struct."""

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind
        assert bool(self.parts) == (self.kind == STRUCT), self.name


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of the data set."""

    path: str
    """Below the folder that the card lies in, with forward slashes."""
    bytes: int
    sha256: str
    split: str = ""
    """Empty for a file that belongs to no single split."""


@dataclass(frozen=True, slots=True)
class SourceAbout:
    """Where images came from."""

    name: str
    title: str
    licences: Counts
    """Licence, as the data says it -> images."""


@dataclass(frozen=True, slots=True)
class AnnotatorAbout:
    """Who said something, and what."""

    name: str
    revision: str
    kind: str
    """`source` for the data's own annotations, `people` for who corrected them, `rules` for
    programs without a model, `own` for a model that the build itself trained, else `model`."""
    said: Counts
    """What, such as `captions` -> how often."""
    licence: str = ""
    """Empty where it is not known."""
    licence_from: str = ""
    """Who says so."""


@dataclass(frozen=True, slots=True)
class SplitAbout:
    """Counts of one split."""

    split: str
    images: int
    captions: int
    """Images that have one."""
    regions: int
    kept: int
    """Regions that no rule refused."""


@dataclass(frozen=True, slots=True)
class StageAbout:
    """What one stage took in, let through, and took out."""

    stage: str
    told: str
    """What it does, in a line."""
    images_in: int
    images_out: int
    dropped: Counts
    """Reason -> images."""
    quarantined: int
    """Images that it failed on."""
    refused: Counts
    """Reason -> regions that stay in their records, and that nothing learns from."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A number that the build measured of itself."""

    stage: str
    what: str
    value: str
    """As it is to be read."""


@dataclass(frozen=True)
class DatasetAbout:
    """All that a card tells. Whatever is not known is empty, and said to be unknown."""

    build: str
    title: str
    version: str
    """The same for the same data: what the data hashes to."""
    formats: Counts
    """`jpg`, `png` or `webp` -> images."""
    sources: tuple[SourceAbout, ...]
    annotators: tuple[AnnotatorAbout, ...]
    splits: tuple[SplitAbout, ...]
    names: Counts
    """The most frequent names of kept regions, with how many regions bear them first."""
    distinct_names: int
    stages: tuple[StageAbout, ...]
    measured: tuple[Measured, ...]
    limits: tuple[str, ...]
    """What the data itself shows that a user must know, a sentence each."""
    features: tuple[Feature, ...] = ()
    files: tuple[DataFile, ...] = ()
    published: str = ""
    """A date, YYYY-MM-DD; empty where nobody has named one."""

    @property
    def summary(self) -> str:
        """One sentence for people."""
        kept = sum(split.kept for split in self.splits)
        origin = ", ".join(source.name for source in self.sources) or "nothing"
        return (
            f"{self.images:,} images with {kept:,} kept regions of {self.distinct_names:,} names, "
            f"built by Open-Det from {origin}."
        )

    @property
    def images(self) -> int:
        return sum(split.images for split in self.splits)

    @property
    def licences(self) -> Counts:
        """Of the images of all sources."""
        counts: dict[str, int] = {}
        for source in self.sources:
            for licence, images in source.licences:
                counts[licence] = counts.get(licence, 0) + images
        return ordered(counts)


def ordered(counts: dict[str, int]) -> Counts:
    """The most frequent first, those of equal count by name."""
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
