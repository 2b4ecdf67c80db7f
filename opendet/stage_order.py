"""The stages in their order, and of what kind each is: the one place that knows."""

import difflib
from collections.abc import Sequence

DATA_STAGES = (
    "source",
    "caption",
    "regions",
    "describe",
    "clip",
    "embed",
    "verify",
    "filter",
    "prototypes",
    "shards",
)
"""From images to shards."""
STAGES = (*DATA_STAGES, "train", "evaluate", "report")
RECORD_STAGES = ("source", "caption", "regions", "describe", "embed", "verify", "filter")
"""Their parts are records, fuller from one stage to the next."""
SAMPLE_STAGES = (*RECORD_STAGES, "shards")
"""They take samples one by one, each from the stage before it here, and may drop or quarantine
some. Every other stage makes one thing of all shards."""


def choose_stages(named: Sequence[str], until: str = "") -> tuple[str, ...]:
    """The named stages in their order; all up to `until`; all data stages if neither is given.

    Raises ValueError, in one line, for a name that is no stage, and where both are given.
    """
    if named and until:
        raise ValueError("name the stages or the last one with --until, not both")
    if until:
        return STAGES[: STAGES.index(known_stage(until)) + 1]
    wanted = {known_stage(name) for name in named} or set(DATA_STAGES)
    return tuple(stage for stage in STAGES if stage in wanted)


def known_stage(name: str) -> str:
    """The name itself. Raises ValueError, with the nearest one, if it is no stage's."""
    if name in STAGES:
        return name
    near = difflib.get_close_matches(name, STAGES, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"no stage is called {name!r}{hint}; there are {', '.join(STAGES)}")
