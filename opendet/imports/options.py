"""What the command line says, checked, and the readers' errors in its words.

Cards and readers speak of `source.yaml`, which a build that is being imported does not have yet.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

from opendet.sources.card import Format, Split

FORMATS = tuple(form for form in get_args(Format) if form != "scenes")
"""Of data that lie somewhere; scenes are drawn."""

_KEY = r"(images|annotations|captions|list|refs|classes|labels|label_map|masks)"
_MEND_ITS = re.compile(rf"mend its `{_KEY}`(?:, .*?, in source\.yaml)?")
_IN_BATCH = re.compile(r"\bbatches\.\d+\.([a-z_]+)(?=[:.])")
_WRITTEN_IN = re.compile(r"mend (?:it|the batch) in source\.yaml")


def require_known(form: str, split: str) -> None:
    """Raises ValueError, in one line, for a format or a split that there is none of."""
    for kind, word, known in (("format", form, FORMATS), ("split", split, get_args(Split))):
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"no {kind} is called {word!r}{hint}; there are {', '.join(known)}")


def in_options(said: str, given: Sequence[tuple[str, Path]], *, several: bool) -> str:
    """An error's line that names the option to mend where it named a card's key.

    `given` are the absolute paths of the command line by the card's keys; `several` is whether each
    of its annotations makes a batch, which is named after the file.
    """

    def option_of(match: re.Match[str]) -> str:
        if match[1] == "name":
            return "the batch's name, which is its --annotations'" if several else "--batch"
        return _option(match[1])

    said = said.replace("give the batch in source.yaml a `label_map`", "give a --label-map")
    said = said.replace("say `format: folder`", "say --format folder")
    said = _MEND_ITS.sub(lambda match: f"mend {_option(match[1])}", said)
    said = _WRITTEN_IN.sub(lambda _: f"mend {_to_mend(said, given)}", said)
    said = re.sub(f"`{_KEY}`", lambda match: _option(match[1]), said)
    said = _IN_BATCH.sub(option_of, said)
    if said.startswith("two batches are called") and not several:
        said = f"{said} with --batch"
    if "--" not in said and (named := _named_in(said, given)):
        said = f"{said}: mend {named}"
    return said


def _named_in(said: str, given: Sequence[tuple[str, Path]]) -> str:
    """The option whose path an error names, the longest of them; empty where it names none."""
    lengths = {key: len(str(path)) for key, path in given if str(path) in said}
    return _option(max(lengths, key=lengths.__getitem__)) if lengths else ""


def _to_mend(said: str, given: Sequence[tuple[str, Path]]) -> str:
    """The option whose path the error names; else all that have one."""
    if named := _named_in(said, given):
        return named
    return " or ".join(_distinct(_option(key) for key, _ in given))


def _distinct(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"
