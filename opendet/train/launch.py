"""Who trains: this process, those that torchrun started with it, or workers of Ray Train.

Rank 0 alone goes through the build (its lock, its manifest) and may find that there is nothing to
do; the others wait for its word.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opendet.build import Build
from opendet.console import exit_code_of, interrupt_on_sigterm
from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks, joined
from opendet.train.recipe import Recipe
from opendet.train.run import train
from opendet.train.semantic_sources import SemanticSources
from opendet.train.text_config import TextConfig
from opendet.train.text_tower import tower_of


@dataclass(frozen=True, slots=True)
class Job:
    """All that a process must know to train; all paths are seen by every rank."""

    recipe: Recipe
    shards: Path
    """The folder of the stage `shards`."""
    clip: Path
    """The folder of the stage `clip`."""
    text: TextConfig
    """Which tower teaches the names."""
    text_cache: Path
    """What towers have said already."""
    work_folder: Path
    start_content: str
    """`content_of` what the run begins with: a large folder, read once."""
    semantics: SemanticSources | None = None
    """What a prototype head learns from."""

    def run(self, ranks: Ranks) -> Path:
        """Train as one of the ranks; the model's folder."""
        tower, template = tower_of(self.clip, self.text, cache=self.text_cache)
        return train(
            self.recipe,
            self.shards,
            self.work_folder,
            clip=tower,
            template=template,
            ranks=ranks,
            start_content=self.start_content,
            semantics=self.semantics,
        )


@contextmanager
def crew(job: Job, address: str = "") -> Iterator[Callable[[], Path]]:
    """For rank 0: a function that trains on all ranks. In the block they wait for it.

    `address` is that of a Ray cluster; empty for a private Ray.
    """
    with joined(job.recipe.train.device) as ranks:
        require_as_told(job.recipe.train, ranks)

        def train_all() -> Path:
            if job.recipe.train.workers > 1 and ranks.world == 1:
                from opendet.train.ray_train import train_on_ray

                return train_on_ray(job, address)
            ranks.led(True)
            return job.run(ranks)

        yield train_all
        ranks.led(False)


def follower_main(job_of: Callable[[Build], Job], description: str | None) -> None:
    """The program of every other rank: train whenever rank 0 does, until it has no more to do.

    Takes the command line of `stage_main`. What it says is what only it can know, such as an image
    of its own share that does not open.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default="")
    arguments, _ = parser.parse_known_args()
    interrupt_on_sigterm()

    def work() -> int:
        job = job_of(Build.open(arguments.build))
        with joined(job.recipe.train.device) as ranks:
            require_as_told(job.recipe.train, ranks)
            while ranks.led(False):
                job.run(ranks)
        return 0

    sys.exit(exit_code_of(work))


def require_as_told(config: TrainConfig, ranks: Ranks) -> None:
    """Raises ValueError where torchrun has started others than the workers that are asked for."""
    if ranks.world == 1:
        return
    if config.workers not in (1, ranks.world):
        raise ValueError(
            f"train.workers asks for {config.workers} processes and torchrun has started "
            f"{ranks.world}: start as many, or leave train.workers out"
        )
    if config.gpus_per_worker and ranks.device.type == "cpu":
        raise ValueError(
            f"train.gpus_per_worker asks for GPUs and rank {ranks.rank} trains on the CPU: leave "
            "it out, or see train.device"
        )
