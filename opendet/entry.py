"""Runs stages of a build; the command line of `python -m pipelines.<stage> [--build NAME]`."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace

from opendet.build import Build
from opendet.cluster import ADDRESS_VARIABLE, inside_job, submit_stage
from opendet.console import dress_logging, exit_code_of, interrupt_on_sigterm
from opendet.ray_session import one_ray
from opendet.telemetry import switch_off_telemetry

StageProgram = Callable[[Build], None]
"""The `main` of a module of pipelines/."""


def stage_main(main: StageProgram, description: str | None) -> None:
    """Run one stage of a build, under the build's lock.

    What the user must mend is said in one line, with exit code 1. Ctrl-C and SIGTERM stop the job
    and leave with 130: what is committed stays, and the next run goes on from there.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default="", help="a name of configs/; default: params.yaml's")
    parser.add_argument("--actors", type=int, help="Ray actors; 0 runs without Ray")
    parser.add_argument(
        "--address",
        default="",
        help=f"of a Ray cluster's job server, http://...; default: ${ADDRESS_VARIABLE}",
    )
    arguments = parser.parse_args()
    sys.exit(run_stages([main], arguments.build, arguments.actors, arguments.address))


def run_stages(
    stages: Iterable[StageProgram],
    build: str,
    actors: int | None,
    address: str = "",
    *,
    retrying: bool = False,
) -> int:
    """Run stages of a build one after another; returns the exit code.

    The build is locked once for all of them. With `retrying`, their quarantined samples are tried
    again, and nothing else is done.
    """
    switch_off_telemetry()
    dress_logging()
    interrupt_on_sigterm()
    address = address or os.environ.get(ADDRESS_VARIABLE, "")
    here = not address or inside_job() or retrying

    def work() -> int:
        opened = replace(Build.open(build, actors=actors), retrying=retrying)
        # On a cluster it is the jobs that take the lock, one after another.
        with opened.lock() if here else nullcontext(), one_ray():
            for stage in stages:
                if here:
                    stage(opened)
                else:
                    submit_stage(module_of(stage), opened, address)
        return 0

    return exit_code_of(work)


def module_of(stage: StageProgram) -> str:
    """The dotted name of a stage's module, also where it is this process's main program."""
    spec = getattr(sys.modules[stage.__module__], "__spec__", None)
    return stage.__module__ if spec is None else str(spec.name)
