"""A build: one configuration, one folder of outputs, and how its stages find each other.

configs/<build>.yaml                   the configuration
datasets/<build>/source.yaml           what it is made of
datasets/<build>/<stage>/              a stage's output, published whole
datasets/<build>/metrics/<stage>.json  its numbers, for `dvc metrics`
.opendet/<build>/<stage>/<fingerprint>/  its work folder, ignored by git and DVC
"""

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from opendet.answers.memory import AnswerPlace, counted
from opendet.cluster import inside_job
from opendet.config import Config, load_config
from opendet.files import exclusive_lock, sweep_unfinished, write_json_durably
from opendet.fingerprint import stage_fingerprint
from opendet.flow import Ran, retry, run, run_whole
from opendet.manifest import Manifest, PartCommit, read_manifest
from opendet.parts import read_record_part, read_samples, read_whole, write_record_part
from opendet.ray_session import ray_session
from opendet.record import Record
from opendet.sample import Sample
from opendet.section import Section
from opendet.shard_run import WHOLE, WHOLE_METRICS
from opendet.sources.batches import check_images
from opendet.sources.card import SourceCard, read_card
from opendet.sources.image_files import ImageFiles
from opendet.stage import In, Out, Stage, Task, Worker
from opendet.work import WorkFolder
from opendet.yaml_file import read_yaml

log = logging.getLogger(__name__)


KEEPING = {
    "caption": "let a model caption them (caption.annotator: vision_language or served), or keep "
    "them without (caption.without_caption: keep, filter.require_caption: false)",
    "filter": "loosen the rules of the section filter; `opendet data stats` counts the reasons",
}
"""How a stage that dropped every image is made to keep some."""


@dataclass(frozen=True)
class Build:
    """One build of the project at `root`. Raises ValueError, in one line, for a broken one."""

    name: str
    root: Path
    config: Config
    actors: int
    address: str = ""
    """Of a Ray cluster; empty for a private local Ray."""
    retrying: bool = False
    """Whether running a stage tries its quarantined samples again and makes nothing else."""

    @classmethod
    def open(
        cls, name: str = "", *, root: Path | None = None, actors: int | None = None
    ) -> "Build":
        """The build of that name, or the one that params.yaml chooses."""
        root = root or Path.cwd()
        require_project(root)  # outside one, nothing else that is missing is worth a word
        name = name or chosen_build(root)
        if not re.fullmatch(r"[0-9A-Za-z_-]+", name):
            raise ValueError(f"{name!r} is no build's name: it names configs/<name>.yaml")
        config = load_config(root / "configs" / f"{name}.yaml")
        address = "auto" if inside_job() else ""
        return cls(name, root, config, config.run.actors if actors is None else actors, address)

    @cached_property
    def card(self) -> SourceCard:
        return read_card(self.folder / "source.yaml")

    @property
    def folder(self) -> Path:
        return self.root / "datasets" / self.name

    @property
    def is_tracked(self) -> bool:
        """Whether the stages of dvc.yaml are those of this build: params.yaml chooses one."""
        return (self.root / "dvc.yaml").is_file() and self.name == chosen_build(self.root)

    def stage_folder(self, stage: str) -> Path:
        return self.folder / stage

    def manifest(self, stage: str) -> Manifest:
        """Raises ValueError where the stage is not built."""
        return read_manifest(self.stage_folder(stage))

    def work(self, stage: str, fingerprint: str) -> WorkFolder:
        return WorkFolder(self.root / ".opendet" / self.name / stage / fingerprint)

    def images(self, *, needed: bool = True) -> ImageFiles:
        """Reads the original bytes of the build's images.

        Raises ValueError where they are `needed` and a batch's whole folder is missing: a disk that
        is not mounted must not send every image to the quarantine.
        """
        if needed:
            for batch in self.card.batches:
                if batch.format != "scenes":
                    check_images(self.card, batch, self.root)
        return ImageFiles(self.card, self.folder, self.root)

    @property
    def answer_store(self) -> Path | None:
        """Where models' answers are kept; None where they are not."""
        store = self.config.run.answers
        return self.root / Path(store).expanduser() if store else None

    def answers(self, stage: str) -> AnswerPlace:
        """Where a stage keeps what its model says, and counts how often it asks."""
        return AnswerPlace(self.answer_store, self._asked(stage))

    def _asked(self, stage: str) -> Path:
        """Where the processes of a stage's run count how often they ask a model."""
        return self.root / ".opendet" / self.name / "asked" / stage

    # --- what one stage hands to the next

    def tasks(self, after: str) -> list[Task]:
        """The plan's shards, each with the part of the stage before as its input."""
        return [
            Task(
                part.shard, {f"{after}/{name}": stamp.sha256 for name, stamp in part.files.items()}
            )
            for part in self.manifest(after).parts
        ]

    def records(self, stage: str, parts: Sequence[PartCommit] | None = None) -> Iterator[Record]:
        """All records of a stage, in the plan's order."""
        for part in self.manifest(stage).parts if parts is None else parts:
            name = f"{part.shard.name}.parquet"
            yield from read_whole(self.stage_folder(stage) / name, part.files[name].sha256)

    def founding_parts(self, stage: str, batches: Sequence[str] = ()) -> tuple[PartCommit, ...]:
        """The parts of these batches; of the first batch of the split `train` where none is named.

        What a model or a vocabulary is made from: batches that come later change neither, and so
        redo no old shard.
        """
        parts = self.manifest(stage).parts
        train = [part.shard.batch for part in parts if part.shard.split == "train"]
        chosen = set(batches or train[:1] or [part.shard.batch for part in parts[:1]])
        return tuple(part for part in parts if part.shard.batch in chosen)

    def stamps(self, *stages: str) -> dict[str, str]:
        """`<stage>/<file>` -> sha256 of all files of some stages, for what is made of them.

        With the stage, for the parts of two stages bear the same names.
        """
        return {
            f"{stage}/{name}": sha256
            for stage in stages
            for name, sha256 in stamps_of(self.manifest(stage).parts).items()
        }

    # --- running a stage

    def fingerprint(
        self,
        stage: str,
        *parameters: Section,
        models: Mapping[str, str] | None = None,
    ) -> str:
        """Of the stage's program with all that it imports, its sections, and what models it reads.

        The program is `pipelines.<stage>`.
        """
        return stage_fingerprint(stage, parameters, models or {})

    def record_stage(
        self,
        stage: str,
        *,
        after: str,
        parameters: Section,
        load: Callable[[], Worker[Sample, Record]],
        tally: Callable[[Sequence[Record]], Mapping[str, int]],
        prepare: Callable[[Sample], Sample] | None = None,
        models: Mapping[str, str] | None = None,
        on_gpu: bool = True,
    ) -> Stage[Sample, Record]:
        """A stage that reads the records of `after` and writes fuller ones.

        Its workers book `run.gpus` where they are shown pixels, unless their model runs elsewhere.
        """
        return Stage(
            name=stage,
            fingerprint=self.fingerprint(stage, parameters, models=models),
            read=partial(read_samples, self.stage_folder(after)),
            load=load,
            write=write_record_part,
            prepare=prepare,
            reread=read_record_part,
            tally=tally,
            batch_size=self.config.run.batch_size,
            gpus=self.config.run.gpus if prepare and on_gpu else 0.0,
        )

    def run(
        self,
        stage: Stage[In, Out],
        tasks: Sequence[Task],
        *,
        add: Callable[[Path, Manifest], None] | None = None,
        metrics: Callable[[Manifest], Mapping[str, Any]] | None = None,
    ) -> Manifest:
        """Make what is missing of the stage, publish it, and write its numbers."""
        begin = time.monotonic()
        ran = self.make(stage, tasks, self.work(stage.name, stage.fingerprint))
        return self.publish(stage, ran, begin=begin, add=add, metrics=metrics)

    def make(self, stage: Stage[In, Out], tasks: Sequence[Task], work: WorkFolder) -> Ran:
        """Make what is missing of the stage, or try its quarantined samples again."""
        shutil.rmtree(self._asked(stage.name), ignore_errors=True)  # of the run before
        sweep_unfinished(self.folder / "metrics")
        if self.retrying:
            return retry(stage, tasks, work)
        with self.ray_for(tasks, work, keep_actors=True):
            return run(stage, tasks, work, actors=self.actors)

    def publish(
        self,
        stage: Stage[In, Out],
        ran: Ran,
        *,
        begin: float,
        add: Callable[[Path, Manifest], None] | None = None,
        metrics: Callable[[Manifest], Mapping[str, Any]] | None = None,
    ) -> Manifest:
        """Put a run's parts where DVC and the next stage look for them, with its numbers."""
        work = self.work(stage.name, stage.fingerprint)
        work.publish(self.stage_folder(stage.name), ran.manifest, add)
        numbers = {
            **counts_of(ran.manifest),
            **(metrics(ran.manifest) if metrics else {}),
            **_asked(work, counted(self._asked(stage.name)), made=ran.parts_made),
            "shards_made": ran.parts_made,
            "seconds": _seconds(work, begin, made=ran.parts_made),
        }
        self.write_metrics(stage.name, numbers)
        if problem := kept_nothing(ran.manifest):
            raise ValueError(problem)
        return ran.manifest

    def run_whole(
        self,
        stage: str,
        fingerprint: str,
        *,
        inputs: Mapping[str, str],
        make: Callable[[Path], Mapping[str, Any]],
        cpus: int = 0,
    ) -> None:
        """Run a stage that makes one thing of all shards: `make` fills a folder, returns metrics.

        `inputs` says what it is made from; with the same ones it is not made again. `cpus` is what
        it books on Ray; 0 keeps it in this process.
        """
        begin = time.monotonic()
        sweep_unfinished(self.folder / "metrics")
        work = self.work(stage, fingerprint)
        booked = cpus if self.actors else 0
        task = Task(WHOLE, dict(inputs))
        with self.ray_for([task], work, cpus) if booked else nullcontext():
            ran = run_whole(stage, fingerprint, make, dict(inputs), work, cpus=booked)
        work.publish(self.stage_folder(stage), ran.manifest)
        numbers = json.loads((self.stage_folder(stage) / WHOLE_METRICS).read_text("utf-8"))
        seconds = _seconds(work, begin, made=ran.parts_made)
        self.write_metrics(stage, {**numbers, "seconds": seconds})
        self._say_where(stage, made=ran.parts_made > 0)

    def _say_where(self, stage: str, *, made: bool) -> None:
        place = self.stage_folder(stage).relative_to(self.root)
        log.info("%s: %s %s", stage, place, "is made" if made else "is up to date")

    @contextmanager
    def ray_for(
        self,
        tasks: Sequence[Task],
        work: WorkFolder,
        cpus: int = 1,
        *,
        keep_actors: bool = False,
    ) -> Iterator[None]:
        """A Ray for the block, where this build runs on Ray and something is left to do."""
        if self.actors == 0 or all(work.committed(task) for task in tasks):
            yield
        else:
            with ray_session(max(self.actors, cpus), self.address, keep_actors=keep_actors):
                yield

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the build alone. Raises BusyError, with the owner's pid, if somebody else does."""
        path = self.root / ".opendet" / self.name / "lock"
        with exclusive_lock(path, what=f"the build {self.name}"):
            yield

    def write_metrics(self, stage: str, numbers: Mapping[str, Any]) -> None:
        """Under the stage's name, so that `dvc metrics` prints `filter.precision`."""
        write_json_durably(self.folder / "metrics" / f"{stage}.json", {stage: dict(numbers)})


def require_project(root: Path) -> None:
    """Raises ValueError, in one line, for a folder that is no project's."""
    if not (root / "params.yaml").is_file():
        raise ValueError(f"no project here: {root} has no params.yaml; run this in a checkout")


def chosen_build(root: Path) -> str:
    """The build that params.yaml chooses: the one setting that picks a configuration."""
    require_project(root)
    path = root / "params.yaml"
    chosen = read_yaml(path)
    name = chosen.get("build") if isinstance(chosen, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"{path} must name a build, such as `build: demo`")
    return name


def _seconds(work: WorkFolder, begin: float, *, made: int) -> float:
    """How long the stage took when it last made something: a run that made nothing says nothing."""
    kept = work.root / "seconds.json"
    if made or not kept.is_file():
        write_json_durably(kept, round(time.monotonic() - begin, 3))
    return float(json.loads(kept.read_text("utf-8")))


def _asked(work: WorkFolder, counts: Mapping[str, int], *, made: int) -> dict[str, int]:
    """How often the stage's model was asked when it last made something."""
    kept = work.root / "asked.json"
    if made or not kept.is_file():
        write_json_durably(kept, dict(counts))
    return dict(json.loads(kept.read_text("utf-8")))


def stamps_of(parts: Sequence[PartCommit]) -> dict[str, str]:
    """File -> sha256 of all files of some parts of one stage."""
    return {name: stamp.sha256 for part in parts for name, stamp in part.files.items()}


def digest_of(texts: Sequence[str]) -> str:
    """One hash of several texts in their order, such as a vocabulary."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def kept_nothing(manifest: Manifest) -> str:
    """What to say of a stage that dropped every image; empty for any other one."""
    counts = counts_of(manifest)
    if counts["images_out"] or not counts["images_in"] or counts["quarantined"]:
        return ""
    why = ", ".join(f"{reason} {number}" for reason, number in counts["dropped"].items())
    mend = KEEPING.get(manifest.stage, "`opendet data why` tells of each image")
    return f"{manifest.stage} kept none of {counts['images_in']} images ({why}): {mend}"


def counts_of(manifest: Manifest) -> dict[str, Any]:
    """What came in, what came out, and why the rest did not."""
    reasons: dict[str, int] = {}
    for part in manifest.parts:
        for entry in part.dropped:
            reasons[entry.reason] = reasons.get(entry.reason, 0) + 1
    return {
        "images_in": sum(part.samples_in for part in manifest.parts),
        "images_out": sum(part.samples_out for part in manifest.parts),
        "dropped": dict(sorted(reasons.items())),
        "quarantined": sum(len(part.quarantined) for part in manifest.parts),
        "shards": len(manifest.parts),
        **dict(sorted(manifest.tally().items())),
    }
