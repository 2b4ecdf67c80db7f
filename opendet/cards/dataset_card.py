"""The card of a data set: README.md with the header that the Hugging Face hub reads."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from opendet.cards.about import (
    MODEL,
    OWN,
    PEOPLE,
    RULES,
    SOURCE,
    AnnotatorAbout,
    Counts,
    DataFile,
    DatasetAbout,
    Feature,
    StageAbout,
)
from opendet.cards.croissant import croissant_of
from opendet.cards.data_files import CROISSANT, README, files_in, patterns
from opendet.cards.features import features_of_parquet
from opendet.cards.licences import hub_word, page_of
from opendet.cards.page import coded, number, said, section, table, with_header
from opendet.files import canonical_json, write_durably

MOST_FILES = 40
"""More of them are counted and not listed; croissant.json has them all."""
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
_LICENCE_OF = {
    SOURCE: "the source's own",
    PEOPLE: "no model: people",
    RULES: "no model: rules of Open-Det",
    OWN: "no other: trained by this build, on its own images",
    MODEL: "**unknown**",
}


def write_dataset_cards(folder: Path, about: DatasetAbout) -> None:
    """Write README.md and croissant.json into a folder whose other files are there already.

    Where `about` names no files, or no features, they are what the folder has: all of its files,
    and the columns of its first Parquet file. `opendet.cards.about_build` gathers the rest.
    """
    files = about.files or files_in(folder, [split.split for split in about.splits])
    tables = [folder / one.path for one in files if one.path.endswith(".parquet")]
    features = about.features or (features_of_parquet(tables[0]) if tables else ())
    limits = (*about.limits, *_rows_told(about, tables))
    write_cards(folder, replace(about, files=files, features=features, limits=limits))


def write_cards(folder: Path, about: DatasetAbout) -> None:
    """Write README.md and croissant.json, of what `about` tells and nothing else."""
    write_durably(folder / CROISSANT, croissant_text(about).encode())
    write_durably(folder / README, dataset_card_text(about).encode())


def _rows_told(about: DatasetAbout, tables: Sequence[Path]) -> Iterator[str]:
    """A sentence where the tables hold another number of images than the build."""
    rows = sum(pq.read_metadata(path).num_rows for path in tables)
    if tables and rows != about.images:
        yield (
            f"The files hold {number(rows)} of the {number(about.images)} images that this card "
            "counts: the export has no place for the others."
        )


def croissant_text(about: DatasetAbout) -> str:
    return canonical_json(croissant_of(about))


def dataset_card_text(about: DatasetAbout) -> str:
    """The whole card. The same facts give the same text."""
    return with_header(_header(about), _lines(about))


# --- what the hub reads


def _header(about: DatasetAbout) -> dict[str, Any]:
    captioned = any(split.captions for split in about.splits)
    return {
        "pretty_name": about.title,
        **_licence_header(about),
        "task_categories": ["object-detection", *(["image-to-text"] if captioned else [])],
        "tags": ["open-det", "croissant"],
        "size_categories": [_size_of(about.images)],
        "configs": _configs(about),
    }


def _licence_header(about: DatasetAbout) -> dict[str, Any]:
    """One word of the hub, or several; `other` where it has none for one of them."""
    licences = [licence for licence, _ in about.licences if licence]
    words = sorted({hub_word(licence) for licence in licences})
    if not licences or len(licences) < len(about.licences):
        return {"license": "unknown"}
    if "" in words:
        return {"license": "other", "license_name": "as-the-card-says", "license_link": README}
    return {"license": words[0] if len(words) == 1 else words}


def _size_of(images: int) -> str:
    return next((word for below, word in _SIZES if images < below), "n>100M")


def _configs(about: DatasetAbout) -> list[dict[str, Any]]:
    splits = dict.fromkeys(one.split for one in about.files if one.split)
    found = [
        {"split": split, "path": patterns(one for one in about.files if one.split == split)}
        for split in splits
    ]
    return [{"config_name": "default", "data_files": found}] if found else []


# --- what people read


def _lines(about: DatasetAbout) -> Iterator[str]:
    yield f"# {said(about.title)}"
    yield ""
    yield said(about.summary, longest=1000)
    yield ""
    made = f"Build {coded(about.build)}, version {about.version}"
    yield f"{made}; every number below is the build's own."
    yield ""
    yield from section("Splits", _splits(about))
    yield from section("Limits, and what it is not to be used for", _limits(about))
    yield from section("Licences", _licences(about))
    yield from section("Who said what", _annotators(about))
    yield from section("What is in it", _features(about.features))
    yield from section("Names", _names(about))
    yield from section("How it was made", _stages(about.stages))
    yield from section("What was taken out, and why", _losses(about.stages))
    yield from section("Measured", _measured(about))
    yield from section("Files", _files(about.files))


def _splits(about: DatasetAbout) -> Iterator[str]:
    rows = [
        (said(one.split), *map(number, (one.images, one.captions, one.regions, one.kept)))
        for one in about.splits
    ]
    if rows:
        yield from table(("split", "images", "with a caption", "regions", "of these kept"), rows)
    else:
        yield "No image is in it."


def _limits(about: DatasetAbout) -> Iterator[str]:
    yield from (f"- {said(sentence, longest=1000)}" for sentence in about.limits)


def _licences(about: DatasetAbout) -> Iterator[str]:
    rows = [
        (said(source.name), said(source.title), _licence(licence), number(images))
        for source in about.sources
        for licence, images in source.licences
    ]
    if rows:
        yield from table(
            ("source", "", "licence of the images, as the data says it", "images"), rows
        )
        yield "What models said is under their own terms: see the next table."


def _licence(licence: str) -> str:
    """With a link where it is known where to read it."""
    page = page_of(licence)
    told = said(licence) or "**none is told**"
    return f"[{told}]({page})" if page else told


def _annotators(about: DatasetAbout) -> Iterator[str]:
    rows = [
        (said(one.name), said(one.revision), _counted(one.said), _terms(one))
        for one in about.annotators
    ]
    if rows:
        yield from table(("who", "revision", "said", "licence"), rows)


def _terms(one: AnnotatorAbout) -> str:
    if not one.licence:
        return _LICENCE_OF[one.kind]
    return f"{_licence(one.licence)}, says {said(one.licence_from)}"


def _counted(counts: Counts) -> str:
    return ", ".join(f"{number(count)} {said(word)}" for word, count in counts)


def _features(features: tuple[Feature, ...]) -> Iterator[str]:
    rows = [
        (coded(path), f"list of {one.kind}" if one.many else one.kind, said(one.told))
        for path, one in _walked(features)
    ]
    if rows:
        yield from table(("field", "kind", ""), rows)


def _walked(features: tuple[Feature, ...], above: str = "") -> Iterator[tuple[str, Feature]]:
    """Each feature with its path, its parts after it."""
    for one in features:
        path = f"{above}{one.name}"
        yield path, one
        yield from _walked(one.parts, f"{path}.")


def _names(about: DatasetAbout) -> Iterator[str]:
    if not about.names:
        return
    rows = [(said(name, longest=80), number(count)) for name, count in about.names]
    more = about.distinct_names - len(rows)
    yield f"{number(about.distinct_names)} different ones; how many kept regions are called so:"
    yield ""
    yield from table(("name", "regions"), rows)
    if more > 0:
        yield f"And {number(more)} more."


def _stages(stages: tuple[StageAbout, ...]) -> Iterator[str]:
    rows = [
        (
            one.stage,
            one.told,
            number(one.images_in),
            number(one.images_out),
            number(sum(count for _, count in one.dropped)),
            number(one.quarantined),
            number(sum(count for _, count in one.refused)),
        )
        for one in stages
    ]
    columns = ("stage", "", "images in", "out", "dropped", "quarantined", "regions refused")
    yield from table(columns, rows)


def _losses(stages: tuple[StageAbout, ...]) -> Iterator[str]:
    rows = [
        (one.stage, what, said(reason), number(count))
        for one in stages
        for what, counts in (("image", one.dropped), ("region", one.refused))
        for reason, count in counts
    ]
    if rows:
        yield from table(("stage", "what", "reason", "how many"), rows)
    if failed := sum(one.quarantined for one in stages):
        yield f"Images on which a stage failed, and which are quarantined: {number(failed)}."


def _measured(about: DatasetAbout) -> Iterator[str]:
    rows = [(one.stage, said(one.what, longest=500), said(one.value)) for one in about.measured]
    if rows:
        yield "Of the whole build, whatever splits are here."
        yield ""
        yield from table(("stage", "what", "measured"), rows)


def _files(files: tuple[DataFile, ...]) -> Iterator[str]:
    if not files:
        return
    total = sum(one.bytes for one in files)
    told = f"In number {number(len(files))}, in bytes {number(total)}"
    yield f"{told}; `{CROISSANT}` describes each."
    yield ""
    if len(files) <= MOST_FILES:
        rows = [(coded(one.path), number(one.bytes), coded(one.sha256)) for one in files]
        yield from table(("file", "bytes", "SHA-256"), rows)
