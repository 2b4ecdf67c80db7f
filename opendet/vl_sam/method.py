"""VL-SAM as a finder, and as a detector of its own (Lin et al. 2024; its code is not public).

One view of an image after the other: the model is asked what it sees, each name of its answers has
a map of where it looked, the maps have points, the points masks. What all views and questions found
is then made one. A thing's score is the IoU that the segmenter predicts for its mask.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opendet.annotators.detection import Found
from opendet.annotators.segment import SegmentConfig, Segmenter
from opendet.annotators.tiling import Tile, is_cut, shifted
from opendet.sources.images import to_rgb
from opendet.vl_sam.config import VlSamConfig, read_vl_sam_config
from opendet.vl_sam.ensembles import Thing, is_narrow, joined, views
from opendet.vl_sam.heatmaps import NamedMap, cell_of, heat_of, of_larger
from opendet.vl_sam.refinement import Hit, RefineRules, found_on_maps
from opendet.vl_sam.speaker import PLACE, Question, Speaker

if TYPE_CHECKING:
    from PIL.Image import Image

    from opendet.detections import Detections

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sight:
    """One name's map in one view of an image, and what was drawn by it."""

    view: Tile
    """In the image's pixels."""
    map: NamedMap
    hits: tuple[Hit, ...]
    """In the view's pixels."""


class VlSam:
    """Both models, loaded."""

    def __init__(self, config: VlSamConfig, place: str = PLACE) -> None:
        """`place` is how errors begin; raises ValueError, in one line, where a model is none."""
        self._config = config
        self._speaker = Speaker(config, place)
        self._segmenter = Segmenter(_drawing(config), knob=f"{place}segmenter")
        self._rules = RefineRules(config.threshold, config.redraws, config.instances)
        self._questions = self._speaker.questions()
        self._seen: list[tuple[Image, list[Sight]]] = []

    @property
    def name(self) -> str:
        """What provenance calls the two models together."""
        return f"{self._speaker.name} with {self._segmenter.name}"

    @property
    def revision(self) -> str:
        """The versions of both models' weights."""
        return f"{self._speaker.revision}+{self._segmenter.revision}"

    @property
    def questions(self) -> tuple[str, ...]:
        """What is asked of every view, the model's own questions at the end."""
        return self._questions

    @property
    def refused(self) -> Counter[str]:
        """Why answers, names, maps and masks led to nothing, since the models were loaded."""
        return self._speaker.refused

    def find(
        self,
        images: "Sequence[Image]",
        names: Sequence[tuple[str, ...]],  # noqa: ARG002
    ) -> list[list[Found]]:
        """What is in each RGB image, as `detection.Finder` promises it, with masks. A thing that
        was called several names is there once for each, with the name's own score."""
        floor, most = self._config.floor, self._config.most
        found = []
        for image in images:
            things = self._joined(self.look(image), image.size, floor)
            named = [one for thing in things for one in _by_name(thing)]
            found.append(sorted(named, key=lambda one: -one.score)[:most])
        return found

    def detect(self, images: "Sequence[Image]") -> "list[Detections]":
        """Upright images of any size and mode -> what is in each of them, one to one."""
        upright = [to_rgb(image) for image in images]
        sights = [self.look(image) for image in upright]
        self._seen = list(zip(upright, sights, strict=True))
        return [
            _detections(self._joined(one, image.size, self._config.min_score))
            for image, one in self._seen
        ]

    def save_maps(self, folder: Path, stems: Sequence[str] = ()) -> list[Path]:
        """A picture of each map of the images that `detect` saw last; the files' paths.

        `stems`: how each image's files begin, `<stem>-<number>-<name>.png`; else by its number.
        """
        from opendet.vl_sam.map_pictures import save_maps

        stems = stems or [f"image{number}" for number in range(len(self._seen))]
        return [
            path
            for stem, (image, sights) in zip(stems, self._seen, strict=True)
            for path in save_maps(image, sights, folder, stem)
        ]

    def look(self, image: "Image") -> list[Sight]:
        """All that is found in an RGB image, view by view and name by name; repeats abound."""
        every = views(image.size, corners=self._config.corners)
        shown = [view for view in every if not is_narrow(view)]
        self._refuse("too narrow for a model", len(every) - len(shown))
        pictures = [image.crop(view) for view in shown]
        maps = self._maps(pictures)
        return [
            Sight(view, named, hits)
            for view, picture, some in zip(shown, pictures, maps, strict=True)
            for named, hits in zip(some, self._drawn(picture, some), strict=True)
        ]

    def _maps(self, pictures: "Sequence[Image]") -> list[list[NamedMap]]:
        """Of each picture those of all answers to all questions."""
        count, seed = len(self._questions), self._config.seed
        asked = [
            Question(words, self._small(picture), seed + row * count + column)
            for row, picture in enumerate(pictures)
            for column, words in enumerate(self._questions)
        ]
        answers = self._speaker.answers(asked)
        maps: list[list[NamedMap]] = [[] for _ in pictures]
        for place, (question, said) in enumerate(zip(asked, answers, strict=True)):
            assert question.image is not None
            row = place // count
            maps[row] += [
                of_larger(named, question.image.size, pictures[row].size)
                for named in self._speaker.maps(question, said)
            ]
        return maps

    def _small(self, picture: "Image") -> "Image":
        """What the language model is shown."""
        share = self._config.longest_side / max(picture.size)
        if share >= 1:
            return picture
        width, height = (max(1, round(side * share)) for side in picture.size)
        return picture.resize((width, height))

    def _drawn(self, picture: "Image", maps: Sequence[NamedMap]) -> list[tuple[Hit, ...]]:
        """What is found on each map of one view."""
        hits: list[tuple[Hit, ...]] = [()] * len(maps)
        heats = {
            n: heat
            for n, one in enumerate(maps)
            if (heat := heat_of(one, picture.size)) is not None
        }
        self._refuse("looked everywhere alike", len(maps) - len(heats))
        if not heats:
            return hits
        draw = partial(self._segmenter.draw, self._segmenter.look(picture))
        cells = [cell_of(maps[n], picture.size) for n in heats]
        found = found_on_maps(list(heats.values()), cells, picture.size, draw, self._rules)
        for place, one in zip(heats, found, strict=True):
            hits[place] = tuple(one)
            self._refuse("no mask", not one)
        return hits

    def _joined(
        self, sights: Sequence[Sight], size_wh: tuple[int, int], least: float
    ) -> list[Thing]:
        found = []
        for sight in sights:
            for hit in sight.hits:
                thing = _found(sight, hit)
                if is_cut(thing, sight.view, size_wh):
                    self._refuse("cut by a view's border", 1)
                elif thing.score >= least:
                    found.append(shifted(thing, sight.view, size_wh))
        return joined(found, size_wh, self._config.mask_iou)[: self._config.most]

    def _refuse(self, reason: str, count: int) -> None:
        if count:
            self._speaker.refused[reason] += count


def load_vl_sam(path: Path, **knobs: Any) -> VlSam:
    """The two models that a YAML file of `VlSamConfig`'s keys names; `knobs` go over its own.

    Raises ValueError, in one line, where the file or a model is none.
    """
    return VlSam(read_vl_sam_config(path, **knobs), f"{path}: ")


def _drawing(config: VlSamConfig) -> SegmentConfig:
    return SegmentConfig(
        model=config.segmenter,
        revision=config.segmenter_revision,
        dtype=config.dtype,
        device=config.device,
        batch_size=config.prompts_at_once,
    )


def _found(sight: Sight, hit: Hit) -> Found:
    """In the view's pixels; the box is the mask's."""
    from faster_coco_eval.core.mask import toBbox

    x0, y0, x1, y1 = sight.view
    [[x, y, width, height]] = toBbox([{"size": [y1 - y0, x1 - x0], "counts": hit.code}])
    box_xyxy = (float(x), float(y), float(x + width), float(y + height))
    return Found(box_xyxy, sight.map.name, hit.score, hit.code)


def _by_name(thing: Thing) -> list[Found]:
    return [replace(thing.surest, name=name, score=score) for name, score in thing.names.items()]


def _detections(things: Sequence[Thing]) -> "Detections":
    import torch

    from opendet.detections import Detections

    surest = [one.surest for one in things]
    return Detections(
        torch.tensor([one.box_xyxy for one in surest]).reshape(-1, 4),
        torch.tensor([one.score for one in surest]),
        [list(one.names) for one in things],
        prompts=None,
        masks=[one.mask for one in surest],
    )
