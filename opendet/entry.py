"""The command line of a pipeline program: `python -m pipelines.<stage> [--build NAME]`."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from rich.console import Console
from rich.logging import RichHandler

from opendet.build import Build
from opendet.cluster import ADDRESS_VARIABLE, submit_stage

INTERRUPTED = 130


def stage_main(main: Callable[[Build], None], description: str | None) -> None:
    """Run one stage of a build, under the build's lock.

    What the user must mend is said in one line, with exit code 1. Ctrl-C and SIGTERM stop the job
    and leave with 130: what is committed stays, and the next run goes on from there.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default="", help="a name of configs/; default: params.yaml's")
    parser.add_argument("--actors", type=int, help="Ray actors; 0 runs without Ray")
    parser.add_argument(
        "--address",
        default=os.environ.get(ADDRESS_VARIABLE, ""),
        help=f"of a Ray cluster's job server, http://...; default: ${ADDRESS_VARIABLE}",
    )
    arguments = parser.parse_args()
    sys.exit(run_stages([main], arguments.build, arguments.actors, arguments.address))


def run_stages(
    stages: list[Callable[[Build], None]], build: str, actors: int | None, address: str = ""
) -> int:
    """Run stages of a build one after another; returns the exit code."""
    dress_logging()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        opened = Build.open(build, actors=actors)
        for stage in stages:
            if address:
                submit_stage(stage.__module__, opened, address)
            else:
                with opened.lock():
                    stage(opened)
    except KeyboardInterrupt:
        logging.error("stopped; what is committed stays, run again to go on")
        return INTERRUPTED
    except (ValueError, OSError) as error:
        logging.error("%s", " ".join(str(error).split()))
        return 1
    return 0


def dress_logging() -> None:
    """Log lines by rich on a terminal, plain elsewhere; nothing from libraries below warnings."""
    handler: logging.Handler
    if sys.stderr.isatty():
        console = Console(stderr=True)
        handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
    else:
        handler = logging.StreamHandler()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("opendet").setLevel(logging.INFO)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
