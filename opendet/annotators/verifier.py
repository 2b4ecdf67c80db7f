"""What a verifier that sees pixels is asked about an image's pseudo-labels, and what it is shown.

Four questions, as SAM 3's data engine has them: is this region's name right, is its box tight, has
every thing of a name been found, and is there a thing of that name at all. A question looks at a
part of the image or at all of it, with the boxes that it speaks of drawn in red.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

from pydantic import Field, field_validator

from opendet.annotators.windows import window_of
from opendet.curate.prompting import Prompt
from opendet.curate.text import clean_text
from opendet.record import BoxXYXY, Record, Region
from opendet.sample import Sample
from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["name", "box", "all_found", "there"]

RED = (255, 0, 0)
DRAWING = "1"
"""Changes when the same question shows another picture."""

_ALONE = "Answer with yes or no alone."
_PLACE = "{name}"


class VerifierSection(Section):
    """What is asked, in words or by a prompt's file. A question that is null is not asked; `{name}`
    is the name in doubt."""

    name_prompt: Prompt | None = Prompt(
        text=f'Is "{_PLACE}" a right name for the main object in this picture? {_ALONE}'
    )
    """About a region's crop: whether its name is right."""
    box_prompt: Prompt | None = Prompt(
        text=f"A red box is drawn around one {_PLACE}. Is the box tight: is the whole object in "
        f"it, and hardly anything else? {_ALONE}"
    )
    """About the image with the region's box drawn: whether the box is tight."""
    all_found_prompt: Prompt | None = Prompt(
        text=f"Red boxes are drawn around every {_PLACE} that was found in this image. Were all of "
        f"them found? {_ALONE}"
    )
    """About the image with all boxes of a name drawn: whether there is no more without one."""
    there_prompt: Prompt = Prompt(text=f"Is there a {_PLACE} anywhere in this image? {_ALONE}")
    """About the image: whether a name that is tried as a hard negative is there after all."""
    context: float = Field(default=0.2, ge=0)
    """How far the crop reaches beyond its box on each side, as a share of the box's side."""
    box_context: float | None = Field(default=None, ge=0)
    """The same for the picture with the drawn box, where small boxes must be seen larger; null
    shows the whole image."""
    longest_side: int = Field(default=1024, ge=32)
    """Larger pictures are shown smaller, with a longer side of so many pixels."""
    least_belief: float = Field(default=0.5, ge=0, le=1)
    """Belief above which a name counts as absent, or as one of more things than have boxes."""

    @field_validator("name_prompt", "box_prompt", "all_found_prompt", "there_prompt")
    @classmethod
    def _has_a_place_for_the_name(cls, prompt: Prompt | None) -> Prompt | None:
        if prompt is not None and prompt.is_read and _PLACE not in prompt.text:
            raise ValueError(f"write {_PLACE} where the name in doubt belongs")
        return prompt


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that a question is about."""

    window_xyxy: tuple[int, int, int, int]
    """What of the image is in it, in whole pixels."""
    drawn_xyxy: tuple[BoxXYXY, ...]
    """The boxes that are drawn, in pixels of the image."""


@dataclass(frozen=True, slots=True)
class Question:
    kind: Kind
    region: int
    """Index into the record's regions; -1 for a question about the whole image."""
    name: str
    prompt: str
    """With the name in its place."""
    version: str
    """Of the prompt's file; empty where it has none."""
    shown: Shown


class Pictures(Sequence["Image"]):
    """The pictures of some questions, each made when it is looked at: a model that remembers its
    answers looks at few of them."""

    def __init__(self, asked: Sequence[tuple[Sample, Question]], *, longest_side: int) -> None:
        self._asked, self._longest_side = asked, longest_side

    def __len__(self) -> int:
        return len(self._asked)

    @overload
    def __getitem__(self, place: int) -> "Image": ...
    @overload
    def __getitem__(self, place: slice) -> "list[Image]": ...
    def __getitem__(self, place: int | slice) -> "Image | list[Image]":
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        sample, question = self._asked[place]
        assert sample.pixels is not None, f"{sample.key} came without pixels"
        return picture(sample.pixels, question.shown, longest_side=self._longest_side)


def is_checked(region: Region) -> bool:
    """Whether there is one thing in the box, and a name for it."""
    return bool(region.names and region.names[0].strip()) and not region.crowd


def questions_of(
    record: Record, tried: Sequence[str], config: VerifierSection
) -> tuple[Question, ...]:
    """All questions about an image. `tried`: the names that may be hard negatives of it."""
    return (*_of_regions(record, config), *_of_names(record, tried, config))


def picture(pixels: "Image", shown: Shown, *, longest_side: int) -> "Image":
    """The window in RGB, at most `longest_side` large, with the boxes drawn around what is in them.

    The line lies outside its box, so that it hides nothing of the object, but within the picture.
    """
    from PIL import Image, ImageDraw

    left, top, right, bottom = shown.window_xyxy
    canvas = pixels.crop((left, top, right, bottom)).convert("RGB")
    scale = min(1.0, longest_side / max(canvas.size))
    if scale < 1:
        smaller = (max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale)))
        canvas = canvas.resize(smaller, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    line = max(1, round(max(canvas.size) / 250))
    for x0, y0, x1, y1 in shown.drawn_xyxy:
        corners = (
            max(0, int((x0 - left) * scale) - line),
            max(0, int((y0 - top) * scale) - line),
            min(canvas.width - 1, int((x1 - left) * scale + 0.999) + line - 1),
            min(canvas.height - 1, int((y1 - top) * scale + 0.999) + line - 1),
        )
        pen.rectangle(corners, outline=RED, width=line)
    return canvas


def _of_regions(record: Record, config: VerifierSection) -> Iterator[Question]:
    for index, region in enumerate(record.regions):
        if not is_checked(region):
            continue
        name, box_xyxy = region.names[0], region.box_xyxy
        if config.name_prompt:
            crop = Shown(window_of(record, box_xyxy, config.context), ())
            yield Question("name", index, name, *_filled(config.name_prompt, name), crop)
        if config.box_prompt:
            drawn = Shown(window_of(record, box_xyxy, config.box_context), (box_xyxy,))
            yield Question("box", index, name, *_filled(config.box_prompt, name), drawn)


def _of_names(record: Record, tried: Sequence[str], config: VerifierSection) -> Iterator[Question]:
    whole = window_of(record, None, None)
    known = {judged.name for judged in record.partial}  # no answer would change it
    checked = (region.names[0] for region in record.regions if is_checked(region))
    names = [name for name in dict.fromkeys(checked) if name not in known]
    if config.all_found_prompt:
        for name in names:
            boxes = tuple(one.box_xyxy for one in record.regions if name in one.names)
            filled = _filled(config.all_found_prompt, name)
            yield Question("all_found", -1, name, *filled, Shown(whole, boxes))
    for name in tried:
        yield Question("there", -1, name, *_filled(config.there_prompt, name), Shown(whole, ()))


def _filled(prompt: Prompt, name: str) -> tuple[str, str]:
    """The words with the name in its place, and their version."""
    return prompt.text.replace(_PLACE, clean_text(name)), prompt.version
