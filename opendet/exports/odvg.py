"""ODVG in its three dialects, `odvg_<split>.jsonl`: an image a line, with phrases and their boxes.

- `groundingcap`: GroundingCap-1M's, for LLMDet: spans, conversations and tags.
- `odvg-mmdet`: MMDetection's, for MM-Grounding-DINO: spans alone.
- `odvg-opengdino`: Open-GroundingDino's: a box a region, no spans, and for a caption the phrases,
  of which its loader makes one anyhow.

`opendet.exports.grounding` says what the text of a record is. Boxes are written as they are.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from opendet.exports.grounding import (
    Grounding,
    Regions,
    count_captions,
    count_unsaid,
    count_words,
    exported_regions,
    grounding_of,
    says_name,
    with_described,
)
from opendet.exports.groundingcap import CapRules, conversation_of, tags_of, without_doubles
from opendet.exports.objects import count_lost_image, name_of, written_images
from opendet.exports.whole_files import whole_files
from opendet.record import Record, Turn

Dialect = Literal["groundingcap", "odvg-mmdet", "odvg-opengdino"]
MAX_NEGATIVES = 85
"""Absent names a caption, as GroundingCap-1M has them at most."""
ALL = CapRules()
JOINT = " . "
"""Between the phrases of Open-GroundingDino's captions."""


def write_odvg(
    records: Iterable[Record],
    folder: Path,
    *,
    dialect: Dialect,
    negatives: int = MAX_NEGATIVES,
    rules: CapRules = ALL,
) -> Counter[str]:
    """Write the records, a line each, and count what the dialect has no place for.

    `negatives` is how many absent names a list of names may have, `rules` say which images and
    boxes GroundingCap's makers would keep. Open-GroundingDino's loader fails at an image without
    boxes: none is written.
    """
    left_out: Counter[str] = Counter()
    with whole_files(folder) as file_of:
        for record in written_images(records, left_out, several=True):
            of_line: Counter[str] = Counter()
            line = line_of(record, of_line, dialect=dialect, negatives=negatives, rules=rules)
            if problem := _problem_of(line, dialect, rules):
                count_lost_image(record, problem, left_out)
                continue
            left_out += of_line
            text = json.dumps(line, ensure_ascii=False, allow_nan=False)
            file_of(f"odvg_{record.split}.jsonl").write(text.encode() + b"\n")
    return +left_out


def _problem_of(line: Mapping[str, Any], dialect: Dialect, rules: CapRules) -> str:
    """Why a line is better not written."""
    regions = line["grounding"]["regions"]
    if dialect == "odvg-opengdino":
        return "" if regions else "without boxes"
    boxes = {tuple(box_xyxy) for region in regions for box_xyxy in region["bbox"]}
    return f"fewer than {rules.min_boxes} boxes" if len(boxes) < rules.min_boxes else ""


def line_of(
    record: Record,
    left_out: Counter[str],
    *,
    dialect: Dialect,
    negatives: int = MAX_NEGATIVES,
    rules: CapRules = ALL,
) -> dict[str, Any]:
    """What a record's line says, its keys in the order of the dialect; adds to `left_out`."""
    regions = exported_regions(record, left_out)
    left_out["score"] += sum(one.box_from.score is not None for one in regions.values())
    if dialect == "odvg-opengdino":
        grounding = _phrases_alone(record, regions, left_out)
    else:
        found = grounding_of(record, regions, left_out, negatives=negatives)
        fit = fit_to_loader(with_described(found, regions), left_out)
        fit, regions = without_doubles(fit, regions, rules.max_iou, left_out)
        grounding = _with_spans(fit, regions, left_out)
    line: dict[str, Any] = {"filename": record.file, "height": record.height}
    line |= {"width": record.width, "grounding": grounding}
    turns: tuple[Turn, ...] = ()
    if dialect == "groundingcap":
        if turns := conversation_of(record):
            line["conversations"] = [{"from": one.speaker, "value": one.text} for one in turns]
        if tags := tags_of(record, _phrases_of(grounding)):
            line["tags"] = tags
    else:
        left_out["conversation"] += bool(record.conversation)
        left_out["tag"] += len(record.tags)
    count_captions(record, (grounding["caption"], *(turn.text for turn in turns)), left_out)
    return line


def _phrases_of(grounding: Mapping[str, Any]) -> Iterator[str]:
    for region in grounding["regions"]:
        phrase = region["phrase"]
        yield from [phrase] if isinstance(phrase, str) else phrase


def fit_to_loader(grounding: Grounding, left_out: Counter[str]) -> Grounding:
    """The same spans after the loader's `.lower().strip()`.

    White space goes from the caption's start, and spans end where its text ends. A capital that
    becomes two characters in lower case (the Turkish I with a dot) gives up its dot.
    """
    caption = "".join(map(_mended, grounding.caption))
    left_out["mended character"] += sum(
        before != after for before, after in zip(grounding.caption, caption, strict=True)
    )
    text = caption.lstrip()
    gone, end = len(caption) - len(text), len(text.rstrip())
    spoken = []
    for one in grounding.spoken:
        moved = ((max(a - gone, 0), min(b - gone, end)) for a, b in one.spans)
        spans = tuple((a, b) for a, b in moved if a < b)
        left_out["phrase"] += len(one.spans) - len(spans)
        if spans:
            spoken.append(replace(one, spans=spans))
    return Grounding(text, tuple(spoken))


def _mended(character: str) -> str:
    if len(character.lower()) == 1:
        return character
    return unicodedata.normalize("NFD", character)[0]


def _with_spans(grounding: Grounding, regions: Regions, left_out: Counter[str]) -> dict[str, Any]:
    """Caption and regions, a region for each of the phrases, with all of its boxes."""
    count_unsaid(regions, grounding.regions, left_out)
    count_words(regions, grounding.words, left_out)
    items = []
    for one in grounding.spoken:
        phrases = [grounding.caption[start:end] for start, end in one.spans]
        items.append(
            {
                "bbox": [list(regions[number].box_xyxy) for number in one.regions],
                "phrase": phrases[0] if len(phrases) == 1 else phrases,
                "tokens_positive": [list(span) for span in one.spans],
            }
        )
    return {"caption": grounding.caption, "regions": items}


def _phrases_alone(record: Record, regions: Regions, left_out: Counter[str]) -> dict[str, Any]:
    """A region a box, called by its phrase where that says its name, else by its name."""
    phrases: dict[int, str] = {}
    for phrase in record.phrases:
        text = record.caption[phrase.start : phrase.end].strip()
        for number in phrase.regions:
            if number in regions and says_name(text, regions[number]):
                phrases.setdefault(number, text)
    called = {n: phrases.get(n) or name_of(region) for n, region in regions.items()}
    texts = {number: text for number, text in called.items() if text}
    count_unsaid(regions, texts, left_out)
    count_words(regions, {number: [text] for number, text in texts.items()}, left_out)
    left_out["absent"] += len(record.absent)
    items = [{"bbox": list(regions[n].box_xyxy), "phrase": text} for n, text in texts.items()]
    return {"caption": JOINT.join(dict.fromkeys(texts.values())), "regions": items}
