"""The page about the record: its fields, how it lies in parts and shards, and what is beside it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import pyarrow as pa

from opendet import manifest, record, schema
from opendet.curate.vectors import Vectors
from opendet.evaluation.predictions import ImagePrediction
from opendet.record import Provenance, Record, Region
from opendet.reference.attribute_texts import attribute_texts
from opendet.reference.markdown_text import code, escaped, link, page, table

RECORD_CLASSES: tuple[type, ...] = (
    Record,
    Region,
    record.Phrase,
    Provenance,
    record.Mask,
    record.NameJudgement,
    record.Turn,
)
MANIFEST_CLASSES: tuple[type, ...] = (
    manifest.Manifest,
    manifest.PartCommit,
    manifest.ShardName,
    manifest.FileStamp,
    manifest.DroppedEntry,
    manifest.QuarantinedEntry,
)
COLUMNS = ("field", "holds", "")

FILES = (
    ("<stage>/<shard>.parquet", "the records of a shard as a stage left them, a row each, zstd"),
    ("<stage>/<shard>.json", "the commit record of that part (PartCommit), written last"),
    ("<stage>/manifest.json", "all parts in the plan's order (Manifest); readers never glob"),
    ("embed/<shard>.vectors.parquet", "CLIP vectors of the named regions (Vectors), float16"),
    ("shards/<shard>.tar", "WebDataset: `<key>.<format>`, the file's own bytes, `<key>.json`"),
    ("shards/<shard>.idx", "NVIDIA DALI's index (v1.2): offset and size of each member"),
    ("shards/index.json", "the list of shards that wids reads"),
    ("evaluate/predictions.parquet", "what the detector found (ImagePrediction)"),
)
"""File below datasets/<build>/ -> what it is."""
ON_DISK = """
A shard is called `<batch>-<nnnnnn>`. The samples of a tar are sorted by key, its headers have no time
and no owner: the same samples give the same bytes. A record in a tar has one key more,
`record_version`.
""".strip()  # noqa: E501 - prose that is shown as it stands


PROVENANCE = schema.RECORD_SCHEMA.field("caption_from").type
"""It comes so often that the schema is shown with its name."""


def record_page() -> str:
    """docs/reference/record.md."""
    return page(
        "The record",
        escaped((record.__doc__ or "").split("\n\n")[1]),
        f"The version of its schema is **{schema.SCHEMA_VERSION}**; files of the versions "
        f"{' and '.join(_versions())} are read. It stands in a Parquet file's metadata as "
        "`opendet.record_version`. A file of a later version is refused with one line.",
        "A belief comes with its origin: the field whose name ends in `_from`, or `_checked`, is a "
        f"{link('Provenance')}.",
        *(class_text(owner) for owner in RECORD_CLASSES),
        "## On disk",
        table(("below `datasets/<build>/`", ""), [(code(name), text) for name, text in FILES]),
        ON_DISK,
        "## As Arrow",
        "What may be null is marked; every other value is there, if only empty. `provenance` is a "
        "struct of the strings `model`, `revision` and `prompt`, and of the double `score`, which "
        "may be null.",
        f"```\n{arrow_text()}\n```",
        "## As JSON",
        "The record of one small image, as a shard holds it but for the line breaks:",
        f"```json\n{json_example()}\n```",
        "## Beside the records",
        *(class_text(owner) for owner in (*MANIFEST_CLASSES, Vectors, ImagePrediction)),
    )


def class_text(owner: type) -> str:
    """A dataclass: what it is, and a table of its fields."""
    hints, texts = get_type_hints(owner), attribute_texts(owner)
    rows = [(code(name), _held(hints[name]), escaped(text)) for name, text in texts.items()]
    return f"## {owner.__name__}\n\n{escaped(owner.__doc__ or '')}\n\n{table(COLUMNS, rows)}"


def arrow_text() -> str:
    """The Arrow schema, indented by its depth."""
    return "\n".join(line for field in schema.RECORD_SCHEMA for line in _arrow_lines(field, 0))


def json_example() -> str:
    """A small record in JSON, a key a line."""
    text = schema.record_to_json(example())
    assert schema.record_from_json(text) == example()
    return _broken(text)


def example() -> Record:
    """One image with a caption, a grounded phrase and a region that was kept."""
    source = Provenance("source")
    region = Region(
        box_xyxy=(12.0, 30.5, 96.0, 88.0),
        box_from=source,
        label="dog",
        names=("brown dog", "dog"),
        names_from=Provenance("vision_language", "a1b2c3", "What is in the box?"),
        agreement=0.31,
        rival="fox",
        rival_agreement=0.24,
        agreement_from=Provenance("ViT-B-32", "laion2b_s34b_b79k"),
    )
    phrase = record.Phrase(0, 11, (0,), Provenance("noun phrases", "grammar 1"))
    return Record(
        key="spring-000000",
        source="mine",
        batch="spring",
        split="train",
        licence="CC-BY-4.0",
        file="dogs/one.jpg",
        format="jpg",
        bytes=18204,
        sha256="0" * 64,
        width=128,
        height=96,
        caption="A brown dog runs over the grass.",
        caption_from=source,
        phrases=(phrase,),
        regions=(region,),
    )


@dataclass(frozen=True, slots=True)
class _Shown:
    """An Arrow type as a reader wants it, and the fields below it."""

    words: str
    below: tuple[pa.Field, ...] = ()


def _versions() -> tuple[str, ...]:
    return tuple(str(number) for number in range(1, schema.SCHEMA_VERSION + 1))


def _held(hint: Any) -> str:
    """A type hint as it is written in Python; our own classes are links."""
    known = (*RECORD_CLASSES, *MANIFEST_CLASSES)
    if "numpy" in str(hint):
        return "array"
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    told = code(text.replace("opendet.record.", "").replace("opendet.manifest.", ""))
    links = [link(one.__name__) for one in known if _mentions(hint, one)]
    return " ".join([told, *(f"→ {one}" for one in links)])


def _mentions(hint: Any, owner: type) -> bool:
    return hint is owner or any(_mentions(inner, owner) for inner in get_args(hint))


def _arrow_lines(field: pa.Field, depth: int) -> Iterator[str]:
    shown = _shown(field.type)
    null = ", or null" if field.nullable else ""
    yield f"{'  ' * depth}{field.name}: {shown.words}{null}"
    for inner in shown.below:
        yield from _arrow_lines(inner, depth + 1)


def _shown(kind: pa.DataType) -> _Shown:
    if kind == PROVENANCE:
        return _Shown("provenance")
    if pa.types.is_struct(kind):
        return _Shown("struct", tuple(kind))
    if pa.types.is_fixed_size_list(kind):
        return _Shown(f"list of {kind.list_size} {kind.value_type}")
    if pa.types.is_list(kind):
        inner = _shown(kind.value_type)
        return _Shown(f"list of {inner.words}", inner.below)
    return _Shown(str(kind))


def _broken(text: str) -> str:
    return json.dumps(json.loads(text), indent=1, ensure_ascii=False, sort_keys=True)
