"""How long prototypes take to name a crowd, against the T5, alone and before it; and what both take
in memory.

Pool and T5 have the papers' sizes and random weights; no name of such a T5 ends early. That the
prompts a T5 reads must be distilled first is left out: it would slow the T5 alone.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.bench.harness import Place, Row, at_least, code_of
from opendet.bench.naming import FLAN_T5_BASE, random_namer
from opendet.bench.timing import compare
from opendet.model.cascade_namer import CascadeNamer
from opendet.model.config import PrototypeHeadConfig
from opendet.model.naming import Namer, Objects
from opendet.model.prototype_head import PrototypeHead
from opendet.model.prototype_namer import PrototypeNamer
from opendet.model.prototype_set import Level, PrototypeSet

POOL = {"coarse": 1203, "fine": 4800, "width": 768, "names": 1203}
"""DeCo-DETR's prototypes; each coarse one's name is some fine ones' too."""
QUERY = 256
"""Width of a query."""
CROWD = 100
ROUNDS = 3
SPEED_UP = 5.0
MEGABYTE = 1e6


def measure(place: Place) -> Iterator[Row]:
    """Prototypes, the cascade with half of the crowd unsure, and the T5 at one beam."""
    code = code_of("opendet.bench.prototype_naming")
    settings = {"crowd": CROWD, "pool": POOL, "rounds": ROUNDS}
    work = partial(times, FLAN_T5_BASE, POOL, device=place.device)
    told: dict[str, float] | None = place.unit(
        settings, code, work, what=f"naming {CROWD} objects by prototypes"
    )
    if told is not None:
        yield from _rows(told)


def _rows(told: Mapping[str, float]) -> Iterator[Row]:
    threads = f"{told['threads']:.0f} threads"
    seconds = f"{told['prototypes'] * 1e3:.1f} ms against {told['t5'] * 1e3:.0f} ms, {threads}"
    yield at_least(f"{CROWD} objects: prototypes over T5", told["speed_up"], SPEED_UP, seconds)
    half = f"{told['cascade'] * 1e3:.0f} ms, {told['left_over']:.0%} of the objects to the T5"
    yield Row(f"{CROWD} objects: cascade over T5", told["cascade_speed_up"], detail=half)
    yield Row("prototype head and pool, MB", told["head_mb"])
    yield Row("T5, MB", told["t5_mb"], detail="left on the disk by prototypes and vocabularies")


def times(
    sizes: Mapping[str, int],
    pool: Mapping[str, int],
    *,
    device: str,
    crowd: int = CROWD,
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """Seconds, medians over the rounds; ratios are the medians of each round's."""
    t5 = random_namer(dict(sizes)).to(device)
    head = random_head(pool).to(device)
    objects = _Known(crowd, sizes["d_model"], device).objects()
    prototypes = PrototypeNamer(head)
    cascade = CascadeNamer(prototypes, t5, unsure_below=_median_certainty(prototypes, objects))
    settle = torch.cuda.synchronize if device == "cuda" else lambda: None
    against = partial(compare, rounds=rounds, settle=settle)
    fast = against(_by(prototypes, objects), _by(t5, objects))
    mixed = against(_by(cascade, objects), _by(t5, objects))
    return {
        "prototypes": fast.ours,
        "t5": fast.theirs,
        "speed_up": 1 / fast.ratio,
        "cascade": mixed.ours,
        "cascade_speed_up": 1 / mixed.ratio,
        "left_over": _left_over(cascade, prototypes, objects),
        "head_mb": _megabytes(head),
        "t5_mb": _megabytes(t5),
        "threads": float(torch.get_num_threads()),
    }


class _Known:
    """Stands for a detector: objects whose queries and prompts are there."""

    def __init__(self, crowd: int, prompt_width: int, device: str) -> None:
        generator = torch.Generator().manual_seed(1)
        self.queries = torch.randn(1, crowd, QUERY, generator=generator).to(device)
        self.prompts = torch.randn(crowd, prompt_width, generator=generator).to(device)

    def objects(self) -> Objects:
        output: Any = SimpleNamespace(queries=self.queries)
        places = torch.arange(len(self.prompts), device=self.prompts.device)
        nobody: Any = None  # the prompts are there: no detector is asked
        return Objects(nobody, output, torch.zeros_like(places), places, self.prompts)


def random_head(pool: Mapping[str, int]) -> PrototypeHead:
    """A prototype head with random weights."""
    rows = pool["coarse"] + pool["fine"]
    generator = torch.Generator().manual_seed(0)
    vectors = functional.normalize(torch.randn(rows, pool["width"], generator=generator), dim=1)
    names = tuple(f"name {row % pool['names']}" for row in range(rows))
    coarse: Level = "coarse"
    fine: Level = "fine"
    levels = (coarse,) * pool["coarse"] + (fine,) * pool["fine"]
    known = PrototypeSet(names, levels, vectors)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PrototypeHead(PrototypeHeadConfig(), QUERY, known).eval()


def _by(namer: Namer, objects: Objects) -> Callable[[], object]:
    return partial(namer.name_objects, objects, count=1)


def _median_certainty(namer: Namer, objects: Objects) -> float:
    """Half of the objects are named more surely."""
    said = namer.name_objects(objects, count=1)
    return float(
        torch.tensor([names[0].probability for names in said], dtype=torch.float64).median()
    )


def _left_over(cascade: Namer, first: Namer, objects: Objects) -> float:
    """Share of the objects that the cascade's second namer names."""
    told = zip(
        cascade.name_objects(objects, count=1), first.name_objects(objects, count=1), strict=True
    )
    return sum(ours != theirs for ours, theirs in told) / len(objects)


def _megabytes(module: nn.Module) -> float:
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    return sum(tensor.nbytes for tensor in tensors) / MEGABYTE
