"""Whatever a record believes, a format says it or the account counts it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opendet.exports.formats import WRITERS
from opendet.record import Phrase, Provenance, Record, Region, Turn
from tests.exports.export_world import SOURCE, judged, mask_of, record

Change = Callable[[Record], Record]
MODEL = Provenance("model", score=0.5)
INSIDE = np.zeros((10, 20), bool)
INSIDE[2:6, 2:6] = True
HOUND = Region((1.5, 2.0, 11.25, 8.0), SOURCE, names=("hound",))
CAT = Region((12.0, 2.0, 18.0, 8.0), SOURCE, names=("cat",))
PLAIN = record(regions=[HOUND, CAT], licence="")
SENTENCE = replace(
    PLAIN,
    caption="a hound and a cat",
    phrases=(Phrase(0, 7, (0,), SOURCE), Phrase(12, 17, (1,), SOURCE)),
)


def of_record(**changes: Any) -> Change:
    return lambda one: replace(one, **changes)


def of_region(**changes: Any) -> Change:
    return lambda one: replace(one, regions=(replace(one.regions[0], **changes), *one.regions[1:]))


BELIEFS: dict[str, Change] = {
    "label": of_region(label="dog"),
    "synonym": of_region(names=("hound", "hunter")),
    "other label": of_region(other_labels=("cur",)),
    "crowd": of_region(crowd=True),
    "mask": of_region(mask=mask_of(INSIDE)),
    "score": of_region(box_from=MODEL),
    "description": of_region(description="A hound runs."),
    "agreement": of_region(agreement=0.3),
    "rival": of_region(rival="wolf", rival_agreement=0.2),
    "seconded": of_region(seconded=0.9),
    "name_checked": of_region(name_checked=MODEL),
    "box_checked": of_region(box_checked=MODEL),
    "refusal": of_region(refusal="border"),
    "source caption": of_record(source_captions=("Pets.",)),
    "tags": of_record(tags=("pet",)),
    "conversation": of_record(conversation=(Turn("human", "<image>"), Turn("gpt", "Pets."))),
    "absent": of_record(absent=judged("cow")),
    "partial": of_record(partial=judged("cow")),
    "licence": of_record(licence="MIT"),
    "near duplicate": of_record(near_duplicate_of="b-b"),
}


def written(one: Record, name: str, folder: Path) -> tuple[dict[str, bytes], Counter[str]]:
    left_out = WRITERS[name]([one], folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}, left_out


@pytest.mark.parametrize("base", [PLAIN, SENTENCE], ids=["names", "sentence"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_belief_is_said_or_counted(tmp_path: Path, name: str, base: Record) -> None:
    files, left_out = written(base, name, tmp_path / "base")
    for belief, change in BELIEFS.items():
        more, lost = written(change(base), name, tmp_path / belief)
        assert more != files or lost.total() > left_out.total(), belief


@pytest.mark.parametrize("name", WRITERS)
def test_a_caption_and_its_phrases_are_said_or_counted(tmp_path: Path, name: str) -> None:
    steps = [PLAIN, replace(SENTENCE, phrases=()), SENTENCE]
    told = [written(one, name, tmp_path / str(number)) for number, one in enumerate(steps)]
    for (files, left_out), (more, lost) in pairwise(told):
        assert more != files or lost.total() > left_out.total()


def test_all_fields_of_a_region_and_a_record_are_looked_at() -> None:
    """A new belief must find its place here."""
    seen = {"box_xyxy", "box_from", "label", "other_labels", "crowd", "mask", "names"}
    seen |= {"names_from", "description", "description_from", "agreement", "rival"}
    seen |= {"rival_agreement", "agreement_from", "seconded", "name_checked", "box_checked"}
    assert set(Region.__slots__) == seen | {"refusal"}
    facts = {"key", "source", "batch", "split", "file", "format", "bytes", "sha256", "phash"}
    facts |= {"width", "height"}
    seen = {"licence", "near_duplicate_of", "source_captions", "caption", "caption_from"}
    seen |= {"phrases", "regions", "tags", "tags_from", "conversation", "absent", "partial"}
    assert set(Record.__slots__) == facts | seen


@pytest.mark.parametrize("name", ["coco", "lvis"])
def test_a_model_is_as_sure_in_the_file_as_in_the_record(tmp_path: Path, name: str) -> None:
    files, left_out = written(BELIEFS["score"](PLAIN), name, tmp_path)
    assert left_out == {}
    assert b'"score": 0.5' in b"".join(files.values())
