"""`onnx.json`: what a folder of ONNX graphs holds, and what must be known to run them. No torch."""

from pathlib import Path

from pydantic import PositiveInt, ValidationError

from opendet.manifest import FileStamp
from opendet.section import Section

VERSION = 1
CARD = "onnx.json"
DETECTOR, PREDICTOR = "detector.onnx", "predictor.onnx"
START, STEP = "namer_start.onnx", "namer_step.onnx"
TOKENIZER = "tokenizer.json"
VECTORS = "vectors.safetensors"
"""Arrays that names are read by, as far as the model has them: `prototypes`, unit rows; `bias`, of
the T5's self-attention; and the aligner's matrices."""


class WriterCard(Section):
    """Of the T5 that writes names."""

    max_new_tokens: PositiveInt
    start: int
    """The token that every name begins after."""
    ends: tuple[int, ...]
    """The tokens that end a name."""
    pad: int
    layers: PositiveInt
    heads: PositiveInt
    head_width: PositiveInt


class PrototypeCard(Section):
    """Of the head that names by prototypes."""

    names: tuple[str, ...]
    """M, one for each row."""
    temperature: float
    """The cosines are divided by it."""


class OnnxCard(Section):
    """`onnx.json`."""

    version: int = VERSION
    model: str
    """SHA-256 of the weights that it was written from."""
    shortest: PositiveInt
    """Shortest edge in pixels that an image is brought to, unless the longest would be too long."""
    longest: PositiveInt
    """Longest edge in pixels at most."""
    unit: PositiveInt
    """Sides are padded to what this divides."""
    prompt_width: PositiveInt
    beams: PositiveInt
    """Names of an object where nobody asks for a number."""
    clip: str = "none"
    """Revision of the text tower of its training, which a vocabulary must come from."""
    writer: WriterCard | None = None
    prototypes: PrototypeCard | None = None
    aligner: bool
    """Whether objects can be compared with text vectors by the aligner of training."""
    files: dict[str, FileStamp]
    """All others of the folder."""


def read_onnx_card(folder: Path) -> OnnxCard:
    """Raises ValueError, in one line, for a folder that holds no whole graphs."""
    path = folder / CARD
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no ONNX model ({CARD} is missing): write one with `opendet model "
            "export onnx MODEL OUT`"
        )
    try:
        card = OnnxCard.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its root"
        raise ValueError(f"{path} is damaged at {where}: {first['msg']}") from error
    if card.version != VERSION:
        raise ValueError(f"{path} has version {card.version}, this Open-Det reads {VERSION}")
    for name, stamp in card.files.items():
        if not (folder / name).is_file() or FileStamp.of(folder / name) != stamp:
            raise ValueError(f"{folder / name} is missing or damaged: export the model again")
    return card
