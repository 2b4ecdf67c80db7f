"""Looks for everything that is not as a build's manifests say, and names each problem in one line.

Reads every byte: files against their manifest, samples against the ledger (in = out + dropped +
quarantined, by key), parts against what they were made from, drawn images against their records.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opendet.build import Build
from opendet.corrections.tasks import INPUT, corrections_of, told_tasks
from opendet.inspect.part_keys import keys_gone, keys_out, record_keys
from opendet.manifest import Manifest, manifest_files, read_commit, read_manifest
from opendet.record import Record
from opendet.schema import read_records
from opendet.shard_check import verify_shards
from opendet.shard_set import check_file
from opendet.sources.batches import CHUNK
from opendet.sources.containers import container_name
from opendet.stage_order import RECORD_STAGES, SAMPLE_STAGES, STAGES


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one stage."""

    stage: str
    parts: int
    files: int
    """That the manifest names."""
    bytes: int
    """That they must weigh together."""
    problems: tuple[str, ...]
    """One line each."""


def verify_build(build: Build) -> list[Verdict]:
    """A verdict for each stage that is there. Raises ValueError where there is none."""
    built = [stage for stage in STAGES if build.stage_folder(stage).exists()]
    if not built:
        raise ValueError(f"nothing of {build.name} is built: run `opendet data build`")
    return [verify_stage(build, stage) for stage in built]


def verify_stage(build: Build, stage: str) -> Verdict:
    folder = build.stage_folder(stage)
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        return Verdict(stage, 0, 0, 0, (_brief(str(error), build),))
    if stage == "shards":
        found = [problem.what for problem in verify_shards(folder)]
    else:
        found = [*_surplus(build, stage, manifest), *_file_problems(folder, manifest)]
    if not found and stage in RECORD_STAGES:
        found += _record_problems(build, stage, manifest)
    if not found and stage in SAMPLE_STAGES:
        found += _ledger_problems(build, stage, manifest)
    found += _stale_parts(build, stage, manifest)
    stamps = [stamp for part in manifest.parts for stamp in part.files.values()]
    return Verdict(
        stage=stage,
        parts=len(manifest.parts),
        files=len(stamps),
        bytes=sum(stamp.bytes for stamp in stamps),
        problems=tuple(_brief(problem, build) for problem in found),
    )


# --- files


def _surplus(build: Build, stage: str, manifest: Manifest) -> Iterator[str]:
    folder = build.stage_folder(stage)
    known = {*manifest_files(len(manifest.parts))}
    known.update(_container_names(build) if stage == "source" else ())
    for part in manifest.parts:
        known.update(part.files, [f"{part.shard.name}.json"])
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in known:
            yield f"{path} is not in the manifest: remove it"


def _file_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    for part in manifest.parts:
        commit = folder / f"{part.shard.name}.json"
        try:
            if read_commit(commit) != part:
                yield f"{commit} does not say what the manifest says"
        except ValueError as error:
            yield str(error)
        for name, stamp in part.files.items():
            try:
                check_file(folder / name, stamp)
            except ValueError as error:
                yield str(error)


# --- samples


def _record_problems(build: Build, stage: str, manifest: Manifest) -> Iterator[str]:
    """Records against their part's count, each other's keys and, of drawn ones, their images."""
    owners: dict[str, str] = {}
    drawn = {batch.name for batch in build.card.batches if batch.format == "scenes"}
    for part in manifest.parts:
        shard = part.shard.name
        try:
            records = read_records(build.stage_folder(stage) / f"{shard}.parquet")
        except ValueError as error:
            yield str(error)
            continue
        if len(records) != part.samples_out:
            yield f"{stage}/{shard}: {len(records)} records, not {part.samples_out}"
        for record in records:
            if owners.setdefault(record.key, shard) != shard:
                yield f"{stage}/{shard}: key {record.key!r} is in {owners[record.key]} too"
        if stage == "source" and part.shard.batch in drawn:
            yield from _image_problems(build, records)


def _image_problems(build: Build, records: list[Record]) -> Iterator[str]:
    """One line for each file of drawn images that lacks some, or has others than were checked."""
    images, wrong = build.images(needed=False), Counter[str]()
    first: dict[str, str] = {}
    for record in records:
        try:
            images.read(record)
        except (ValueError, OSError):  # Arrow's errors of a damaged file are either.
            wrong[record.file] += 1
            first.setdefault(record.file, record.key)
    for name, count in wrong.items():
        path = build.stage_folder("source") / name
        what = "is damaged" if path.is_file() else "is missing"
        yield (
            f"{path} {what}: {count} images of it are not those of their records, the first is "
            f"{first[name]}"
        )


def _ledger_problems(build: Build, stage: str, manifest: Manifest) -> Iterator[str]:
    """in = out + dropped + quarantined, key by key, where the stage before is there and whole."""
    place = SAMPLE_STAGES.index(stage)
    before = build.stage_folder(SAMPLE_STAGES[place - 1]) if place else None
    for part in manifest.parts:
        upstream = before / f"{part.shard.name}.parquet" if before else None
        if upstream is None or not upstream.is_file():
            continue
        try:
            came = Counter(record_keys(upstream))
        except ValueError:  # Named where the stage before is judged.
            continue
        went = Counter([*keys_out(build.stage_folder(stage), part), *keys_gone(part)])
        for key in (came - went) + (went - came):
            yield f"{stage}/{part.shard.name}: {key} {_miscount(came[key], went[key])}"


def _miscount(came: int, went: int) -> str:
    if not went:
        return "came in and is neither kept, dropped nor quarantined"
    return f"came in {came} times and is accounted for {went} times"


# --- parts against what they were made from


def _stale_parts(build: Build, stage: str, manifest: Manifest) -> Iterator[str]:
    """Parts made from files that the stages before no longer have.

    Nothing is said where a stage before is not there: somebody may have fetched the shards alone.
    The report is made from what its page shows, not from files.
    """
    before = STAGES[: STAGES.index(stage)]
    if stage == "report" or not all(
        (build.stage_folder(s) / "manifest.json").exists() for s in before
    ):
        return
    try:
        manifests = [build.manifest(one) for one in before]
        said = _corrections_said(build) if stage == "filter" else set()
    except ValueError:  # Named where that stage is judged.
        return
    known = {
        stamp.sha256 for one in manifests for part in one.parts for stamp in part.files.values()
    }
    for part in manifest.parts:
        if not (known | said).issuperset(part.inputs.values()):
            yield (
                f"{stage}/{part.shard.name} was made from files that have changed since: run "
                f"`opendet data build {stage}`"
            )


def _corrections_said(build: Build) -> set[str]:
    """Digests of what people said of the images of each shard: inputs that are no stage's files."""
    tasks = told_tasks(build, corrections_of(build))
    return {task.inputs[INPUT] for task in tasks if INPUT in task.inputs}


def _container_names(build: Build) -> list[str]:
    """The files that hold a build's drawn images; no manifest speaks of them."""
    return [
        container_name(batch.name, chunk)
        for batch in build.card.batches
        if batch.format == "scenes"
        for chunk in range(-(-batch.count // CHUNK))
    ]


def _brief(problem: str, build: Build) -> str:
    """With paths below the project's root."""
    return problem.replace(f"{build.root}/", "")
