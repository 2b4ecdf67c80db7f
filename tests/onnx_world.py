"""Tiny ONNX files, written by hand: the package `onnx` is no dependency.

A file is a ModelProto of protobuf's wire format; the numbers of the fields are those of onnx.proto.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OPSET = 13
FLOAT, UINT8, INT64 = 1, 2, 7
_KINDS = {np.dtype(np.float32): FLOAT, np.dtype(np.uint8): UINT8, np.dtype(np.int64): INT64}
_BYTES, _VARINT = 2, 0

Side = int | str
"""A fixed side, or the name of a free one."""


def write_constant(
    path: Path,
    outputs: Mapping[str, NDArray[np.generic]],
    *,
    image: Sequence[Side] = (1, 3, 32, 32),
    kind: int = FLOAT,
    sizes: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A network that says the same of every image; with `sizes` it asks for the sides, too."""
    inputs = [_value("images", kind, image)] + ([_value("sizes", INT64, (1, 2))] if sizes else [])
    # An output must come out of a node.
    tensors = [_tensor(f"the {name}", array) for name, array in outputs.items()]
    nodes = [_node("Identity", [f"the {name}"], name) for name in outputs]
    given = [_value(name, _KINDS[array.dtype], array.shape) for name, array in outputs.items()]
    path.write_bytes(_model(nodes, tensors, inputs, given, metadata or {}))
    return path


def write_brightness(
    path: Path,
    *,
    image: Sequence[Side] = (1, 3, 32, 32),
    box_cxcywh: Sequence[float] = (16, 16, 16, 16),
) -> Path:
    """Layout yolov8 with one candidate, a box of the input's pixels, and three classes: their
    scores are the means of the three channels as the network was given them."""
    tensors = [
        _tensor("box", np.array(box_cxcywh, np.float32).reshape(1, 4, 1)),
        _tensor("zero", np.zeros((1, 4, 1), np.float32)),
        _tensor("per channel", np.array([0, 3, 1], np.int64)),
        _tensor("per image", np.array([0, 1, 1], np.int64)),
    ]
    nodes = [
        _node("ReduceMean", ["images"], "channels", axes=(2, 3)),
        _node("Reshape", ["channels", "per channel"], "scores"),
        _node("ReduceMean", ["images"], "all", axes=(1, 2, 3)),
        _node("Reshape", ["all", "per image"], "one"),
        _node("Mul", ["one", "zero"], "nothing"),  # (B, 4, 1): a box for each image
        _node("Add", ["nothing", "box"], "boxes"),
        _node("Concat", ["boxes", "scores"], "output", axis=1),
    ]
    given = [_value("output", FLOAT, (image[0], 7, 1))]
    path.write_bytes(_model(nodes, tensors, [_value("images", FLOAT, image)], given, {}))
    return path


# --- onnx.proto


def _model(
    nodes: Sequence[bytes],
    tensors: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    metadata: Mapping[str, str],
) -> bytes:
    parts = [(1, nodes), (5, tensors), (11, inputs), (12, outputs)]
    graph = _text(2, "tiny") + b"".join(_field(at, one) for at, some in parts for one in some)
    entries = [_text(1, key) + _text(2, value) for key, value in metadata.items()]
    opset = _text(1, "") + _number(2, OPSET)
    told = b"".join(_field(14, entry) for entry in entries)
    return _number(1, 8) + _field(7, graph) + _field(8, opset) + told


def _node(
    kind: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]
) -> bytes:
    body = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, kind)
    return body + b"".join(_field(5, _attribute(*one)) for one in attributes.items())


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    return _text(1, name) + b"".join(_number(8, one) for one in value) + _number(20, 7)


def _tensor(name: str, array: NDArray[np.generic]) -> bytes:
    sides = b"".join(_number(1, side) for side in array.shape)
    return sides + _number(2, _KINDS[array.dtype]) + _text(8, name) + _field(9, array.tobytes())


def _value(name: str, kind: int, shape: Sequence[Side]) -> bytes:
    sides = [_number(1, one) if isinstance(one, int) else _text(2, one) for one in shape]
    told = b"".join(_field(1, side) for side in sides)
    return _text(1, name) + _field(2, _field(1, _number(1, kind) + _field(2, told)))


# --- protobuf


def _text(at: int, text: str) -> bytes:
    return _field(at, text.encode())


def _field(at: int, content: bytes) -> bytes:
    return _varint(at << 3 | _BYTES) + _varint(len(content)) + content


def _number(at: int, value: int) -> bytes:
    return _varint(at << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    bits = []
    while value > 0x7F:
        bits.append(value & 0x7F | 0x80)
        value >>= 7
    return struct.pack(f"{len(bits) + 1}B", *bits, value)
