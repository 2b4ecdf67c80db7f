"""Reads one line of ODVG or GroundingCap as far as it goes, and notes each departure from the form.

The strict reader refuses what it cannot use; this one must see it all, in one pass.
"""

import json
import math
import reprlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pydantic_core import from_json

from opendet.inspect.lint_kinds import Finding
from opendet.inspect.lint_view import GroundedImage, Name, NamedBox, Span, SpannedPhrase, cut
from opendet.record import BoxXYXY, Turn
from opendet.sources.listing import entry_of

MAX_SIDE = 1 << 31
"""Pixels; no file of an image has more."""
Fields = dict[str, Any]


def view_of_line(raw: bytes) -> tuple[GroundedImage | None, list[Finding]]:
    """The view of a line, None where there is nothing to look at, and what it departs in."""
    refused: list[Finding] = []
    try:
        fields = from_json(raw)  # as the reader of builds has it
    except ValueError as error:
        refused.append(Finding("line.refused", "", f"{error}."))
        try:
            fields = json.loads(raw.decode())
        except UnicodeDecodeError as error:
            return None, [Finding("line.not_utf8", "", f"{error}.")]
        except RecursionError:
            return None, [Finding("line.not_json", "", "it is nested too deep.")]
        except ValueError as error:
            if not raw.strip():
                return None, [Finding("line.blank", "", "there is nothing on this line.")]
            return None, [Finding("line.not_json", "", f"{error}.")]
    if not isinstance(fields, dict):
        said = f"it is {_shown(fields)}: expected one object for one image."
        return None, [Finding("line.not_object", "", said)]
    view, found = _LineReader().view_of(fields)
    return view, refused + found


class _LineReader:
    """Takes one line's object apart; `found` collects what does not fit."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self._boxes: list[NamedBox] = []
        self._phrases: list[SpannedPhrase] = []
        self._names: list[Name] = []

    def view_of(self, fields: Fields) -> tuple[GroundedImage | None, list[Finding]]:
        grounding, detection = fields.get("grounding"), fields.get("detection")
        file = self._file(fields)
        width, height = self._side(fields, "width"), self._side(fields, "height")
        if not isinstance(grounding, dict) and not isinstance(detection, dict):
            self._note("annotation.missing", "", "it has no object `grounding` or `detection`.")
            return None, self.found
        for name in ("grounding", "detection"):
            if not isinstance(fields.get(name), dict | None):
                self._note("annotation.malformed", name, f"`{name}` is {_told(fields, name)}.")
        caption = None
        if isinstance(grounding, dict):
            caption = self._caption(grounding)
            for number, region in self._objects(grounding, "regions"):
                self._region(f"region {number}", region)
        if isinstance(detection, dict):
            for number, instance in self._objects(detection, "instances"):
                self._instance(f"instance {number}", instance)
        self._tags(fields)
        view = GroundedImage(
            file=file,
            width=width,
            height=height,
            caption=caption,
            boxes=tuple(self._boxes),
            phrases=tuple(self._phrases),
            names=tuple(self._names),
            conversation=self._conversation(fields),
            needs_spans="tags" in fields
            or "conversations" in fields
            or any(phrase.spans is not None for phrase in self._phrases),
        )
        return view, self.found

    def _note(self, kind: str, part: str, says: str) -> None:
        self.found.append(Finding(kind, part, says))

    # --- the image

    def _file(self, fields: Fields) -> str | None:
        name = fields.get("filename")
        if isinstance(name, str) and name.strip():
            file = str(PurePosixPath(name))  # one spelling of it, as the reader has it
            if problem := "unusable file name" if file == "." else entry_of("", "", file).problem:
                self._note("filename.unusable", "", f"{cut(name)!a} is no file's: {problem}.")
            return file
        if name is None and "filename" in fields:
            self._note("filename.null", "", "`filename` is null.")
        else:
            self._note("filename.missing", "", f"`filename` is {_told(fields, 'filename')}.")
        return None

    def _side(self, fields: Fields, name: str) -> float | None:
        side = _number(fields.get(name))
        if side is not None and 0 < side <= MAX_SIDE and side.is_integer():
            return side
        if name not in fields:
            self._note("size.missing", name, f"it has no `{name}`.")
        elif fields[name] is None:
            self._note("size.null", name, f"`{name}` is null: boxes cannot be checked.")
        else:
            said = f"`{name}` is {_shown(fields[name])}: expected whole pixels above 0."
            self._note("size.invalid", name, said)
        return None

    def _caption(self, grounding: Fields) -> str | None:
        caption = grounding.get("caption")
        if isinstance(caption, str):
            return caption
        self._note("caption.missing", "", f"`caption` is {_told(grounding, 'caption')}.")
        return None

    def _objects(self, parent: Fields, name: str) -> Iterator[tuple[int, Fields]]:
        things = parent.get(name)
        if not isinstance(things, list):
            self._note("annotation.malformed", name, f"`{name}` is {_told(parent, name)}.")
            return
        for number, thing in enumerate(things):
            if isinstance(thing, dict):
                yield number, thing
            else:
                said = f"it is {_shown(thing)}: expected an object."
                self._note("annotation.malformed", f"{name[:-1]} {number}", said)

    # --- regions and instances

    def _region(self, part: str, region: Fields) -> None:
        texts = self._texts(part, region)
        name = " ".join(texts) if all(text.strip() for text in texts) else ""
        if texts:
            self._names.append(Name(part, name))
        mention = self._phrase(part, texts, region.get("tokens_positive"))
        boxes = region.get("bbox")
        if isinstance(boxes, list) and boxes and isinstance(boxes[0], list):
            for number, box in enumerate(boxes):
                self._box(f"{part}, box {number}", name, box, mention)
        elif boxes is None or boxes == []:
            self._note("region.boxless", part, f"{_shown(name)} has no box.")
        else:
            self._box(f"{part}, box 0", name, boxes, mention)

    def _texts(self, part: str, region: Fields) -> tuple[str, ...]:
        phrase = region.get("phrase")
        if isinstance(phrase, str):
            return (phrase,)
        if phrase is None or phrase == []:
            self._note("region.phraseless", part, f"`phrase` is {_told(region, 'phrase')}.")
            return ()
        if isinstance(phrase, list) and all(isinstance(text, str) for text in phrase):
            return tuple(phrase)
        said = f"`phrase` is {_shown(phrase)}: expected a text or a list of texts."
        self._note("region.malformed", part, said)
        return ()

    def _instance(self, part: str, instance: Fields) -> None:
        category, label = instance.get("category"), instance.get("label")
        name = category if isinstance(category, str) else f"label {_shown(label)}"
        if not isinstance(label, int | str | None) or isinstance(label, bool):
            said = f"`label` is {_shown(label)}: expected a whole number or a text."
            self._note("region.malformed", part, said)
        elif isinstance(category, str):
            self._names.append(Name(part, category))
        elif category is not None:
            self._note("region.malformed", part, f"`category` is {_shown(category)}, no text.")
        elif label is None:
            self._note("region.phraseless", part, "it has neither `category` nor `label`.")
        else:
            said = f"label {_shown(label)} has no category: name the batch's `label_map`."
            self._note("region.label_alone", part, said)
        if instance.get("bbox") is None:
            self._note("region.boxless", part, f"{name!r} has no box.")
        else:
            self._box(part, name, instance["bbox"])

    def _box(self, part: str, name: str, box: object, mention: tuple[Span, ...] = ()) -> None:
        sides = [_number(side) for side in box] if isinstance(box, list) else []
        if len(sides) != 4 or None in sides:
            self._note("box.malformed", part, f"it is {_shown(box)}: expected 4 numbers.")
            return
        x0, y0, x1, y1 = (side for side in sides if side is not None)
        box_xyxy: BoxXYXY = (x0, y0, x1, y1)
        self._boxes.append(NamedBox(part, name, box_xyxy, mention))

    def _phrase(self, part: str, texts: tuple[str, ...], given: object) -> tuple[Span, ...]:
        """Keeps the phrase, where it can be looked at, and returns its spans."""
        spans: tuple[Span, ...] | None = None
        if given == []:
            self._note("span.missing", part, "`tokens_positive` is empty.")
            return ()
        if given is not None:
            if not isinstance(given, list) or not all(_is_span(span) for span in given):
                said = f"`tokens_positive` is {_shown(given)}: expected [[start, end], ...]."
                self._note("span.malformed", part, said)
                return ()
            spans = tuple((start, end) for start, end in given)
        if texts:
            self._phrases.append(SpannedPhrase(part, texts, spans))
        return spans or ()

    # --- what stands beside the annotation

    def _tags(self, fields: Fields) -> None:
        tags = fields.get("tags")
        if "tags" not in fields:
            return
        if tags is None or tags == []:
            self._note("tags.empty", "", f"`tags` is {_told(fields, 'tags')}.")
        elif isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
            self._names += [Name(f"tag {number}", tag) for number, tag in enumerate(tags)]
        else:
            self._note("tags.malformed", "", f"`tags` is {_shown(tags)}: expected texts.")

    def _conversation(self, fields: Fields) -> tuple[Turn, ...] | None:
        if "conversations" not in fields:
            return None
        turns = fields["conversations"]
        if isinstance(turns, list) and all(_is_turn(turn) for turn in turns):
            return tuple(Turn(turn["from"], turn["value"]) for turn in turns)
        said = f"`conversations` is {_shown(turns)}: expected a list of {{from, value}}."
        self._note("conversation.malformed", "", said)
        return None


def _number(value: object) -> float | None:
    """A number of JSON; None for anything else. One beyond all floats is an infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _is_span(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(end, int) and not isinstance(end, bool) for end in value)
    )


def _is_turn(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("from"), str)
        and isinstance(value.get("value"), str)
    )


def _told(parent: Fields, name: str) -> str:
    return _shown(parent[name]) if name in parent else "missing"


def _shown(value: object) -> str:
    if isinstance(value, list | dict):
        return reprlib.repr(value)  # However long and deep it is, this is short.
    return cut(json.dumps(value, ensure_ascii=False))
