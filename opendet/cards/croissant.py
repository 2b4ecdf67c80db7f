"""Croissant 1.0: a data set's files and fields as the JSON-LD that mlcroissant and hubs read.

Parquet files make one record set of their columns. The tar files of a build make two, of pictures
and of records, that have the sample's key in common.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from opendet.cards.about import (
    IMAGE,
    INTEGER,
    MODEL,
    NUMBER,
    OWN,
    STRUCT,
    TEXT,
    TRUTH,
    AnnotatorAbout,
    DataFile,
    DatasetAbout,
    Feature,
)
from opendet.cards.data_files import patterns
from opendet.cards.licences import page_of

Json = dict[str, Any]

CONFORMS_TO = ("http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0")
_CROISSANT_WORDS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    **{word: f"cr:{word}" for word in _CROISSANT_WORDS},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
_TYPES = {
    IMAGE: "sc:ImageObject",
    INTEGER: "sc:Integer",
    NUMBER: "sc:Float",
    TEXT: "sc:Text",
    TRUTH: "sc:Boolean",
}
_FORMATS = {
    ".parquet": "application/x-parquet",
    ".tar": "application/x-tar",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}
_PARQUET, _TAR = _FORMATS[".parquet"], _FORMATS[".tar"]


def croissant_of(about: DatasetAbout) -> Json:
    """The JSON-LD of a data set. The same facts give the same JSON."""
    return {
        "@context": dict(_CONTEXT),  # mlcroissant adds to what it is given
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": about.build,
        "alternateName": about.title,
        "description": " ".join((about.summary, *about.limits)),
        "license": [page_of(one) or one or "unknown" for one, _ in about.licences] or ["unknown"],
        "version": about.version,
        "citeAs": _cited(about),
        **({"datePublished": about.published} if about.published else {}),
        "keywords": ["object detection", "image captioning", "phrase grounding"],
        "rai:dataLimitations": list(about.limits),
        "rai:machineAnnotationTools": _tools(about),
        "rai:dataAnnotationProtocol": [f"{one.stage}: {one.told}" for one in about.stages],
        "distribution": [*map(_file_object, about.files), *_file_sets(about)],
        "recordSet": [*_table(about), *_tar_members(about)],
    }


def _cited(about: DatasetAbout) -> str:
    """BibTeX, which knows no braces within a field."""
    title = re.sub(r"[{}\\]", "", about.title)
    note = f"Open-Det build {about.build}, version {about.version}"
    return f"@misc{{{about.build}, title = {{{title}}}, note = {{{note}}}}}"


def _tools(about: DatasetAbout) -> list[str]:
    """Each model with its revision and its licence."""
    return [
        f"{one.name} {one.revision}".strip() + f", licence: {_terms(one)}"
        for one in about.annotators
        if one.kind in (MODEL, OWN)
    ]


def _terms(one: AnnotatorAbout) -> str:
    return "trained by this build" if one.kind == OWN else one.licence or "unknown"


# --- files


def _file_object(file: DataFile) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": _id(file.path),
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": _format_of(file),
        "sha256": file.sha256,
    }


def _file_sets(about: DatasetAbout) -> Iterator[Json]:
    if tables := _of_format(about, _PARQUET):
        yield _file_set("tables", patterns(tables), [_PARQUET])
    if tars := _of_format(about, _TAR):
        inside = {"containedIn": [{"@id": _id(one.path)} for one in tars]}
        kinds = [kind for kind, _ in about.formats]
        types = [_FORMATS[f".{kind}"] for kind in kinds]
        yield {**_file_set("images", [f"*.{kind}" for kind in kinds], types), **inside}
        yield {**_file_set("records", ["*.json"], [_FORMATS[".json"]]), **inside}


def _file_set(name: str, includes: list[str], types: list[str]) -> Json:
    return {
        "@type": "cr:FileSet",
        "@id": f"{name}-files",
        "name": f"{name}-files",
        "encodingFormat": types,
        "includes": includes,
    }


def _of_format(about: DatasetAbout, kind: str) -> list[DataFile]:
    return [one for one in about.files if _format_of(one) == kind]


def _format_of(file: DataFile) -> str:
    return _FORMATS.get(PurePosixPath(file.path).suffix, "application/octet-stream")


def _id(text: str) -> str:
    """mlcroissant takes no white space."""
    return re.sub(r"\s+", "_", text)


# --- the columns of Parquet files


def _table(about: DatasetAbout) -> Iterator[Json]:
    files = _of_format(about, _PARQUET)
    if not files or not about.features:
        return
    fields = [_field(one, f"samples/{_id(one.name)}", one.name) for one in about.features]
    if "split" not in {one.name for one in about.features}:
        fields += _split_field(files)
    yield {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": about.summary,
        "field": fields,
    }


def _field(feature: Feature, own: str, column: str, steps: Sequence[str] = ()) -> Json:
    """A column, or what a path of `steps` finds in each of its values."""
    field: Json = {"@type": "cr:Field", "@id": own, "name": own}
    if feature.told:
        field["description"] = feature.told
    if feature.many:
        field["repeated"] = True
    if feature.kind == STRUCT:
        field["subField"] = [
            _field(part, f"{own}/{_id('.'.join(path))}", column, (*steps, *path))
            for path, part in _leaves(feature)
        ]
        return field
    if feature.kind == IMAGE:
        steps = (*steps, "bytes")
    source: Json = {"fileSet": {"@id": "tables-files"}, "extract": {"column": column}}
    if steps:
        source["transform"] = {"jsonPath": ".".join(steps)}
    return {**field, "dataType": _TYPES[feature.kind], "source": source}


def _leaves(feature: Feature) -> Iterator[tuple[tuple[str, ...], Feature]]:
    """The parts of a struct and of those within it, each with its path: mlcroissant reads fields of
    fields and no deeper. A list of structs within a struct has no such path, and is left out."""
    for part in feature.parts:
        if part.kind != STRUCT:
            yield (part.name,), part
        elif not part.many:
            for path, leaf in _leaves(part):
                yield (part.name, *path), leaf


def _split_field(files: Sequence[DataFile]) -> list[Json]:
    """The split by the file's path. mlcroissant turns the expression into a pattern of files where
    a split alone is asked for, so it is one that it understands."""
    splits = sorted({one.split for one in files if one.split})
    if not splits:
        return []
    folders = {one.path.rpartition(f"{one.split}-")[0] for one in files}
    begins = folders.pop() if len(folders) == 1 else ".*"
    found = _file_field("samples/split", "tables-files", "fullpath")
    found["source"]["transform"] = {"regex": f"^{begins}({'|'.join(splits)}).*$"}
    return [found]


# --- the members of tar files


def _tar_members(about: DatasetAbout) -> Iterator[Json]:
    if not _of_format(about, _TAR):
        return
    for name, kind, content, told in (
        ("images", IMAGE, "image", "The pictures, by the key of their sample."),
        ("records", TEXT, "record", "What is believed of each picture, as JSON, by the same key."),
    ):
        key = _file_field(f"{name}/key", f"{name}-files", "filename")
        key["source"]["transform"] = {"regex": r"^([0-9A-Za-z_-]+)\..*$"}
        field = _file_field(f"{name}/{content}", f"{name}-files", "content")
        yield {
            "@type": "cr:RecordSet",
            "@id": name,
            "name": name,
            "description": told,
            "key": {"@id": f"{name}/key"},
            "field": [key, {**field, "dataType": _TYPES[kind]}],
        }


def _file_field(own: str, file_set: str, what: str) -> Json:
    return {
        "@type": "cr:Field",
        "@id": own,
        "name": own,
        "dataType": "sc:Text",
        "source": {"fileSet": {"@id": file_set}, "extract": {"fileProperty": what}},
    }
