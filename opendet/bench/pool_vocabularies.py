"""A pool of real text vectors: what one name has in several vocabularies falls into one cluster.

CLIP ViT-B/32's vectors of `a <name>` for LVIS, Objects365 and OpenImages, 2,068 texts with 1,595
different names, and two photographs of kittens in the same space. They lie in a folder of data
beside the checkout, which $OPENDET_SHARED_DATA names; without it there is nothing to measure.
"""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from opendet.bench.harness import Place, Row, at_least, at_most, code_of
from opendet.curate.prototypes import PrototypesConfig
from opendet.pools.card import card_json, card_of
from opendet.pools.levels import read_sound_pool
from opendet.pools.make import make_pool
from opendet.pools.nearest import name_ranks
from opendet.pools.vectors import read_vector_file, unit_rows

FILES = {
    "lvis_v1_clip_a+cname.npy": "lvis_v1_train_cat_info.json",
    "o365_clip_a+cnamefix.npy": "objects365_v2_categories.json",
    "oid_clip_a+cname.npy": "openimages500_categories.json",
}
LVIS = FILES["lvis_v1_clip_a+cname.npy"]
COARSE = 1203
"""As in the paper."""
EPS = (0.01, 0.03, 0.1)
"""Cosine distances; the first and last show what the middle one, which is judged, avoids."""
CHOSEN = 0.03
KITTENS = {"123_456": "cat|kitten", "456_123": "cat|kitten"}
"""Photographs whose thing is known without doubt, and the names that are right."""
PURE = COVERED = 0.95


def measure(place: Place) -> Iterator[Row]:
    """Purity, completeness and coverage by level, and whether photographs find their names."""
    data = Path(os.environ.get("OPENDET_SHARED_DATA", "../shared/data"))
    missing = [path.name for path in needed(data) if not path.is_file()]
    if missing:
        told = f"{missing[0]} is not there: set OPENDET_SHARED_DATA to the folder of real data"
        yield Row("real text vectors", "skipped", detail=told)
        return
    code = code_of(__name__)
    for eps in EPS:
        work = partial(of_pool, data, place.folder / "pool", eps)
        told = place.unit({"coarse": COARSE, "eps": eps}, code, work, what=f"pool, eps {eps}")
        if told is not None:
            yield from chosen_rows(told) if eps == CHOSEN else other_rows(told, eps)


def needed(data: Path) -> list[Path]:
    names = data / "vocabularies"
    texts = [names / "clip_vitb32_text" / vectors for vectors in FILES]
    return [*texts, *(names / one for one in FILES.values()), photographs(data)]


def photographs(data: Path) -> Path:
    return data / "clip_vitb32_images" / "image_embeddings_vitb32.npz"


def of_pool(data: Path, folder: Path, eps: float) -> dict[str, Any]:
    """The card of the pool of all texts, and the ranks of the kittens' names."""
    shutil.rmtree(folder, ignore_errors=True)
    names = data / "vocabularies"
    config = PrototypesConfig(coarse=COARSE, eps=eps, min_samples=1)
    vectors = [names / "clip_vitb32_text" / one for one in FILES]
    make_pool(vectors, [names / one for one in FILES.values()], folder, config)
    card = card_json(card_of(folder, vocabulary=names / LVIS))
    return {**card, "ranks": kitten_ranks(folder, photographs(data))}


def kitten_ranks(pool: Path, photos: Path) -> list[int]:
    """Of each kitten, the rank of the better of its names among the names of the pool."""
    found = read_vector_file(photos)
    known = {name: row for row, name in enumerate(found.names or ())}
    rows = unit_rows(np.asarray(found.rows)[[known[one] for one in KITTENS]], where=str(photos))
    ranks = name_ranks(rows, list(KITTENS.values()), read_sound_pool(pool), "fine")
    return [int(rank) for rank in ranks]


def chosen_rows(card: dict[str, Any]) -> Iterator[Row]:
    coarse, fine = card["measures"]["coarse"], card["measures"]["fine"]
    at = f"eps {CHOSEN}, {fine['prototypes']} fine"
    several = "of the names with several texts, those with all in one cluster"
    yield at_least(f"{COARSE} coarse: names gathered", coarse["purity"]["names_gathered"], PURE,
                   several)  # fmt: skip
    yield Row(f"{COARSE} coarse: purity", coarse["purity"]["members"], detail=_entropy(coarse))
    yield at_least("fine: purity", fine["purity"]["members"], PURE, f"{at}; {_entropy(fine)}")
    yield at_least("fine: names gathered", fine["purity"]["names_gathered"], 0.9, several)
    stability = card["measures"]["stability"]
    yield at_least("coarse, over 3 seeds: adjusted Rand index", stability["mean"], 0.5,
                   f"lowest pair {stability['lowest']:.3f}")  # fmt: skip
    for one in card["coverage"]:
        detail = f"of {one['entries']}; by a coarse one {one['coarse']}"
        share = one["fine"] / one["entries"]
        yield at_least(f"LVIS, {one['tier']} names with a fine one", share, COVERED, detail)
    names = fine["purity"]["names_kept"]
    yield at_most(f"kittens: worse rank of `cat` or `kitten` among {names} names",
                  max(card["ranks"]), 2)  # fmt: skip


def other_rows(card: dict[str, Any], eps: float) -> Iterator[Row]:
    fine = card["measures"]["fine"]
    whole = card["coverage"][0]
    detail = (
        f"{fine['prototypes']} fine; names gathered {fine['purity']['names_gathered']:.3f}, "
        f"LVIS names with a fine one {whole['fine'] / whole['entries']:.3f}"
    )
    yield Row(f"eps {eps}, fine: purity", fine["purity"]["members"], detail=detail)


def _entropy(level: dict[str, Any]) -> str:
    own = level["purity"]
    return (
        f"homogeneity {own['homogeneity']:.3f}, completeness {own['completeness']:.3f}, V-measure "
        f"{own['v_measure']:.3f}"
    )
