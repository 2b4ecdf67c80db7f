"""A detector of fixed classes: torchvision's, and the DETR family of `transformers`.

With `class_agnostic` it proposes boxes and names none. Nothing heavy is imported before one is
loaded.
"""

from collections.abc import Hashable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field, model_validator

from opendet.annotators.batching import in_batches
from opendet.annotators.detection import FinderSection, Found
from opendet.annotators.model_folder import called, chosen_device
from opendet.annotators.scored_boxes import ScoredBoxes, found_in

if TYPE_CHECKING:
    from PIL.Image import Image

KEY = "regions.detectors"
UNUSED = ("", "__background__", "N/A")
"""Names of no class: torchvision and DETR's checkpoints write the last two for ids not in use."""
OF_TORCHVISION = ("nms_iou", "shortest_side", "longest_side", "norm_eps")


class ClosedSetConfig(FinderSection):
    """Which detector of fixed classes is asked, and what its classes are called.

    Class names are listed in the order of the head's outputs, one for each, and boxes of an empty
    one are left out. The outputs of torchvision's heads begin with the background, and those of
    its COCO weights are the 91 ids of the paper, not the 80 in use. So a Faster R-CNN of cats and
    dogs has `["", cat, dog]`, and COCO's weights have the list that torchvision gives with them
    (`weights.meta["categories"]`), whose `__background__` and `N/A` count as empty. RetinaNet and
    FCOS can be trained without a background: their first class may have a name.
    """

    annotator: Literal["closed_set"] = "closed_set"
    """Which annotator this is."""
    architecture: Literal[
        "transformers",
        "fasterrcnn_resnet50_fpn",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "retinanet_resnet50_fpn",
        "fcos_resnet50_fpn",
    ] = "transformers"
    """What `model` holds the weights of: one of torchvision's, as a state dict in a .safetensors
    file or in a folder's model.safetensors; or any object detection checkpoint of transformers
    (DETR, Deformable DETR, RT-DETR, RT-DETRv2, D-FINE, YOLOS, ...)."""
    class_names: tuple[str, ...] = ()
    """One for each output of the head, see above; where neither they nor their file are given,
    those in a transformers checkpoint."""
    class_names_file: Path | None = None
    """A text file of the class names, one a line, in place of `class_names`."""
    class_agnostic: bool = False
    """Whether names are left out, so that boxes are proposals; class names need not be given."""
    nms_iou: float = Field(default=0.7, gt=0, le=1)
    """IoU from which torchvision leaves out what repeats a surer box of its class, before the
    `most` best are remembered. `same_name_iou` above it changes nothing."""
    shortest_side: int | None = Field(default=None, ge=32)
    """Pixels that torchvision scales an image's shorter side to; null: 800."""
    longest_side: int | None = Field(default=None, ge=32)
    """Most pixels of the longer side after that; null: 1333."""
    norm_eps: float = Field(default=1e-5, ge=0)
    """What torchvision's batch normalisation adds to variances; 0 for its own COCO weights of
    resnet50 in Faster R-CNN and RetinaNet, and for those tuned from them."""

    @model_validator(mode="after")
    def _fits_together(self) -> "ClosedSetConfig":
        if self.class_names and self.class_names_file:
            raise ValueError("give class_names or class_names_file, not both")
        fields = type(self).model_fields
        given = [knob for knob in OF_TORCHVISION if getattr(self, knob) != fields[knob].default]
        if given and self.architecture == "transformers":
            raise ValueError(
                f"{', '.join(given)}: of torchvision's architectures only; transformers' "
                "checkpoints bring their own image processor"
            )
        return self


class ClassDetector(Protocol):
    """What torchvision's and transformers' detectors have in common."""

    revision: str
    """The version of its weights."""
    class_names: tuple[str, ...]
    """Those that came with the weights, one for each output; none where they say none."""
    outputs: int
    """How many classes its head tells apart, the background among them where it has one."""

    def together(self, image: "Image") -> Hashable:
        """What images of one batch must have in common, so that none hangs on another."""
        ...

    def look(self, images: "Sequence[Image]") -> list[ScoredBoxes]:
        """Each image's boxes with the numbers of their classes."""
        ...


class ClosedSet:
    """A loaded detector. Names that are asked for are paid no heed: it has its own."""

    def __init__(self, config: ClosedSetConfig) -> None:
        """Raises ValueError, in one line, where there is no such model, or with other classes."""
        self._config = config
        self._detector = _load(config)
        self._names = _names(config, self._detector)

    @property
    def name(self) -> str:
        """The file's name without its ending, the folder's name, or the name on the hub."""
        path = Path(self._config.model).expanduser()
        return path.stem if path.is_file() else called(self._config.model)

    @property
    def revision(self) -> str:
        """The version of the weights; with a file of class names, that one's digest too, as the
        configuration does not show what is in it."""
        if self._config.class_names_file is None:
            return self._detector.revision
        digest = sha256("\n".join(self._names).encode()).hexdigest()[:8]
        return f"{self._detector.revision}+{digest}"

    def find(
        self,
        images: "Sequence[Image]",
        names: Sequence[tuple[str, ...]],  # noqa: ARG002
    ) -> list[list[Found]]:
        """What is in each RGB image, the surest first, as `detection.Finder` promises it."""
        groups: dict[Hashable, list[int]] = {}
        for number, image in enumerate(images):
            groups.setdefault(self._detector.together(image), []).append(number)
        found: list[list[Found]] = [[] for _ in images]
        for numbers in groups.values():
            alike = [images[number] for number in numbers]
            answers = in_batches(alike, self._config.batch_size, self._answers)
            for number, answer in zip(numbers, answers, strict=True):
                found[number] = answer
        return found

    def _answers(self, images: "Sequence[Image]") -> list[list[Found]]:
        said = self._detector.look(images)
        return [self._found(one, *image.size) for one, image in zip(said, images, strict=True)]

    def _found(self, scored: ScoredBoxes, width: int, height: int) -> list[Found]:
        import torch

        config = self._config
        if self._names:
            used = torch.tensor([name not in UNUSED for name in self._names])
            kept = used.to(scored.which.device)[scored.which]
            scored = ScoredBoxes(scored.boxes_xyxy[kept], scored.scores[kept], scored.which[kept])
        names = ("",) * self._detector.outputs if config.class_agnostic else self._names
        return found_in(
            scored, names, width=width, height=height, floor=config.floor, most=config.most
        )


def _load(config: ClosedSetConfig) -> ClassDetector:
    device = chosen_device(config.device)
    if config.architecture == "transformers":
        from opendet.annotators.detr_family import load_detr

        return load_detr(config, device)
    from opendet.annotators.torchvision_detectors import load_torchvision

    return load_torchvision(config, device)


def _names(config: ClosedSetConfig, detector: ClassDetector) -> tuple[str, ...]:
    """One for each output of the head; none where boxes of all outputs are proposals."""
    names = _listed(config) or detector.class_names
    if not names and not config.class_agnostic:
        raise ValueError(
            f"{KEY}: {config.model!r} does not say what its {detector.outputs} classes are called: "
            "set class_names or class_names_file, or class_agnostic: true"
        )
    if names and len(names) != detector.outputs:
        raise ValueError(
            f"{KEY}: {config.model!r} has a head of {detector.outputs} classes and class_names "
            f"lists {len(names)}: list one for each, with an empty one for the background and for "
            "each that is not in use"
        )
    if names and config.architecture.startswith("fasterrcnn") and names[0] not in UNUSED:
        raise ValueError(
            f"{KEY}: the first class of {config.model!r} is the background and class_names begins "
            f"with {names[0]!r}: put an empty name before the others"
        )
    return names


def _listed(config: ClosedSetConfig) -> tuple[str, ...]:
    if (path := config.class_names_file) is None:
        return config.class_names
    try:
        return tuple(line.strip() for line in path.read_text("utf-8").splitlines())
    except (OSError, UnicodeError) as error:
        raise ValueError(
            f"{KEY}: cannot read class_names_file {path}: {error} (name a text file of one class a "
            "line)"
        ) from error
