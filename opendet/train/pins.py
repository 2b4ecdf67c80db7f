"""Which commits of the hub a run began with: it goes on with them, whatever the hub has by then."""

import json
from dataclasses import replace
from pathlib import Path

from opendet.annotators.model_folder import hub_commit
from opendet.files import write_json_durably
from opendet.train.llmdet_start import LANGUAGE_KEY, LANGUAGE_MEND
from opendet.train.recipe import Recipe
from opendet.train.start import writes_names

PINS = "pins.json"
_T5_MEND = "give `tiny`, `none`, a folder or a hub name, which needs the network once"


def pinned(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the commits that are written in the run's folder; at its first start those
    that the hub has now, or that were asked for. Raises ValueError, in one line, for a model that
    is neither on the hub nor in its cache."""
    namer, llmdet = recipe.namer, recipe.objective.llmdet
    pins: dict[str, str] = {}
    if (folder / PINS).is_file():
        pins = json.loads((folder / PINS).read_text("utf-8"))
    else:
        if _is_on_hub(namer.t5, "tiny", "none") and not writes_names(recipe.train.start_from):
            pins["t5"] = hub_commit(namer.t5, namer.t5_revision, key="namer.t5", mend=_T5_MEND)
        if _is_on_hub(llmdet.language, "t5", "none"):
            pins["language"] = hub_commit(
                llmdet.language, llmdet.language_revision, key=LANGUAGE_KEY, mend=LANGUAGE_MEND
            )
        if pins:
            write_json_durably(folder / PINS, pins)
    own = llmdet.model_copy(update={"language_revision": pins.get("language")})
    return replace(
        recipe,
        namer=namer.model_copy(update={"t5_revision": pins.get("t5")}),
        objective=recipe.objective.model_copy(update={"llmdet": own}),
    )


def _is_on_hub(model: str, *words: str) -> bool:
    return model not in words and not Path(model).expanduser().is_dir()
