"""Finds the stages' programs in the project's folder, and runs them in this process."""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opendet.build import Build


def run_programs(
    stages: Sequence[str],
    build: str,
    actors: int | None,
    address: str = "",
    *,
    retrying: bool = False,
) -> int:
    """Run the programs of these stages, in the order given; returns the exit code.

    The project is the current folder. Raises ValueError, in one line, where there is none.
    """
    from opendet.build import chosen_build
    from opendet.entry import run_stages

    if not build:
        chosen_build(Path.cwd())  # Outside a project this says so, before anything is imported.
    sys.path.insert(0, str(Path.cwd()))
    # Lazily: the program of `train` alone takes seconds to import.
    return run_stages(map(program_of, stages), build, actors, address, retrying=retrying)


def program_of(stage: str) -> "Callable[[Build], None]":
    """The `main` of pipelines/<stage>.py. Raises ValueError where the project has none."""
    name = f"pipelines.{stage}"
    try:
        program: Callable[[Build], None] = importlib.import_module(name).main
    except ModuleNotFoundError as error:
        if error.name not in ("pipelines", name):
            raise
        raise ValueError(
            f"no project here: {Path.cwd()} has no pipelines/{stage}.py; run this in a checkout"
        ) from error
    return program
