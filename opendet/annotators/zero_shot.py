"""A zero-shot detector of `transformers`, asked for names that it was not trained on.

OWL-ViT, OWLv2, Grounding DINO, MM-Grounding DINO and LLMDet. Nothing heavy is imported before one
is loaded.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field, field_validator

from opendet.annotators.batching import in_batches
from opendet.annotators.detection import FinderSection, Found
from opendet.annotators.grounding_dino import GroundingDino
from opendet.annotators.model_folder import (
    called,
    checked_path,
    chosen_device,
    one_line,
    weights_of,
)
from opendet.annotators.owl_queries import Owl
from opendet.annotators.scored_boxes import ScoredBoxes, found_in
from opendet.pretrained import load_whole

if TYPE_CHECKING:
    from PIL.Image import Image

KEY = "regions.detectors"
OWL, DINO = ("owlvit", "owlv2"), ("grounding-dino", "mm-grounding-dino")
MEND = (
    "zero_shot takes checkpoints of OWL-ViT, OWLv2, Grounding DINO, MM-Grounding DINO and LLMDet: "
    "name a folder that holds one, or a hub name while the hub can be reached"
)


class ZeroShotConfig(FinderSection):
    """A zero-shot detector: OWL-ViT, OWLv2, Grounding DINO, MM-Grounding DINO or LLMDet."""

    annotator: Literal["zero_shot"] = "zero_shot"
    """Detects what it is asked for by name."""
    templates: tuple[str, ...] = Field(
        default=(
            "itap of a {}.",
            "a bad photo of the {}.",
            "a origami {}.",
            "a photo of the large {}.",
            "a {} in a video game.",
            "art of the {}.",
            "a photo of the small {}.",
        ),
        min_length=1,
    )
    """Texts that a name is put into, at `{}`; its embeddings in them are averaged. The default is
    the seven that OWL-ViT is evaluated with. Grounding DINO reads bare names."""
    text_threshold: float = Field(default=0.25, ge=0, le=1)
    """Least score that one token of a name must reach for the name to be given at all; Grounding
    DINO only. What is below it is not remembered either."""

    @field_validator("templates")
    @classmethod
    def _hold_a_name(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"a template has one {{}} where the name goes, not {template!r}")
        return templates


class Family(Protocol):
    """What the kinds of zero-shot detectors have in common."""

    def lists(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The names in lists that can be asked at once."""
        ...

    def together(self, image: "Image") -> Hashable:
        """What images of one batch must have in common."""
        ...

    def look(
        self, images: "Sequence[Image]", names: Sequence[tuple[str, ...]]
    ) -> list[ScoredBoxes]:
        """Each image's boxes, each with the surest of its list's names."""
        ...


@dataclass(frozen=True)
class Question:
    """One image and a list of names that is asked at once."""

    number: int
    image: "Image"
    names: tuple[str, ...]


class ZeroShot:
    """A loaded detector. An answer hangs on what else is in the batch by its last digits alone."""

    def __init__(self, config: ZeroShotConfig) -> None:
        """Raises ValueError, in one line, where there is no such model."""
        self._config = config
        self._family, self.revision = _load(config)
        self.name = called(config.model)

    def find(
        self, images: "Sequence[Image]", names: Sequence[tuple[str, ...]]
    ) -> list[list[Found]]:
        """What is in each RGB image, each image's surest first; nothing where no name is asked.

        A box has one name, the surest: the first of equals. A name that is too long for Grounding
        DINO, and a score or a box that is no number, are a ValueError.
        """
        assert len(images) == len(names), f"{len(images)} images, {len(names)} lists of names"
        found: list[list[Found]] = [[] for _ in images]
        for questions in self._alike(images, names):
            answers = in_batches(questions, self._config.batch_size, self._answers)
            for question, answer in zip(questions, answers, strict=True):
                found[question.number] += answer
        # an image that was asked in pieces has one list from each
        return [sorted(one, key=lambda x: -x.score)[: self._config.most] for one in found]

    def _alike(
        self, images: "Sequence[Image]", names: Sequence[tuple[str, ...]]
    ) -> list[list[Question]]:
        """The questions, parted by what may not share a batch."""
        groups: dict[Hashable, list[Question]] = {}
        for number, (image, asked) in enumerate(zip(images, names, strict=True)):
            for one in self._family.lists(asked):
                question = Question(number, image, one)
                groups.setdefault(self._family.together(image), []).append(question)
        return list(groups.values())

    def _answers(self, questions: Sequence[Question]) -> list[list[Found]]:
        scored = self._family.look(
            [one.image for one in questions], [one.names for one in questions]
        )
        return [
            found_in(
                boxes,
                question.names,
                width=question.image.width,
                height=question.image.height,
                floor=self._config.floor,
                most=self._config.most,
            )
            for question, boxes in zip(questions, scored, strict=True)
        ]


def _load(config: ZeroShotConfig) -> tuple[Family, str]:
    """The model, ready to be asked, and the version of its weights."""
    from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor

    path = checked_path(config.model, KEY)
    where: dict[str, Any] = {"revision": config.revision, "trust_remote_code": False}
    with one_line(config.model, KEY, MEND):
        kind = AutoConfig.from_pretrained(path, **where).model_type
    if kind not in (*OWL, *DINO):
        raise ValueError(f"{KEY}: {config.model!r} holds a {kind} model ({MEND})")
    with one_line(config.model, KEY, MEND):
        processor: Any = AutoProcessor.from_pretrained(path, **where)  # type: ignore[no-untyped-call]
        model = load_whole(
            AutoModelForZeroShotObjectDetection, path, dtype=config.dtype, revision=config.revision
        )
        if not (hasattr(processor, "tokenizer") and hasattr(processor, "image_processor")):
            raise ValueError("its tokenizer or its image processor's settings are not there")
        model.to(chosen_device(config.device)).eval()
        return _family(config, processor, model), weights_of(config.model, config.revision, model)


def _family(config: ZeroShotConfig, processor: Any, model: Any) -> Family:
    if model.config.model_type in OWL:
        return Owl(processor, model, templates=config.templates)
    return GroundingDino(processor, model, text_threshold=config.text_threshold)
