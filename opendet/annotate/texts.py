"""The files of the small project that a data set is: card, page, configuration, and which build."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from opendet.annotate.wish import Wish
from opendet.imports.texts import card_text

NAMES_FILE = "names.txt"
BATCH = "photographs"

_CONFIG = """\
# Begun by `opendet annotate`: photographs -> a detector's boxes -> shards, and a small detector
# that a CPU trains. Every knob has a line of documentation beside its default. What is changed here
# is made anew by `opendet data build`, and no model is asked twice.
{run}
source:
  shard_samples: 200

{caption}
{regions}
describe:
  annotator: grammar  # describes no region: what the detector called it is its name

clip:
  model: trained  # a small one, from this build's own regions; or a folder in open_clip's form
  steps: 100
  width: {width}
  threads: 1

embed: {{}}

verify: {{}}

filter:
  require_caption: false
  min_margin: null  # such a CLIP judges nobody; a real one may

prototypes:
  coarse: 16

shards: {{}}

# Small, for a CPU. For a detector of the paper's size see configs/vg_swin_t_31.yaml.
{detector}
namer:
  t5: tiny
  head: lora
  lora_rank: 8
  prompt_width: {width}
  beams: 1

loader:
  batch_size: 4
  cache: true
  shortest_edges: [{edge}]
  longest_edge: {longest}
  evaluation_edge: {edge}
  flip: 0.5
  crop: 0.0

objective:
  naming_boxes: target

text: {{}}

{train}
evaluate:
  split: train  # photographs that it has learned from: a check, and no measure
  score_threshold: 0.05
  reading: first
  template: "{{name}}"

report: {{}}
"""
_TINY: dict[str, Any] = {
    "backbone": {"name": "tiny", "strides": [8, 16, 32]},
    "width": 96,
    "extra_level": False,
    "encoder_layers": 1,
    "cross_layers": 1,
    "self_layers": 2,
    "heads": 4,
    "feedforward": 256,
    "queries": 100,
    "queries_min": 10,
    "denoising_pairs": 20,
    "distiller_hidden": 128,
    "glimpse_side": 32,
}
_FROM_NOTHING: dict[str, Any] = {
    "steps": 200,
    "learning_rate": 1.0e-3,
    "backbone_lr_scale": 1.0,
    "sampling_lr_scale": 1.0,
    "clip_norm": 1.0,
    "warmup_steps": 20,
    "decay": "cosine",
    "decay_to": 0.02,
    "ema_decay": 0.98,
    "threads": 1,
    "checkpoint_every": 50,
    "warmup": {"steps": 100},
}
_TUNED: dict[str, Any] = {**_FROM_NOTHING, "learning_rate": 2.0e-4, "backbone_lr_scale": 0.1}
_EDGES = (192, 256)
_PROMPT_WIDTH = 64


def config_text(wish: Wish, build: str, section: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """The configuration; `section` is the detector's item of `regions.detectors`."""
    regions: dict[str, Any] = {
        "tagger": "grammar",
        "detectors": [dict(section)],
        "detected_splits": ["train", "val", "test"],
        "tag_found": True,
    }
    if wish.names and "class_names" not in section:
        names = f"datasets/{build}/{NAMES_FILE}"
        asked = {"vocabulary_file": names, "tags": False, "caption_phrases": False}
        regions["queries"] = asked
    start = _start_of(wish.start_from)
    edge, longest = start.get("edges", _EDGES)
    train = {**_TUNED, "start_from": wish.start_from} if wish.start_from else _FROM_NOTHING
    return _CONFIG.format(
        run=_yaml({"run": dict(run)}),
        caption=_yaml({"caption": _caption(wish.captioner)}),
        regions=_yaml({"regions": regions}),
        detector=_yaml({"detector": start.get("detector", _TINY)}),
        width=start.get("width", _PROMPT_WIDTH),
        edge=edge,
        longest=longest,
        train=_yaml({"train": train}),
    )


def project_texts(wish: Wish, dataset: Path, build: str, config: str) -> dict[Path, str]:
    """File -> what is written into it, of a new data set; the configuration last, so that what has
    one has all the others."""
    folder = dataset / "datasets" / build
    head = {
        "name": build,
        "title": f"Photographs of {Path(wish.photographs).name}",
        "licence": wish.licence,
        "format": "folder",
        "root": wish.photographs,
    }
    texts = {
        folder / "README.md": _page(wish, build),
        folder / "source.yaml": card_text(head, [{"name": BATCH, "split": "train"}]),
        dataset / ".gitignore": ".opendet/\n",
        dataset / "params.yaml": f"build: {build}\n",
    }
    if wish.names:
        texts[folder / NAMES_FILE] = "".join(f"{name}\n" for name in wish.names)
    return {**texts, dataset / "configs" / f"{build}.yaml": config}


def _caption(captioner: str) -> dict[str, Any]:
    if not captioner:
        return {"annotator": "source", "without_caption": "keep"}
    return {"annotator": "vision_language", "vision_language": {"model": captioner}}


def _start_of(start_from: str) -> dict[str, Any]:
    """What a model of ours fixes: the detector's shape, the width of prompts, and the size that
    images have. Raises ValueError, in one line, for a folder that is none."""
    if not start_from:
        return {}
    from opendet.model.saved_namer import begin_namer
    from opendet.train.export import NAMER, read_card

    folder = Path(start_from)
    card = read_card(folder)
    resize = card.resize
    return {
        "detector": card.detector.model_dump(mode="json", exclude_defaults=True),
        "width": begin_namer(folder / NAMER, written_names=False).prompt_width,
        "edges": (resize.shortest, resize.longest),
    }


def _page(wish: Wish, build: str) -> str:
    looked_for = ", ".join(wish.names) if wish.names else "whatever the detector knows"
    return f"""\
# {build}: photographs of {Path(wish.photographs).name}

Made by `opendet annotate`. Nobody has checked what is written here: the boxes and names are a
model's.

- Boxes by: {wish.detector}
- Looked for: {looked_for}
- Captions by: {wish.captioner or "nobody"}

**Licence:** {wish.licence}.

**Caveats:** say here who took the photographs, what the detector left out, and what the data are
not fit for.
"""


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=1000)
