"""FiftyOne: a folder in its own format, for `fiftyone.Dataset.from_dir` and `fiftyone app`.

metadata.json   the data set and its fields
samples.json    a document for each image
data/<key>.*    the images

Boxes are corner and size as parts of the image's width and height, in the field `objects`; a split
is a tag. The documents are those of an early version of the format: FiftyOne migrates what is older
than itself, and refuses what is newer. Nothing of FiftyOne is needed to write them.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from opendet.build import Build
from opendet.exports.fiftyone_fields import FORMAT_VERSION, SAMPLE_FIELDS
from opendet.exports.objects import NamedObject, Sayable, exported
from opendet.exports.shard_records import ShardRecords
from opendet.exports.whole_files import whole_files
from opendet.files import write_durably
from opendet.record import Record

SAID: frozenset[Sayable] = frozenset(
    {"crowd", "description", "score", "agreement", "caption", "licence", "other label"}
)
_MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_DIGITS = 9

Document = dict[str, Any]


def write_fiftyone(records: ShardRecords, folder: Path, build: Build) -> Counter[str]:
    """Write the records and their images, and count what the format has no place for."""
    left_out: Counter[str] = Counter()
    data = folder / "data"
    data.mkdir(parents=True)
    between = b'{"samples": ['
    with whole_files(folder) as file_of:
        samples = file_of("samples.json")
        for record, objects in exported(records, left_out, said=SAID, by_key=True):
            (data / _file_name(record)).write_bytes(records.content_of(record))
            samples.write(between + _text_of(_sample(record, objects)))
            between = b",\n"
        samples.write(b"]}\n" if between == b",\n" else between + b"]}\n")
    write_durably(folder / "metadata.json", _text_of(_data_set(build)) + b"\n")
    return +left_out


def to_fiftyone(folder: Path, name: str) -> Any:
    """The exported folder as a `fiftyone.Dataset`, which FiftyOne keeps under that name.

    Raises ValueError, in one line, where FiftyOne is not installed.
    """
    try:
        fiftyone = import_module("fiftyone")
    except ImportError as error:
        raise ValueError("FiftyOne is not installed: pip install fiftyone") from error
    return fiftyone.Dataset.from_dir(
        dataset_dir=str(folder), dataset_type=fiftyone.types.FiftyOneDataset, name=name
    )


def _data_set(build: Build) -> Document:
    epoch = {"$date": "1970-01-01T00:00:00Z"}  # FiftyOne puts the time of the import in its place
    return {
        "_id": _id_of(f"data set {build.name}"),
        "name": build.name,
        "slug": build.name.lower().replace("_", "-"),
        "version": FORMAT_VERSION,
        "created_at": epoch,
        "last_loaded_at": epoch,
        "sample_collection_name": f"samples.{_id_of(f'data set {build.name}')['$oid']}",
        "persistent": False,
        "media_type": "image",
        "group_media_types": {},
        "tags": [],
        "info": {"written_by": "Open-Det", "build": build.name},
        "app_config": {
            "media_fields": ["filepath"],
            "grid_media_field": "filepath",
            "modal_media_field": "filepath",
            "plugins": {},
        },
        "classes": {},
        "default_classes": [],
        "mask_targets": {},
        "default_mask_targets": {},
        "skeletons": {},
        "sample_fields": SAMPLE_FIELDS,
        "frame_fields": [],
        "saved_views": [],
        "workspaces": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }


def _sample(record: Record, objects: Sequence[NamedObject]) -> Document:
    chance = (
        int(_digest(f"rand {record.key}")[:13], 16) / 16**13
    )  # in [0, 1); FiftyOne shuffles by it
    detections = [_detection(one, record, number) for number, one in enumerate(objects)]
    return {
        "_id": _id_of(record.key),
        "filepath": f"data/{_file_name(record)}",
        "tags": [record.split],
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": record.bytes,
            "mime_type": _MIME[record.format],
            "width": record.width,
            "height": record.height,
            "num_channels": None,
        },
        "_media_type": "image",
        "_rand": chance,
        "objects": {"_cls": "Detections", "detections": detections},
        "caption": record.caption,
        "opendet_key": record.key,
        "source": record.source,
        "licence": record.licence,
    }


def _detection(one: NamedObject, record: Record, number: int) -> Document:
    x0, y0, x1, y1 = one.region.box_xyxy
    sides = (
        x0 / record.width,
        y0 / record.height,
        (x1 - x0) / record.width,
        (y1 - y0) / record.height,
    )
    return {
        "_id": _id_of(f"{record.key} {number}"),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": one.name,
        "bounding_box": [round(side, _DIGITS) for side in sides],
        "confidence": one.region.box_from.score,
        "iscrowd": int(one.region.crowd),
        "description": one.region.description,
        "other_names": list(one.other_names),
        "agreement": one.region.agreement,
    }


def _file_name(record: Record) -> str:
    return f"{record.key}.{record.format}"


def _id_of(text: str) -> dict[str, str]:
    """A document's id, the same each time."""
    return {"$oid": _digest(text)[:24]}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text_of(document: Document) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
