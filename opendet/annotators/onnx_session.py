"""An ONNX file, opened by onnxruntime. What goes wrong there is told in one line."""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY = "regions.detectors"
_KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


@dataclass(frozen=True, slots=True)
class Network:
    """An opened file."""

    file: str
    """Its name, without folders."""
    sha256: str
    session: Any
    image_input: str
    sizes_input: str | None
    """An input that is told the sides of the image input, as RT-DETR's and D-FINE's exports ask;
    None where there is none."""
    kind: Any
    """Numpy's type of the image input."""
    batch: int | None
    """Images in one call; None for any number."""
    input_hw: tuple[int | None, int | None]
    """Sides of the image input in pixels; None for any."""
    metadata: Mapping[str, str]

    def run(self, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """(B, 3, H, W) -> output's name -> array."""
        given = {self.image_input: images}
        if self.sizes_input is not None:
            sides_wh = np.array([images.shape[:1:-1]] * len(images), np.int64)  # (B, 2)
            given[self.sizes_input] = sides_wh
        names = [one.name for one in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, given), strict=True))

    def own_class_names(self) -> tuple[str, ...]:
        """Those that the file brings along, as Ultralytics writes them; empty where it does not."""
        told = self.metadata.get("names", "")
        if not told:
            return ()
        try:
            names = ast.literal_eval(told)
            listed = [names[index] for index in range(len(names))]
        except (ValueError, SyntaxError, KeyError, TypeError, IndexError) as error:
            raise ValueError(
                f"{KEY}: the class names in {self.file} cannot be read: set class_names"
            ) from error
        return tuple(str(name) for name in listed)


def open_network(model: str, device: str) -> Network:
    """The file, ready to run; on a CPU with one thread, so that any number of actors answer alike.

    Raises ValueError, in one line, for a file that is none or cannot be run, for a missing
    onnxruntime, and for a GPU that it does not see.
    """
    content = _read(model)
    file = Path(model).name
    session = _session(content, file, device)
    image_input, sizes_input = _inputs(session, file)
    shape = [side if isinstance(side, int) else None for side in image_input.shape]
    return Network(
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        session=session,
        image_input=image_input.name,
        sizes_input=sizes_input,
        kind=_KINDS[image_input.type],
        batch=shape[0],
        input_hw=(shape[2], shape[3]),
        metadata=session.get_modelmeta().custom_metadata_map,
    )


def runtime_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises for a file that it cannot load or run; they share no base."""
    from onnxruntime.capi import (  # type: ignore[import-untyped]
        onnxruntime_pybind11_state as state,
    )

    names = "Fail InvalidArgument InvalidGraph InvalidProtobuf NotImplemented RuntimeException"
    return tuple(getattr(state, name) for name in names.split())


def _read(model: str) -> bytes:
    if not model:
        raise ValueError(f"{KEY}: model is empty: name an .onnx file")
    path = Path(model).expanduser()
    if not path.is_file():
        raise ValueError(f"{KEY}: there is no file {model}: name an .onnx file")
    return path.read_bytes()


def _session(content: bytes, file: str, device: str) -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError(
            f"{KEY}: onnxruntime, which runs {file}, is missing: pip install onnxruntime"
        ) from error
    on_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not on_gpu:
        raise ValueError(
            f"{KEY}: onnxruntime sees no GPU for {file}: install onnxruntime-gpu, or take device "
            "auto or cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    wanted = ["CUDAExecutionProvider"] if on_gpu and device != "cpu" else []
    try:
        # From the bytes that are hashed: what runs is what the revision says.
        session = onnxruntime.InferenceSession(
            content, options, providers=[*wanted, "CPUExecutionProvider"]
        )
    except runtime_errors() as error:
        raise ValueError(
            f"{KEY}: {file} cannot be loaded: {one_line(error)} (it must be one whole .onnx file, "
            "its weights inside)"
        ) from error
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise ValueError(f"{KEY}: onnxruntime cannot use the GPU for {file}: see its log, or cpu")
    return session


def _inputs(session: Any, file: str) -> tuple[Any, str | None]:
    """The input that takes images, and the name of the one that takes their sizes."""
    inputs = session.get_inputs()
    images = [one for one in inputs if len(one.shape) == 4 and one.type in _KINDS]
    sizes = [one.name for one in inputs if one.type == "tensor(int64)" and len(one.shape) == 2]
    if len(images) != 1 or len(images) + len(sizes) != len(inputs) or len(sizes) > 1:
        told = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise ValueError(f"{KEY}: {file} asks for {told}: one input must take images (B, 3, H, W)")
    if images[0].shape[1] != 3 and isinstance(images[0].shape[1], int):
        raise ValueError(
            f"{KEY}: {file} takes images {images[0].shape}: export it for (B, 3, H, W)"
        )
    if isinstance(images[0].shape[0], int) and images[0].shape[0] != 1:
        raise ValueError(
            f"{KEY}: {file} takes {images[0].shape[0]} images at once: export it for 1, or for any"
        )
    return images[0], sizes[0] if sizes else None


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
