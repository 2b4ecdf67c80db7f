"""Which annotator a detector is, by what lies in its folder, or by what the hub says of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAMED = "IDEA-Research/grounding-dino-tiny"
"""Where names are given: looks for them, and for nothing else. Apache-2.0."""
FREE = "florence-community/Florence-2-base-ft"
"""Where none are: says by itself what it sees. MIT."""
_ANYTHING = "<OD>"  # Florence-2's question for whatever there is
_MANY = 10**6  # of a side that the file leaves open
_KEY = "--detector"
_MEND = "name another one by --detector: an .onnx file, or a model's folder, needs no hub"


def detector_section(detector: str, names: Sequence[str]) -> dict[str, Any]:
    """An item of `regions.detectors`. Raises ValueError, in one line, for what is no detector that
    we know, and for names that the detector could not be told."""
    path = Path(detector).expanduser()
    if path.suffix == ".onnx":
        return _onnx(path, names)
    if (path / "namer").is_dir():
        _require_untold(detector, names)
        return {"annotator": "opendet", "model": str(path)}
    return {**_of_transformers(detector, names), "model": str(path) if path.is_dir() else detector}


def _of_transformers(detector: str, names: Sequence[str]) -> dict[str, Any]:
    from opendet.annotators.box_dialects import FAMILIES as SPEAKERS
    from opendet.annotators.concepts import FAMILIES as CONCEPTS
    from opendet.annotators.zero_shot import DINO, OWL

    family = _family(detector)
    if family in (*OWL, *DINO, *CONCEPTS):
        if not names:
            raise ValueError(f"{_KEY} {detector} has to be told what to look for: give --names")
        return {"annotator": "concepts" if family in CONCEPTS else "zero_shot"}
    if dialect := SPEAKERS.get(family):
        told = {"annotator": "boxes_in_text", "dialect": dialect}
        if names:
            return told
        if dialect != "florence2":
            raise ValueError(f"{_KEY} {detector} is asked by name: give --names")
        return {**told, "prompt": _ANYTHING}
    _require_untold(detector, names)
    return {"annotator": "closed_set"}  # whether it is a detector at all shows where it is loaded


def _family(detector: str) -> str:
    """What a checkpoint's config.json calls itself."""
    from transformers import AutoConfig

    from opendet.annotators.model_folder import checked_path, one_line

    path = checked_path(detector, _KEY)
    with one_line(detector, _KEY, _MEND):
        return str(AutoConfig.from_pretrained(path, trust_remote_code=False).model_type)


def _onnx(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """With the layout that the shapes of its outputs tell."""
    from opendet.annotators.onnx_session import open_network

    if not path.is_file():
        raise ValueError(f"{_KEY}: there is no file {path}")
    network = open_network(str(path), "cpu")
    own = network.own_class_names()
    if own and names:
        _require_untold(str(path), names)
    if not own and not names:
        raise ValueError(
            f"{_KEY} {path.name} does not say what its classes are called: give all of them, in "
            "their order, by --names (a file with a name a line will do)"
        )
    shapes = [one.shape for one in network.session.get_outputs()]
    section: dict[str, Any] = {"annotator": "onnx", "model": str(path)}
    section["layout"] = _layout(shapes, path.name)
    if names:
        section["class_names"] = list(names)
    _require_readable(section)
    return section


def _require_readable(section: Mapping[str, Any]) -> None:
    """Raises ValueError where the file cannot be run or gives another number of classes: told now,
    or the data set would be begun with names that it cannot go on with."""
    from opendet.annotators.onnx_detector import Onnx, OnnxConfig
    from opendet.annotators.onnx_session import KEY

    try:
        Onnx(OnnxConfig.model_validate(section))
    except ValueError as error:
        told = f"{_KEY} with --names" if "class_names" in section else _KEY
        raise ValueError(f"{told}: {str(error).removeprefix(f'{KEY}: ')}") from error


def _layout(shapes: Sequence[Sequence[int | str | None]], file: str) -> str:
    """By rank and proportions: see `annotators.onnx_layouts`."""
    first = [side if isinstance(side, int) else _MANY for side in shapes[0]]
    rows, columns = first[-2:] if len(first) > 1 else (0, 0)
    suppressed = columns == 6 and rows < 1000  # box, score, class; an unsuppressed list is longer
    if len(shapes) >= 3 or (suppressed and len(first) <= 3):
        return "nms"
    if len(first) == 4:
        return "fastestdet"
    if len(first) == 3:
        return "yolov8" if rows < columns else "yolov5"
    told = " and ".join(str(tuple(shape)) for shape in shapes)
    raise ValueError(
        f"{_KEY}: nobody knows how to read the outputs {told} of {file}: make a build by `opendet "
        "data import`, and set regions.detectors.layout"
    )


def _require_untold(detector: str, names: Sequence[str]) -> None:
    if names:
        raise ValueError(
            f"{_KEY} {detector} has names of its own, and cannot be told others: leave --names out"
        )
