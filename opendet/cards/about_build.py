"""What a build's manifests, metrics and records say of it, gathered for its card."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from opendet.build import Build, digest_of
from opendet.cards.about import (
    MODEL,
    OWN,
    PEOPLE,
    RULES,
    SOURCE,
    AnnotatorAbout,
    Counts,
    DatasetAbout,
    SourceAbout,
    SplitAbout,
    StageAbout,
    ordered,
)
from opendet.cards.data_files import shard_files
from opendet.cards.features import RECORD_FEATURES
from opendet.cards.licences import UNKNOWN, licence_of_model
from opendet.cards.limits import limits_of
from opendet.cards.measured import data_measures, metrics_of
from opendet.cards.tally import GRAMMAR, RecordTally, tally_of
from opendet.corrections.applying import CORRECTION
from opendet.curate.shards import without_refused
from opendet.inspect.stats import StageStats, ledgers
from opendet.record import Record
from opendet.shard_set import ShardSet
from opendet.stage_order import RECORD_STAGES, SAMPLE_STAGES

TOP_NAMES = 30
_KINDS = {
    "source": SOURCE,
    CORRECTION: PEOPLE,
    **dict.fromkeys((GRAMMAR, "noun phrases", "regions"), RULES),
}
"""What provenance calls those that are no model."""
_MODEL_KEYS = frozenset({"model", "segmenter"})
"""Keys of the configuration under which a model's name, file or folder stands."""
_TOLD = {
    "source": "images checked, hashed, and planned in shards",
    "caption": "each image captioned",
    "regions": "boxes proposed, phrases of the caption grounded",
    "describe": "each region described and named",
    "embed": "crops and texts measured against each other by CLIP",
    "verify": "names and boxes judged by a verifier, where one is configured",
    "filter": "regions refused by rules, each with its reason",
    "shards": "images' own bytes and records packed into WebDataset tar files",
}

Change = Callable[[Record], Record]


def about_build(
    build: Build, *, splits: Sequence[str] = (), change: Change | None = None
) -> DatasetAbout:
    """What a card tells of a build, or of some of its splits, without features and files.

    `change` is what was done to each record before it was written elsewhere. Raises ValueError, in
    one line, where nothing is built, or a manifest or a part is damaged.
    """
    stages = [one for one in ledgers(build) if one.stage in SAMPLE_STAGES]
    if not stages:
        raise ValueError(f"nothing of {build.name} is built: run `opendet data build`")
    records = (change(record) if change else record for record in build_records(build))
    tally = tally_of(one for one in records if not splits or one.split in splits)
    metrics = metrics_of(build)
    annotators = _annotators(build, tally)
    names = tally.names
    return DatasetAbout(
        build=build.name,
        title=build.card.title or build.name,
        version=f"1.0.0+{_digest(build, stages[-1].stage)}",
        formats=ordered(tally.formats),
        sources=_sources(build, tally),
        annotators=annotators,
        splits=_splits(tally),
        names=ordered(names)[:TOP_NAMES],
        distinct_names=len(names),
        stages=tuple(map(_stage, stages)),
        measured=tuple(data_measures(metrics, tally)),
        limits=limits_of(tally, annotators, metrics, judged=_judged(build)),
    )


def about_for_release(name: str, published: str = "") -> DatasetAbout:
    """A build by its name, with its shards: what `opendet data card` tells."""
    build = Build.open(name)
    about = about_build(build)
    files = shard_files(build)
    return replace(
        about, published=published, files=files, features=RECORD_FEATURES if files else ()
    )


def build_records(build: Build) -> Iterator[Record]:
    """What the build's shards hold, or what its last record stage does before there are any.

    Read from Parquet where the stage before the shards is there: it is the same, and faster.
    """
    built = [stage for stage in RECORD_STAGES if _is_built(build, stage)]
    if not _is_built(build, "shards"):
        yield from build.records(built[-1])
    elif built[-1:] == ["filter"]:
        yield from _packed(build)
    else:
        shards = ShardSet.open(build.stage_folder("shards"))
        yield from (shards.record(index) for index in range(len(shards)))


def _packed(build: Build) -> Iterator[Record]:
    """The filter's records, as the stage `shards` packs them."""
    parts = build.manifest("shards").parts
    gone = {one.key for part in parts for one in part.dropped}
    gone |= {one.key for part in parts for one in part.quarantined}
    for record in build.records("filter"):
        if record.key not in gone:
            yield record if build.config.shards.keep_refused else without_refused(record)


def _judged(build: Build) -> Sequence[str]:
    """The splits that the filter's rules look at."""
    return build.config.filter.splits if _is_built(build, "filter") else ()


def _is_built(build: Build, stage: str) -> bool:
    return (build.stage_folder(stage) / "manifest.json").is_file()


def _digest(build: Build, stage: str) -> str:
    """How the hash of all the files of a stage begins."""
    stamps = build.stamps(stage)
    return digest_of([f"{name} {stamps[name]}" for name in sorted(stamps)])[:12]


def _sources(build: Build, tally: RecordTally) -> tuple[SourceAbout, ...]:
    by_source: dict[str, dict[str, int]] = {}
    for (source, licence), images in tally.licences.items():
        by_source.setdefault(source, {})[licence] = images
    return tuple(
        SourceAbout(name, build.card.title if name == build.card.name else "", ordered(licences))
        for name, licences in sorted(by_source.items())
    )


def _splits(tally: RecordTally) -> tuple[SplitAbout, ...]:
    return tuple(
        SplitAbout(name, split.images, split.captions, split.regions, split.kept)
        for name, split in sorted(tally.splits.items())
    )


def _stage(stats: StageStats) -> StageAbout:
    return StageAbout(
        stage=stats.stage,
        told=_TOLD[stats.stage],
        images_in=stats.samples_in,
        images_out=stats.samples_out,
        dropped=ordered(stats.dropped),
        quarantined=stats.quarantined,
        refused=ordered(stats.refused),
    )


# --- who said what


def _annotators(build: Build, tally: RecordTally) -> tuple[AnnotatorAbout, ...]:
    """The source first, then people, rules and models, each by name."""
    said: dict[tuple[str, str], dict[str, int]] = {}
    for (model, revision, what), count in tally.said.items():
        said.setdefault((model, revision), {})[what] = count
    places = _model_places(build)
    found = [
        _annotator(build, model, revision, ordered(counts), places)
        for (model, revision), counts in sorted(said.items())
    ]
    order = (SOURCE, PEOPLE, RULES, OWN, MODEL)
    return tuple(sorted(found, key=lambda one: order.index(one.kind)))


def _annotator(
    build: Build, model: str, revision: str, said: Counts, places: Mapping[str, Path]
) -> AnnotatorAbout:
    kind = _KINDS.get(model, MODEL)
    clip = build.config.clip
    if kind == MODEL and clip.model == "trained" and _says_agreement(said):
        return AnnotatorAbout(model, revision, OWN, said)
    name = f"{model} ({clip.pretrained})" if model == clip.model and clip.pretrained else model
    known = licence_of_model(name, places.get(model)) if kind == MODEL else UNKNOWN
    return AnnotatorAbout(name, revision, kind, said, known.licence, known.said_by)


def _says_agreement(said: Counts) -> bool:
    return any(what == "agreements measured" for what, _ in said)


def _model_places(build: Build) -> dict[str, Path]:
    """What provenance may call a model -> the folder that it lies in, of those on this disk."""
    found = {}
    for text in _texts_at(_MODEL_KEYS, build.config.model_dump()):
        path = build.root / Path(text).expanduser()
        if path.is_dir():
            found[path.resolve().name] = path
        elif path.is_file():
            found[path.stem] = path.parent
    return found


def _texts_at(keys: frozenset[str], value: Any) -> Iterator[str]:
    """Every string that stands at one of some keys, at any depth."""
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        yield from (text for key in keys if isinstance(text := value.get(key), str) and text)
        inner = value.values()
    elif isinstance(value, list | tuple):
        inner = value
    for one in inner:
        yield from _texts_at(keys, one)
