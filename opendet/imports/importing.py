"""A new build, or a further batch of one, from annotations that lie somewhere.

Nothing is written before all of it was read: what a card says is then known to be readable.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opendet.imports.options import in_options, require_known
from opendet.imports.places import absolute, located
from opendet.imports.survey import Seen, survey
from opendet.imports.texts import card_text, config_text, page_text, with_batches, with_rows
from opendet.imports.writing import write_together
from opendet.sources.card import Batch, parse_card, read_card
from opendet.yaml_file import read_yaml

UNKNOWN = "unknown"
"""A licence that nobody has told."""
_INHERITED = ("format", "root", "licence")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command line says."""

    build: str
    form: str
    images: Path
    annotations: Sequence[Path]
    """One a batch; none for a format without annotations."""
    files: Mapping[str, Path]
    """Further files, by the card's keys."""
    options: Mapping[str, Any]
    """Further keys of a batch, such as `masks`."""
    split: str
    licence: str
    batch: str
    title: str


@dataclass(frozen=True, slots=True)
class _Files:
    """The three files of a build."""

    card: Path
    page: Path
    config: Path

    @classmethod
    def of(cls, project: Path, build: str) -> "_Files":
        if not re.fullmatch(r"[0-9A-Za-z_-]+", build):
            raise ValueError(f"{build!r} is no build's name: use letters, digits, - and _")
        if not (project / "params.yaml").is_file():
            raise ValueError(
                f"no project here: {project} has no params.yaml; run this in a checkout"
            )
        folder = project / "datasets" / build
        return cls(
            folder / "source.yaml", folder / "README.md", project / "configs" / f"{build}.yaml"
        )


def import_build(wanted: Wanted, project: Path) -> list[tuple[Batch, Seen]]:
    """Write a new build's card, page and configuration; gives its batches and what is in them.

    Raises ValueError, in one line, where one of the three is there already, and for whatever the
    build's readers would refuse.
    """
    files = _Files.of(project, wanted.build)
    require_known(wanted.form, wanted.split)
    for path in (files.card, files.page, files.config):
        if path.exists():
            raise ValueError(
                f"{path.relative_to(project)} is there already, and nothing is overwritten: "
                "name another build, or add a batch to this one with --add-batch"
            )
    batches = _batches(wanted, project)
    head = {"name": wanted.build, "title": wanted.title, "licence": wanted.licence or UNKNOWN}
    head |= {key: batches[0][key] for key in ("format", "root")}
    head = {key: value for key, value in head.items() if value}
    items = [_apart_from(head, batch) for batch in batches]
    path = files.card.relative_to(project)
    with _said_of(wanted, path):
        card = parse_card({**head, "batches": items}, path)
        seen = [(batch, survey(card, batch, project)) for batch in card.batches]
    named = any(one.names for _, one in seen)
    write_together(
        {
            files.page: page_text(card, seen),
            files.card: card_text(head, items),
            files.config: config_text(named=named),
        }
    )
    return seen


def add_batches(wanted: Wanted, project: Path) -> list[tuple[Batch, Seen]]:
    """Write further batches into a build's card and page; its other batches stay as they are.

    Raises ValueError, in one line, as `import_build`, and where there is no such build.
    """
    files = _Files.of(project, wanted.build)
    require_known(wanted.form, wanted.split)
    before = read_card(files.card)
    data = read_yaml(files.card)
    items = [_apart_from(data, batch) for batch in _batches(wanted, project)]
    path = files.card.relative_to(project)
    whole = {**data, "batches": [*data["batches"], *items]}
    with _said_of(wanted, path):
        card = parse_card(whole, path)
        new = card.batches[len(before.batches) :]
        seen = [(batch, survey(card, batch, project)) for batch in new]
    try:
        text = with_batches(files.card.read_text("utf-8"), items)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    assert yaml.safe_load(text) == whole, f"{path} would not be what is added to it"
    page = files.page.read_text("utf-8") if files.page.is_file() else f"# {card.name}\n"
    write_together({files.page: with_rows(page, seen), files.card: text})
    return seen


@contextmanager
def _said_of(wanted: Wanted, card: Path) -> Iterator[None]:
    """What is wrong with a batch is wrong with an option: no person has written it into a card."""
    given = [("images", wanted.images), *wanted.files.items()]
    given += [("annotations", path) for path in wanted.annotations]
    given = [(key, absolute(path)) for key, path in given]
    try:
        yield
    except ValueError as error:
        said = str(error).removeprefix(f"{card}: ")
        raise ValueError(in_options(said, given, several=len(wanted.annotations) > 1)) from error


def _batches(wanted: Wanted, project: Path) -> list[dict[str, Any]]:
    """A batch for each file of annotations, with all of its keys."""
    named: list[tuple[str, Mapping[str, Path]]]
    if len(wanted.annotations) > 1:
        if wanted.batch:
            raise ValueError("--batch names one batch, and each --annotations makes one: leave it")
        named = [(_batch_name(path), {"annotations": path}) for path in wanted.annotations]
    else:
        only = wanted.annotations[0] if wanted.annotations else None
        named = [(wanted.batch or wanted.split, {"annotations": only} if only else {})]
    return [_batch(wanted, name, files, project) for name, files in named]


def _batch(wanted: Wanted, name: str, files: Mapping[str, Path], project: Path) -> dict[str, Any]:
    root, below = located(project, wanted.images, {**files, **wanted.files}, form=wanted.form)
    return {
        "name": name,
        "split": wanted.split,
        "format": wanted.form,
        "root": root,
        **({"licence": wanted.licence} if wanted.licence else {}),
        **below,
        **wanted.options,
    }


def _batch_name(path: Path) -> str:
    """Of a file of annotations that is one of several."""
    return re.sub(r"[^0-9A-Za-z]+", "-", path.stem).strip("-")[-30:].strip("-")


def _apart_from(head: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the card says for all batches."""
    return {
        key: value
        for key, value in batch.items()
        if key not in _INHERITED or head.get(key) != value
    }
