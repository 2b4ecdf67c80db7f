"""A detector of fixed classes from an ONNX file: FastestDet, the YOLO family, and what has its own
suppression inside. Run by onnxruntime; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opendet.annotators.detection import FinderSection, Found
from opendet.annotators.onnx_layouts import Candidates, Layout, decode, keep_best
from opendet.annotators.onnx_session import KEY, Network, one_line, open_network, runtime_errors
from opendet.annotators.scored_boxes import LEAST_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image

Triple = tuple[float, float, float]


class OnnxConfig(FinderSection):
    """Which file is run, how it wants its images, and how its outputs read."""

    annotator: Literal["onnx"] = "onnx"
    """Which annotator this is."""
    model: str = ""
    """An .onnx file, its weights inside."""
    revision: str | None = None
    """How the file's sha256 begins, so that no other file takes its place; null: any file."""
    dtype: Literal["float32"] = "float32"
    """Not to be chosen: the file itself says what it computes in."""
    layout: Layout = "yolov8"
    """How its outputs read: `fastestdet` (1, 5 + classes, H, W); `yolov5` (1, N, 5 + classes);
    `yolov8` (1, 4 + classes, N); `nms` boxes, scores and labels, or one (N, 6) of all three."""
    class_names: tuple[str, ...] = ()
    """Its classes in their order; one empty name for a detector of things of any kind. Where
    neither they nor their file are given, those that Ultralytics writes into an export."""
    class_names_file: Path | None = None
    """A text file of its classes, one a line, in place of `class_names`."""
    first_label: int = 0
    """Number of the first class among the labels of the layout `nms`; 1 where 0 is nothing."""
    normalised: bool = False
    """Whether its boxes are shares of the input's sides, not pixels; not for `fastestdet`."""
    side: int = Field(default=640, ge=32)
    """Side of the input, in pixels, where the file takes any."""
    letterbox: bool | None = None
    """Whether an image keeps its proportions, with grey beside it; null: for yolov5 and yolov8."""
    antialias: bool = False
    """Whether an image is made smaller with antialiasing, as Pillow does it and OpenCV, which most
    of these detectors were trained with, does not."""
    channels: Literal["auto", "rgb", "bgr"] = "auto"
    """Order of the colours that it was trained on; `auto`: bgr for fastestdet, else rgb."""
    scale: float = 1 / 255
    """What a colour's value of 0 to 255 is multiplied by. A file that takes bytes gets bytes."""
    mean: Triple = (0.0, 0.0, 0.0)
    """Taken off red, green and blue after scaling."""
    std: Triple = (1.0, 1.0, 1.0)
    """What red, green and blue are then divided by."""
    nms_iou: float = Field(default=0.45, gt=0, le=1)
    """IoU from which a candidate repeats a surer one of its class, before the `most` best are
    remembered; `same_name_iou` above it changes nothing. Not for `nms`, which has done so itself.
    0.45 is FastestDet's and YOLOv5's; YOLOv8 is shown with 0.7."""


@dataclass(frozen=True, slots=True)
class Placing:
    """Where an image lies in the network's input."""

    offset_xy: tuple[int, int]
    """Of the image's corner, in pixels of the input."""
    scale_xy: tuple[float, float]
    """Pixels of the input for one of the image."""


class Onnx:
    """A loaded file. Names that are asked for are paid no heed: it has its own."""

    def __init__(self, config: OnnxConfig) -> None:
        """Raises ValueError, in one line, for a file that cannot be run or read as the layout."""
        self._config = config
        self._network = open_network(config.model, config.device)
        if not self._network.sha256.startswith(config.revision or ""):
            raise ValueError(
                f"{KEY}: {self._network.file} has sha256 {self._network.sha256[:12]}..., not the "
                f"revision {config.revision}: take the right file, or change the revision"
            )
        self._names = _class_names(config, self._network)
        height, width = self._network.input_hw
        self._input_wh = width or config.side, height or config.side
        self._try()

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return Path(self._network.file).stem

    @property
    def revision(self) -> str:
        """How the file's sha256 begins; with a file of class names, that one's digest too, as the
        configuration does not show what is in it."""
        told = self._network.sha256[:12]
        if self._config.class_names_file is None:
            return told
        return f"{told}+{sha256(chr(10).join(self._names).encode()).hexdigest()[:8]}"

    def find(
        self,
        images: "Sequence[Image]",
        names: Sequence[tuple[str, ...]],  # noqa: ARG002
    ) -> list[list[Found]]:
        """What is in each RGB image, the surest first, as `detection.Finder` promises it."""
        size = self._config.batch_size
        if self._network.batch == 1 or self._config.layout == "nms":
            size = 1
        found: list[list[Found]] = []
        for start in range(0, len(images), size):
            found += self._find_at_once(images[start : start + size])
        return found

    def _find_at_once(self, images: "Sequence[Image]") -> list[list[Found]]:
        placed = [self._place(image) for image in images]
        said = self._said(np.stack([pixels for pixels, _ in placed]))
        return [
            self._founds(one, placing, image.size)
            for one, (_, placing), image in zip(said, placed, images, strict=True)
        ]

    def _said(self, inputs: NDArray[Any]) -> list[Candidates]:
        outputs = self._network.run(inputs)
        classes = len(self._names)
        try:
            said = decode(self._config.layout, outputs, classes=classes, input_wh=self._input_wh)
        except ValueError as error:
            raise ValueError(f"{KEY}: {self._network.file}: {error}") from error
        if len(said) != len(inputs):
            raise ValueError(
                f"{KEY}: {self._network.file} gives {len(said)} answers to {len(inputs)} images: "
                "take batch_size 1"
            )
        return said

    def _founds(self, said: Candidates, placing: Placing, size_wh: tuple[int, int]) -> list[Found]:
        config = self._config
        by_itself = config.layout == "nms"
        iou = None if by_itself else config.nms_iou
        best = keep_best(said, floor=config.floor, most=config.most, iou=iou)
        inner = self._input_wh if config.normalised and config.layout != "fastestdet" else (1, 1)
        boxes = best.boxes_xyxy * np.array([*inner, *inner])
        boxes = (boxes - np.array([*placing.offset_xy] * 2)) / np.array([*placing.scale_xy] * 2)
        boxes = boxes.clip(0, np.array([*size_wh] * 2))
        classes = best.classes - (config.first_label if by_itself else 0)
        return [
            Found((x0, y0, x1, y1), self._named(int(index)), min(1.0, max(0.0, float(score))))
            for (x0, y0, x1, y1), index, score in zip(
                boxes.tolist(), classes, best.scores, strict=True
            )
            if min(x1 - x0, y1 - y0) >= LEAST_SIDE
        ]

    def _named(self, index: int) -> str:
        if not 0 <= index < len(self._names):
            raise ValueError(
                f"{KEY}: {self._network.file} gives the label {index + self._config.first_label} "
                f"and has {len(self._names)} class names: check class_names and first_label"
            )
        return self._names[index]

    def _place(self, image: "Image") -> tuple[NDArray[Any], Placing]:
        """The input (3, H, W) that shows the image, and where it shows it."""
        from PIL import Image

        config, (width, height) = self._config, self._input_wh
        wanted = config.letterbox
        if config.layout in ("yolov5", "yolov8") if wanted is None else wanted:
            ratio = min(width / image.width, height / image.height)
            inner_wh = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
        else:
            inner_wh = width, height
        offset_xy = (width - inner_wh[0]) // 2, (height - inner_wh[1]) // 2
        shown = Image.new("RGB", (width, height), (114, 114, 114))  # the grey of YOLO's training
        shown.paste(_resized(image, inner_wh, antialias=config.antialias), offset_xy)
        scale_xy = inner_wh[0] / image.width, inner_wh[1] / image.height
        return self._numbers(shown), Placing(offset_xy, scale_xy)

    def _numbers(self, shown: "Image") -> NDArray[Any]:
        config = self._config
        numbers = np.asarray(shown)  # (H, W, 3) uint8, red first
        if self._network.kind is not np.uint8:
            numbers = (numbers * config.scale - np.array(config.mean)) / np.array(config.std)
        if config.channels == "bgr" or (config.channels, config.layout) == ("auto", "fastestdet"):
            numbers = numbers[..., ::-1]
        return np.ascontiguousarray(numbers.transpose(2, 0, 1), self._network.kind)

    def _try(self) -> None:
        """Run it once on nothing, so that a wrong layout is told before the first image."""
        from PIL import Image

        try:
            self._find_at_once([Image.new("RGB", self._input_wh, (114, 114, 114))])
        except runtime_errors() as error:
            raise ValueError(
                f"{KEY}: {self._network.file} cannot be run: {one_line(error)} (check `side`)"
            ) from error


def _class_names(config: OnnxConfig, network: Network) -> tuple[str, ...]:
    path = config.class_names_file
    if config.class_names and path:
        raise ValueError(f"{KEY}: give {network.file} class_names or class_names_file, not both")
    if path is None:
        names = config.class_names or network.own_class_names()
    else:
        try:
            listed = path.expanduser().read_text("utf-8").rstrip().splitlines()
            names = tuple(line.strip() for line in listed)
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{KEY}: class_names_file {path}: {one_line(error)}") from error
    if not names:
        raise ValueError(
            f"{KEY}: {network.file} has no class names: set class_names or class_names_file"
        )
    return names


def _resized(image: "Image", size_wh: tuple[int, int], *, antialias: bool) -> "Image":
    """Bilinear; without antialiasing, between the four pixels nearest to each new one."""
    from PIL import Image

    if antialias:
        return image.resize(size_wh, Image.Resampling.BILINEAR)
    whole = (0, 0, *image.size)
    return image.transform(size_wh, Image.Transform.EXTENT, whole, Image.Resampling.BILINEAR)
