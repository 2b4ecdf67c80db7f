"""What metadata.json of a FiftyOne data set says of the fields of its samples."""

from typing import Any

FORMAT_VERSION = "0.23.8"
"""Of the format that the documents are written in; every later FiftyOne migrates it."""

_FIELDS = "fiftyone.core.fields."


Field = dict[str, Any]


def field(
    name: str,
    kind: str,
    *,
    of: str | None = None,
    document: str | None = None,
    fields: tuple[Field, ...] = (),
    stored: str | None = None,
) -> Field:
    """A field of that class of FiftyOne's; `of` is the class of a list's items, `document` that of
    an embedded document, whose own fields are `fields`."""
    return {
        "name": name,
        "ftype": _FIELDS + kind,
        "embedded_doc_type": document,
        "subfield": _FIELDS + of if of else None,
        "fields": list(fields),
        "db_field": stored or name,
        "description": None,
        "info": None,
    }


def _texts(name: str) -> Field:
    return field(name, "ListField", of="StringField")


_METADATA = (
    field("size_bytes", "IntField"),
    field("mime_type", "StringField"),
    field("width", "IntField"),
    field("height", "IntField"),
    field("num_channels", "IntField"),
)
_DETECTION = (
    field("id", "ObjectIdField", stored="_id"),
    _texts("tags"),
    field("attributes", "DictField", of="EmbeddedDocumentField"),
    field("label", "StringField"),
    field("bounding_box", "ListField", of="FloatField"),
    field("mask", "ArrayField"),
    field("confidence", "FloatField"),
    field("index", "IntField"),
    field("iscrowd", "IntField"),
    field("description", "StringField"),
    _texts("other_names"),
    field("agreement", "FloatField"),
)
_DETECTIONS = (
    field(
        "detections",
        "ListField",
        of="EmbeddedDocumentField",
        document="fiftyone.core.labels.Detection",
        fields=_DETECTION,
    ),
)
SAMPLE_FIELDS: list[Field] = [
    field("id", "ObjectIdField", stored="_id"),
    field("filepath", "StringField"),
    _texts("tags"),
    field("_media_type", "StringField"),
    field("_rand", "FloatField"),
    field(
        "metadata",
        "EmbeddedDocumentField",
        document="fiftyone.core.metadata.ImageMetadata",
        fields=_METADATA,
    ),
    field(
        "objects",
        "EmbeddedDocumentField",
        document="fiftyone.core.labels.Detections",
        fields=_DETECTIONS,
    ),
    *(field(name, "StringField") for name in ("caption", "opendet_key", "source", "licence")),
]
