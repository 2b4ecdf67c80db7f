"""The formats that a build can be exported to."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from opendet.exports.coco import write_coco
from opendet.exports.generateu import write_generateu
from opendet.exports.grit import write_grit
from opendet.exports.groundingcap import CapRules
from opendet.exports.lvis import write_lvis
from opendet.exports.odvg import ALL, write_odvg
from opendet.exports.voc import write_voc
from opendet.exports.yolo import write_yolo
from opendet.record import Record

Writer = Callable[[Iterable[Record], Path], Counter[str]]
"""Writes records, which it may read again and again, into a folder; counts what the format has no
place for. Regions that the stage `filter` refused are left out."""

WRITERS: Mapping[str, Writer] = {
    "coco": write_coco,
    "lvis": write_lvis,
    "voc": write_voc,
    "yolo": write_yolo,
    "generateu": write_generateu,
    "groundingcap": partial(write_odvg, dialect="groundingcap"),
    "odvg-mmdet": partial(write_odvg, dialect="odvg-mmdet"),
    "odvg-opengdino": partial(write_odvg, dialect="odvg-opengdino"),
    "grit": write_grit,
}


def writer_of(name: str, rules: CapRules = ALL) -> Writer:
    """Raises ValueError for a format that is none of these, or that knows no such rules."""
    if name not in WRITERS:
        raise ValueError(f"no format is called {name!r}; there are {', '.join(WRITERS)}")
    if rules == ALL:
        return WRITERS[name]
    if name != "groundingcap":
        raise ValueError(
            f"--min-boxes and --max-iou are rules of groundingcap: leave them out for {name}"
        )
    return partial(write_odvg, dialect="groundingcap", rules=rules)
