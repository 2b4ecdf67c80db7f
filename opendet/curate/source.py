"""The stage `source`: each image that a batch lists is opened, judged and hashed, or refused."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from opendet.curate.source_record import in_pixels, record_of
from opendet.record import Record
from opendet.sample import Dropped
from opendet.section import Section
from opendet.sources.card import Batch, SourceCard
from opendet.sources.image_files import OverlongError, image_places
from opendet.sources.images import ImageFacts, inspect_image
from opendet.sources.listing import AnnotatedBox, Entry, RefusedError
from opendet.sources.scenes import draw_batch_scene
from opendet.sources.voc import read_voc
from opendet.sources.yolo import read_class_names, read_yolo


class SourceConfig(Section):
    """What images are let in, and how they are cut into shards."""

    max_pixels: int = Field(50_000_000, ge=1)
    """Larger images are refused before they are decoded."""
    max_bytes: int = Field(100_000_000, ge=1)
    """Larger files are refused before they are read; at an address, after so many bytes."""
    min_side: int = Field(16, ge=1)
    """Pixels; images with a shorter side are refused."""
    near_duplicates: Literal["drop", "flag", "keep"] = "flag"
    """What becomes of an image that looks like an earlier one; exact duplicates always go."""
    near_duplicate_bits: int = Field(4, ge=0, le=16)
    """Two images look the same when so many bits of their 64-bit hashes differ, or fewer."""
    shard_bytes: int = Field(256_000_000, ge=1)
    """A shard is full at so many bytes of images."""
    shard_samples: int = Field(10_000, ge=1, le=1_000_000)
    """Or at so many images."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An image that passed."""

    record: Record
    content: bytes | None
    """The bytes of a scene, which lies nowhere yet; None for an image that the source has."""
    problems: Counter[str]
    """What was wrong with its boxes and captions, such as `box.degenerate`."""

    @property
    def key(self) -> str:
        return self.record.key


def tally(items: Iterable[Checked]) -> dict[str, int]:
    """All problems of the images that passed, added up."""
    return dict(sorted(sum((item.problems for item in items), Counter[str]()).items()))


class SourceChecker:
    """Opens what a batch lists. Draws the scenes."""

    def __init__(
        self, config: SourceConfig, card: SourceCard, project_root: Path | None = None
    ) -> None:
        root = project_root or Path.cwd()
        self._config = config
        self._card = card
        self._batches = {batch.name: batch for batch in card.batches}
        self._names: dict[str, Mapping[int, str]] = {}
        """Batch of YOLO -> its class names."""
        self._roots = {
            batch.name: batch.folder(root) for batch in card.batches if batch.format != "scenes"
        }
        self._places = image_places(card, root)

    def __call__(self, entries: Sequence[Entry]) -> list[Checked | Dropped]:
        return [self._check(entry) for entry in entries]

    def _check(self, entry: Entry) -> Checked | Dropped:
        if entry.problem:
            return Dropped(entry.key, entry.problem, entry.problem_detail or entry.file)
        batch = self._batches[entry.batch]
        try:
            if entry.scene is not None:
                entry, content = self._draw(entry, batch)
            else:
                entry, content = self._open(entry)
            facts = self._inspect(content)
            entry = self.annotated(entry, facts)
            problems: Counter[str] = Counter()
            record = record_of(entry, facts, problems, source=self._card.name, batch=batch)
        except RefusedError as refusal:
            return Dropped(entry.key, refusal.reason, refusal.detail or entry.file)
        return Checked(record, content if entry.scene is not None else None, problems)

    def _draw(self, entry: Entry, batch: Batch) -> tuple[Entry, bytes]:
        assert entry.scene is not None
        scene = draw_batch_scene(
            self._card.scenes, batch=batch.name, split=batch.split, index=entry.scene
        )
        boxes = tuple(AnnotatedBox(item.box_xyxy, item.name) for item in scene.objects)
        return replace(entry, annotations=boxes, captions=scene.captions), scene.content

    def _open(self, entry: Entry) -> tuple[Entry, bytes]:
        place = self._places[entry.batch]
        try:
            return entry, place.read(entry.file, most_bytes=self._config.max_bytes)
        except FileNotFoundError as error:
            raise RefusedError("missing file", entry.file) from error
        except OverlongError as error:
            raise RefusedError("file too large", entry.file) from error

    def annotated(self, entry: Entry, facts: ImageFacts) -> Entry:
        """With the boxes of the image's own annotation file, and of its own size.

        Raises RefusedError where they are broken, or are of an image of another form.
        """
        if entry.normalised:
            return in_pixels(entry, facts)
        if not entry.annotation_file:
            return entry
        path = self._roots[entry.batch] / entry.annotation_file
        batch = self._batches[entry.batch]
        if batch.format == "yolo":
            size, names = (facts.width, facts.height), self._class_names(entry.batch)
            return replace(entry, annotations=read_yolo(path, size, names, masks=batch.masks))
        read = read_voc(path)
        return replace(entry, annotations=read.boxes, declared_size=read.declared_size)

    def _class_names(self, batch: str) -> Mapping[int, str]:
        if batch not in self._names:
            path = self._roots[batch] / self._batches[batch].annotations
            self._names[batch] = read_class_names(path)
        return self._names[batch]

    def _inspect(self, content: bytes) -> ImageFacts:
        facts = inspect_image(content, max_pixels=self._config.max_pixels)
        if min(facts.width, facts.height) < self._config.min_side:
            raise RefusedError("image too small", f"{facts.width}x{facts.height}")
        return facts
