"""The record: one image and what is believed about it.

Records are frozen. A stage never edits one: it returns a fuller one (`dataclasses.replace`).
Boxes are xyxy in pixels of the upright image: its EXIF orientation is honoured in width, height
and boxes, while the file's bytes stay as they were. Every belief says where it came from.

`opendet.schema` holds the contract of a record on disk.
"""

from dataclasses import dataclass

BoxXYXY = tuple[float, float, float, float]

NAME_REFUSALS = frozenset(
    {
        *("no name", "disagrees", "not judged", "name judged wrong", "called otherwise"),
        *("contradicted by training", "not learned by training"),
    }
)
"""Reasons of the stage `filter` that speak against a region's name and not against its box."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a belief came from."""

    model: str
    """Who said it: `source` for the data's own annotations, else an annotator or a model's name."""
    revision: str = ""
    """The version of the weights or of the rules."""
    prompt: str = ""
    """The prompt as the model saw it, where there was one."""
    score: float | None = None
    """How sure the model was, in its own unit; None where it does not say."""


@dataclass(frozen=True, slots=True)
class Mask:
    """Which pixels of the upright image are the region's."""

    counts: str
    """COCO's compressed run-length code, down the columns; of the record's height and width."""
    mask_from: Provenance


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's words of a conversation about the image."""

    speaker: str
    """`human` or `gpt`, as the field's files have it."""
    text: str


@dataclass(frozen=True, slots=True)
class NameJudgement:
    """What is known of one name in the whole image."""

    name: str
    judged_from: Provenance
    """Who says so; its score is the belief that it is so, in [0, 1], where there is one."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A span of the caption and the regions that it speaks of."""

    start: int
    """First character in the caption."""
    end: int
    """One past the last character."""
    regions: tuple[int, ...]
    """Indices into the record's regions; empty for a phrase that nothing was found for."""
    grounded_from: Provenance


@dataclass(frozen=True, slots=True)
class Region:
    """A box and what is said of it."""

    box_xyxy: BoxXYXY
    """Pixels of the upright image, 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height."""
    box_from: Provenance
    label: str | None = None
    """What the source itself calls it: the truth that evaluation judges by. No annotator that reads
    pixels, no filter rule and no loss ever sees it. None where the source says nothing."""
    other_labels: tuple[str, ...] = ()
    """The source's further words for it (synonyms), of equal standing with `label`."""
    crowd: bool = False
    """The box covers a group that was not annotated one by one (COCO's iscrowd)."""
    mask: Mask | None = None
    names: tuple[str, ...] = ()
    """What the detector may learn to call it, the first one preferred."""
    names_from: Provenance | None = None
    description: str = ""
    """One short sentence of the region."""
    description_from: Provenance | None = None
    """With an empty description: who was asked for one, and why there is none."""
    agreement: float | None = None
    """CLIP cosine of the region's crop and its text, in [-1, 1]; None before the stage `embed`."""
    rival: str = ""
    """The best other name of the build's vocabulary for this crop."""
    rival_agreement: float | None = None
    """CLIP cosine of the crop and the rival, in [-1, 1]."""
    agreement_from: Provenance | None = None
    seconded: float | None = None
    """Cosine, in [-1, 1], of its name's text and the most alike name that another annotator gave to
    a box there (IoU >= 0.5): the two agree on what and where. None where no other saw anything
    there, or before the stage `embed`."""
    name_checked: Provenance | None = None
    """The verifier of its first name; the score is the belief that it is right, in [0, 1]."""
    box_checked: Provenance | None = None
    """The verifier of its box; the score is the belief that it is tight, in [0, 1]."""
    refusal: str = ""
    """Why the stage `filter` refused it; empty for a region that is kept. A refused region stays
    in the record, so that nobody has to ask where it went; no loss uses its name."""

    @property
    def kept(self) -> bool:
        return not self.refusal

    @property
    def true_names(self) -> tuple[str, ...]:
        """What the source calls it, each as right as the others; for counting and judging only."""
        return (self.label, *self.other_labels) if self.label is not None else ()

    @property
    def has_object(self) -> bool:
        """Whether its box may be learned from: there is one object, whatever it is called."""
        return not self.crowd and (self.kept or self.refusal in NAME_REFUSALS)


@dataclass(frozen=True, slots=True)
class Record:
    """One image, where it lies, and what is believed about it."""

    key: str
    """Unique in the build, `^[0-9A-Za-z_-]{1,90}$`, begins with the batch's name."""
    source: str
    """The source's name, as its source.yaml says."""
    batch: str
    """The batch of the source. A batch never changes once it is built."""
    split: str
    """`train`, `val` or `test`."""
    licence: str
    file: str
    """Where the source has the image: a path relative to the batch's root, with forward slashes."""
    format: str
    """`jpg`, `png` or `webp`, by content and not by name."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Of the file's bytes, lower-case hexadecimal."""
    width: int
    """Pixels of the upright image."""
    height: int
    """Pixels of the upright image."""
    phash: str = ""
    """64-bit perceptual hash, hexadecimal."""
    near_duplicate_of: str = ""
    """Key of an earlier image that looks the same, where the build flags twins and drops none."""
    source_captions: tuple[str, ...] = ()
    """Captions that the source brought along."""
    caption: str = ""
    caption_from: Provenance | None = None
    phrases: tuple[Phrase, ...] = ()
    regions: tuple[Region, ...] = ()
    tags: tuple[str, ...] = ()
    """Words for the whole image, in the order of whoever gave them."""
    tags_from: Provenance | None = None
    conversation: tuple[Turn, ...] = ()
    """About the image, as the source brought it along."""
    absent: tuple[NameJudgement, ...] = ()
    """Names that were looked for and are not there (LVIS's negatives), or are said to be absent:
    what training may show as wrong."""
    partial: tuple[NameJudgement, ...] = ()
    """Names of which more is there than has a box (LVIS's not exhaustive ones)."""
