"""RefCOCO, RefCOCO+ and RefCOCOg as their authors give them: `refs(<who split>).p`, a pickle of the
expressions, and `instances.json`, COCO's boxes of the same images.

Only images with an expression of the chosen split are listed. Each brings all its boxes along: a
detector that is shown half of an image's objects learns that the others are background.

A box that expressions speak of has the first one as its description. All of them follow each other
in the entry's caption, each a phrase grounded in its box; none becomes a label, for "left man" is
no name of an object.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from opendet.sources.coco import (
    Category,
    Id,
    Image,
    Instance,
    Instances,
    MaskedInstance,
    boxes_of,
    entries_of,
)
from opendet.sources.expressions import expression_of, joined
from opendet.sources.listing import MEND, Entry, clean_text, in_order
from opendet.sources.plain_pickle import read_plain_pickle
from opendet.typed_json import read_json


@dataclass(frozen=True, slots=True)
class _Said:
    sent: str
    """Lower case, without most punctuation; `raw` beside it is as it was typed."""


@dataclass(frozen=True, slots=True)
class _Ref:
    ann_id: Id
    split: str
    sentences: tuple[_Said, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbered(Instance):
    id: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class _NumberedMasked(MaskedInstance):
    id: Id


_File = Instances[Image, _Numbered | _NumberedMasked, Category]
_Sayings = Mapping[Id, Sequence[str]]
"""Annotation -> what is said of it, in the refs' order."""


def list_refcoco(
    root: Path,
    *,
    batch: str,
    images: str,
    annotations: str,
    refs: str,
    ref_split: str = "",
    masks: bool = False,
) -> list[Entry]:
    """The images with expressions of the split, such as `train` or `testA`; empty for all splits.
    With the objects' masks where they are asked for.

    Raises ValueError, in one line, for a file that is broken, a pickle of anything but plain data,
    a split that the refs do not have, and refs and instances that do not belong together.
    """
    path = root / annotations
    kind: type[_File] = Instances[Image, _Numbered, Category]
    if masks:
        kind = Instances[Image, _NumberedMasked, Category]
    data = read_json(kind, path, mend=MEND)
    sayings = _read_sayings(root / refs, ref_split)
    _check_belong(sayings, data, f"{root / refs} and {annotations}")
    numbers = _numbers_by_image(data)
    listed = entries_of(data, boxes_of(data, path), path, root / images, batch=batch, images=images)
    return in_order(
        _spoken_of(entry, numbers[image.id], sayings)
        for image, entry in listed
        if any(number in sayings for number in numbers[image.id])
    )


def _read_sayings(path: Path, split: str) -> _Sayings:
    refs = _typed_refs(read_plain_pickle(path, mend=MEND), path)
    splits = sorted({ref.split for ref in refs})
    if split and split not in splits:
        raise ValueError(f"{path} has no split {split!r}: it has {', '.join(splits) or 'none'}")
    sayings: defaultdict[Id, list[str]] = defaultdict(list)
    for ref in refs:
        if split in ("", ref.split):
            texts = (clean_text(said.sent) for said in ref.sentences)
            sayings[ref.ann_id] += filter(None, texts)
    return sayings


def _typed_refs(plain: Any, path: Path) -> tuple[_Ref, ...]:
    try:
        return TypeAdapter(tuple[_Ref, ...]).validate_python(plain)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "its root"
        raise ValueError(f"{path}: {where}: {first['msg']}") from error


def _check_belong(sayings: _Sayings, data: _File, files: str) -> None:
    listed = {image.id for image in data.images}
    known = {item.id for item in data.annotations if item.image_id in listed}
    stray = next((number for number in sayings if number not in known), None)
    if stray is not None:
        raise ValueError(
            f"{files} do not belong together: the refs' ann_id {stray} is no annotation of a "
            f"listed image: {MEND}"
        )


def _numbers_by_image(data: _File) -> Mapping[Id, Sequence[Id]]:
    """The numbers of an image's annotations, in the order of its entry's."""
    numbers: defaultdict[Id, list[Id]] = defaultdict(list)
    for item in data.annotations:
        numbers[item.image_id].append(item.id)
    return numbers


def _spoken_of(entry: Entry, numbers: Sequence[Id], sayings: _Sayings) -> Entry:
    said = [sayings.get(number, ()) for number in numbers]
    caption, phrases = joined(
        expression_of(text, [index]) for index, texts in enumerate(said) for text in texts
    )
    described = (
        replace(box, description=texts[0] if texts else "")
        for box, texts in zip(entry.annotations, said, strict=True)
    )
    return replace(entry, annotations=tuple(described), caption=caption, phrases=phrases)
