"""The columns of the Hugging Face export, and the same as `datasets` describes them.

An Arrow schema alone does not say that bytes are an image, or that numbers are classes: `datasets`
keeps its own description of the columns in the schema's metadata.
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

_TEXTS = pa.list_(pa.string())
_OBJECTS = pa.struct(
    {
        "id": pa.list_(pa.int64()),
        "bbox": pa.list_(pa.list_(pa.float64(), 4)),
        "area": pa.list_(pa.float64()),
        "category": pa.list_(pa.int64()),
        "other_names": pa.list_(_TEXTS),
        "iscrowd": pa.list_(pa.bool_()),
        "description": _TEXTS,
        "score": pa.list_(pa.float64()),
        "agreement": pa.list_(pa.float64()),
        "segmentation": _TEXTS,
    }
)
_PHRASE = pa.struct(
    {
        "text": pa.string(),
        "start": pa.int32(),
        "end": pa.int32(),
        "objects": pa.list_(pa.int32()),
    }
)
COLUMNS = pa.schema(
    {
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "key": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "objects": _OBJECTS,
        "caption": pa.string(),
        "captions": _TEXTS,
        "phrases": pa.list_(_PHRASE),
        "tags": _TEXTS,
        "absent": _TEXTS,
        "partial": _TEXTS,
        "source": pa.string(),
        "file": pa.string(),
        "licence": pa.string(),
    }
)
"""`segmentation` is COCO's compressed run-length code, of the row's height and width; `absent` are
names that were looked for and are not there, `partial` those of which more is there than has a box;
the `objects` of a phrase are places in the lists of `objects`."""


def schema_of(names: Sequence[str]) -> pa.Schema:
    """The columns, where a category is the place of its name among `names`."""
    features = {field.name: _feature(field.type) for field in COLUMNS}
    features["image"] = {"_type": "Image"}
    labels = {"names": list(names), "_type": "ClassLabel"}
    features["objects"]["category"] = _list_of(labels)
    text = json.dumps({"info": {"features": features}}, ensure_ascii=False)
    return COLUMNS.with_metadata({"huggingface": text})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """As `datasets` describes an Arrow type."""
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_fixed_size_list(kind):
        return _list_of(_feature(kind.value_type)) | {"length": kind.list_size}
    if pa.types.is_list(kind):
        return _list_of(_feature(kind.value_type))
    words = {pa.float64(): "float64", pa.bool_(): "bool"}
    return {"dtype": words.get(kind, str(kind)), "_type": "Value"}


def _list_of(feature: dict[str, Any]) -> dict[str, Any]:
    """Called so by every version of `datasets` that reads class labels in lists."""
    return {"feature": feature, "_type": "List"}
