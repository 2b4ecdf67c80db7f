"""What a stage's output depends on, as one number.

A fingerprint is a hash of the stage's name, its parameters, the versions of its models, and the
source of its program with every Open-Det module that the program imports, however deep. The engine
is left out: it runs a stage and changes no byte of what it makes, so mending it redoes nothing.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from opendet.files import canonical_json
from opendet.schema import SCHEMA_VERSION

PACKAGE = Path(__file__).resolve().parent
ENGINE = frozenset(
    f"opendet.{name}"
    for name in (
        *("answers.memory", "answers.packing", "answers.segments", "answers.store"),
        *("actors", "build", "cluster", "config", "console", "entry", "fingerprint", "flow"),
        *("object_store.address", "object_store.image_cache", "object_store.images"),
        *("poison", "progress", "ray_map", "ray_session", "shard_run", "stage", "work"),
    )
)
"""Modules that decide how a stage runs, and not what it makes."""
OWN_DETECTOR = frozenset({"opendet.annotators.own_detector"})
"""Open-Det's detector as an annotator is left out with all that it imports, like any other model:
its exported folder's digest says which one it is. Else each change of the detector's training
would label every image anew."""


def stage_fingerprint(
    stage: str, parameters: Iterable[BaseModel], models: Mapping[str, str]
) -> str:
    """Sixteen hexadecimal digits.

    `models` maps a name to the sha256 or revision of what the stage reads besides its shards
    (weights, a vocabulary).
    """
    value = {
        "stage": stage,
        "record_version": SCHEMA_VERSION,
        "code": code_version(stage),
        "parameters": [section.model_dump(mode="json") for section in parameters],
        "models": dict(models),
    }
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def code_version(stage: str) -> str:
    """A hash of the source of a stage's program and of all that it imports, engine aside."""
    digest = hashlib.sha256()
    for path in sorted(library_files(stage)):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    digest.update(program_file(stage).read_bytes())
    return digest.hexdigest()


def library_files(stage: str) -> set[Path]:
    """The library's files that decide what a stage makes."""
    return import_closure(["opendet.schema", *_imported_names(program_file(stage))])


def program_file(stage: str) -> Path:
    """Where the program `pipelines.<stage>` lies."""
    spec = importlib.util.find_spec(f"pipelines.{stage}")
    assert spec, f"there is no program pipelines/{stage}.py"
    assert spec.origin
    return Path(spec.origin)


def import_closure(modules: Iterable[str]) -> set[Path]:
    """The files of these modules and of every Open-Det module that they import, however deep.

    The engine's modules, and what only they import, are left out.
    """
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = None if name in ENGINE | OWN_DETECTOR else module_file(name)
        if path is None or path in found:
            continue
        found.add(path)
        waiting += _imported_names(path)
    return found


def module_file(name: str) -> Path | None:
    """The file of a dotted name such as `opendet.curate.filter`; None for another package's."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return None
    base = PACKAGE.joinpath(*parts[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if len(parts) > 1 and path.is_file():
            return path
    return None


def _imported_names(path: Path) -> tuple[str, ...]:
    status = path.stat()
    return _names_in(path, status.st_mtime_ns, status.st_size)


@cache
def _names_in(path: Path, _changed: int, _bytes: int) -> tuple[str, ...]:
    """Read once per process, for most stages import the same modules, and again when the file is
    another one."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from opendet.curate import filter` names a module or something in one.
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)
