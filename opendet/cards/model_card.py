"""The card of a model: README.md with the header that the Hugging Face hub reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opendet.cards.data_files import README
from opendet.cards.licences import hub_word, licence_in, page_of
from opendet.cards.model_about import BuildAbout, ModelAbout, PartAbout, about_model, build_of
from opendet.cards.page import coded, number, said, section, table, with_header
from opendet.train.export import WEIGHTS
from opendet.train.export import read_card as read_model

LIBRARY = "open-det"
_UNKNOWN = "unknown"
MEASURES = {
    "agnostic_ap": "AP of boxes, whatever they are called",
    "agnostic_ap50": "AP50 of boxes, whatever they are called",
    "agnostic_ar.all.100": "average recall of 100 boxes an image",
    "agnostic_mask_ap": "AP of masks, whatever they are called",
    "named_ap.all": "AP, found and named",
    "named_ap50.all": "AP50, found and named",
    "named_ap50.trained": "AP50, found and named, of names that training shows",
    "named_ap50.unseen": "AP50, found and named, of names that training never shows",
    "named_mask_ap.all": "AP of masks, found and named",
    "names.exact": "share of the found objects whose name is right, word for word",
}
"""Dotted keys of the stage `evaluate`, with what they are; all in [0, 1]."""


def model_card_text(model_folder: Path, *, licence: str = "") -> str:
    """The card of a model's folder. The same folder gives the same text.

    `licence`: the one that its owner has chosen for the weights. A folder that has a card of these
    weights already, and lies in no build that knows more, keeps it. Raises ValueError, in one line,
    for a folder that holds no whole model.
    """
    kept = _kept(model_folder)
    if kept and not licence and build_of(model_folder) is None:
        return kept
    about = about_model(model_folder)
    chosen = licence or _chosen(model_folder, kept)
    return with_header(_header(about, chosen), _lines(about, chosen))


def _kept(folder: Path) -> str:
    """The card that came with the model, where it speaks of these weights."""
    path = folder / README
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    ours = text.startswith("---\n") and f"library_name: {LIBRARY}\n" in text
    return text if ours and read_model(folder).weights.sha256 in text else ""


def _chosen(folder: Path, kept: str) -> str:
    """The licence that the card of these weights names already."""
    told = licence_in(folder) if kept else ""
    return "" if told == _UNKNOWN else told


# --- what the hub reads


def _header(about: ModelAbout, licence: str) -> dict[str, Any]:
    return {
        **_licence_header(licence),
        "library_name": LIBRARY,
        "pipeline_tag": "object-detection",
        "tags": ["open-det", "open-ended-detection", "open-vocabulary-detection"],
        "base_model": [part.hub.removesuffix("/") for part in about.parts if part.hub],
        "model-index": _model_index(about),
    }


def _licence_header(licence: str) -> dict[str, Any]:
    if not licence:
        return {"license": _UNKNOWN}
    word = hub_word(licence)
    return {"license": word} if word else {"license": "other", "license_name": licence}


def _model_index(about: ModelAbout) -> list[dict[str, Any]]:
    if about.build is None or not about.build.evaluated:
        return []
    dataset = {
        "type": "open-det-build",
        "name": about.build.name,
        "split": about.build.evaluated_split,
    }
    metrics = [
        {"type": key, "name": told, "value": value}
        for key, told, value in _measures(about.build.evaluated)
    ]
    result = {"task": {"type": "object-detection"}, "dataset": dataset, "metrics": metrics}
    return [{"name": about.name, "results": [result]}] if metrics else []


def _measures(evaluated: dict[str, Any]) -> list[tuple[str, str, float]]:
    """(dotted key, what it is, value) of what was measured."""
    found = []
    for key, told in MEASURES.items():
        value: Any = evaluated
        for step in key.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            found.append((key, told, float(value)))
    return found


# --- what people read


def _lines(about: ModelAbout, licence: str) -> Iterator[str]:
    yield f"# {said(about.name)}: an Open-Det detector"
    yield ""
    yield _summary(about)
    yield ""
    yield from section("Use it", _use())
    yield from section("Measured", _measured(about))
    yield from section("Limits", _limits(about))
    yield from section("What it was trained on", _trained_on(about))
    yield from section("What it is made of", _made_of(about))
    yield from section("Licence", _licence(about, licence))
    yield from section("Training settings", _settings(about.card.training))


def _summary(about: ModelAbout) -> str:
    namer = any(part.part == "namer" for part in about.parts)
    ways = ["writes their names word by word"] * namer
    if about.prototypes:
        ways.append(f"knows {number(about.prototypes)} names by prototypes")
    naming = " and ".join(ways) or "calls them by the names of a list that it is given"
    return (
        f"It finds the objects in a picture without being asked for any, and {naming}. "
        f"{number(about.parameters)} parameters."
    )


def _use() -> Iterator[str]:
    yield "```python"
    yield "from opendet import OpenDet"
    yield 'detector = OpenDet.from_pretrained("path/to/this/folder")  # or owner/name on the hub'
    yield 'found = detector("photo.jpg").to_supervision()'
    yield "```"
    yield ""
    yield "In a terminal, and as ONNX graphs that run without torch:"
    yield ""
    yield "```bash"
    yield "opendet detect photo.jpg --model path/to/this/folder"
    yield "opendet model export onnx path/to/this/folder model-onnx"
    yield "opendet detect photo.jpg --onnx model-onnx"
    yield "```"


def _measured(about: ModelAbout) -> Iterator[str]:
    build = about.build
    if build is None or not build.evaluated:
        yield "Nothing is known of these weights: no evaluation lies with them."
        return
    judged = build.evaluated
    images, objects = number(judged.get("images", 0)), number(judged.get("objects", 0))
    yield (
        f"On the split {said(build.evaluated_split)} of the build {coded(build.name)}: {images} "
        f"images, {objects} objects, protocol {coded(str(judged.get('protocol', 'own')))}."
    )
    yield ""
    rows = [(told, f"{value:.3f}", coded(key)) for key, told, value in _measures(judged)]
    yield from table(("what", "measured", "of `evaluate`"), rows)


def _limits(about: ModelAbout) -> Iterator[str]:
    card, build = about.card, about.build
    yield (
        f"- Pictures are brought to at most {card.resize.longest} pixels on their longer side: "
        "what is small then is not seen."
    )
    if build is not None and build.evaluated:
        yield "- It was judged on pictures of its own build alone, not on any other."
        named = build.evaluated.get("named_ap50", {})
        if "trained" in named and "unseen" in named:
            yield (
                f"- Of names that training never shows it has AP50 {named['unseen']:.3f}, of those "
                f"that it shows {named['trained']:.3f}."
            )
    if any(part.part == "namer" for part in about.parts):
        yield "- A name is what a language model writes: it may be any words, wrong ones too."
    unknown = [part.name for part in about.parts if not part.own and not part.licence]
    yield from (f"- The licence of {said(name)} is unknown here." for name in unknown)


def _trained_on(about: ModelAbout) -> Iterator[str]:
    if about.build is None:
        shards = about.card.training.get("shards")
        told = f" Its shards' manifest hashes to {coded(str(shards))}." if shards else ""
        yield f"Not known: the folder lies in no build.{told}"
        return
    yield f"The build {coded(about.build.name)}: {said(about.build.title)}."
    yield ""
    rows = [
        (_linked(licence) or "**none is told**", number(images) if images else "")
        for licence, images in about.build.licences
    ]
    yield from table(("licence of the images", "images"), rows)
    yield from _run_of(about.build)


def _run_of(build: BuildAbout) -> Iterator[str]:
    told = build.trained
    if told.get("steps"):
        shown = number(int(told.get("images", 0)))
        seconds = number(round(told.get("seconds", 0)))
        yield f"{number(told['steps'])} steps that showed {shown} images took {seconds} seconds."


def _made_of(about: ModelAbout) -> Iterator[str]:
    rows = [(part.part, said(part.name), _terms(part)) for part in about.parts]
    yield from table(("part", "", "licence"), rows)
    if any(part.part == "teacher" for part in about.parts):
        yield "The teacher gave text vectors to learn from; none of its weights are in the model."
        yield ""
    card = about.card
    yield f"`{WEIGHTS}`: {number(card.weights.bytes)} bytes, SHA-256 {coded(card.weights.sha256)}."


def _terms(part: PartAbout) -> str:
    if part.licence:
        by = f", says {said(part.licence_from)}" if part.licence_from else ""
        return f"{_linked(part.licence)}{by}"
    return "its own" if part.own else "**unknown**"


def _linked(licence: str) -> str:
    page = page_of(licence)
    return f"[{said(licence)}]({page})" if page else said(licence)


def _licence(about: ModelAbout, licence: str) -> Iterator[str]:
    if licence:
        yield f"Its owner has chosen {_linked(licence)} for these weights."
    else:
        yield "Nobody has chosen a licence for these weights yet; `--licence` names one."
    if about.build is not None or any(part.licence for part in about.parts):
        yield ""
        yield "What the images and the parts above allow bounds what it can allow."


def _settings(training: dict[str, Any]) -> Iterator[str]:
    if not training:
        return
    yield "<details><summary>Every setting of its training</summary>"
    yield ""
    rows = [(coded(key), coded(_setting(training[key]))) for key in sorted(training)]
    yield from table(("setting", "value"), rows)
    yield "</details>"


def _setting(value: Any) -> str:
    """As JSON; of a path of somebody's disk its last step alone."""
    if isinstance(value, str) and value.startswith(("/", "~", "..")):
        value = f"…/{Path(value).name}"
    return json.dumps(value, ensure_ascii=False)
