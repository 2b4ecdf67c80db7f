"""What the columns of a table are: read from a Parquet file's own schema."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from opendet.cards.about import IMAGE, INTEGER, NUMBER, STRUCT, TEXT, TRUTH, Feature

_IMAGE_PARTS = {"bytes", "path"}
"""How the Hugging Face library keeps an image in a column."""
RECORD_FEATURES = (
    Feature("key", TEXT, "The sample's: the names of its two files in the tar, without endings."),
    Feature("image", IMAGE, "The picture's own bytes, never encoded again: key.jpg or the like."),
    Feature("record", TEXT, "What is believed of it, and by whom, as JSON: key.json."),
)
"""Of a sample in a shard."""

COLUMNS = {
    "image": "The picture's own bytes, never encoded again.",
    "key": "Of the sample, unique in the build.",
    "width": "Pixels of the upright image.",
    "height": "Pixels of the upright image.",
    "objects": "The kept regions, as lists of equal length.",
    "objects.id": "Unique in the data set.",
    "objects.bbox": "x, y of the upper left corner, width and height, in pixels.",
    "objects.area": "Of the box, in square pixels.",
    "objects.category": "The place of the name among the class labels of the file's header.",
    "objects.other_names": "Further names of equal standing.",
    "objects.iscrowd": "Whether the box covers a group that was not annotated one by one.",
    "objects.description": "One short sentence, empty where there is none.",
    "objects.score": "How sure the model that drew the box was, in its own unit.",
    "objects.agreement": "CLIP cosine of the crop and its text, in [-1, 1].",
    "objects.segmentation": "COCO's compressed run-length code, of the row's height and width.",
    "caption": "The picture's text; empty where there is none.",
    "captions": "All texts of the picture, the source's own among them.",
    "phrases": "Spans of the caption, and the objects that they speak of.",
    "phrases.start": "First character in the caption.",
    "phrases.end": "One past the last character.",
    "phrases.objects": "Places in the lists of objects.",
    "tags": "Words for the whole picture.",
    "absent": "Names that were looked for and are not there.",
    "partial": "Names of which more is there than has a box.",
    "source": "Where the picture came from.",
    "file": "Where the source has it.",
    "licence": "Of the picture.",
}
"""Column of an export, or a part of one -> a line for people."""


def features_of_parquet(path: Path, told: Mapping[str, str] = COLUMNS) -> tuple[Feature, ...]:
    """The columns of a Parquet file that a card can tell of, in their order.

    `told`: a line for people on each column, and on its parts as `objects.bbox`.
    """
    schema = pq.read_schema(path)
    found = (_feature(field.name, field.type, told, field.name) for field in schema)
    return tuple(one for one in found if one is not None)


def _feature(name: str, kind: pa.DataType, told: Mapping[str, str], path: str) -> Feature | None:
    """None for what a card has no word for, such as raw bytes."""
    line = told.get(path, "")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _feature(name, kind.value_type, told, path)
        return inner and Feature(name, inner.kind, line, True, inner.parts)
    if pa.types.is_struct(kind):
        fields = [kind.field(index) for index in range(kind.num_fields)]
        if {field.name for field in fields} == _IMAGE_PARTS:
            return Feature(name, IMAGE, line)
        parts = (_feature(one.name, one.type, told, f"{path}.{one.name}") for one in fields)
        known = tuple(one for one in parts if one is not None)
        return Feature(name, STRUCT, line, parts=known) if known else None
    plain = _plain(kind)
    return Feature(name, plain, line) if plain else None


def _plain(kind: pa.DataType) -> str:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return TEXT
    if pa.types.is_boolean(kind):
        return TRUTH
    if pa.types.is_integer(kind):
        return INTEGER
    return NUMBER if pa.types.is_floating(kind) else ""
