"""What a stage's output depends on, as one number.

A fingerprint is a hash of the stage's name, its parameters, the versions of its models, and the
source of every Open-Det module that the stage's own module imports, however deep. Engine code
(flow, progress, the command line) is not imported by the stages' modules, so mending it redoes
nothing.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel

from opendet.files import canonical_json
from opendet.schema import SCHEMA_VERSION

PACKAGE = Path(__file__).resolve().parent


def stage_fingerprint(
    stage: str,
    modules: Iterable[str],
    parameters: Iterable[BaseModel],
    models: Mapping[str, str],
) -> str:
    """Sixteen hexadecimal digits.

    `modules` are dotted names below opendet, `models` maps a name to the sha256 or revision of what
    the stage reads besides its shards (weights, a vocabulary).
    """
    value = {
        "stage": stage,
        "record_version": SCHEMA_VERSION,
        "code": code_version(modules),
        "parameters": [section.model_dump(mode="json") for section in parameters],
        "models": dict(models),
    }
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def code_version(modules: Iterable[str]) -> str:
    """A hash of the source of these modules and of all of Open-Det that they import."""
    digest = hashlib.sha256()
    for path in sorted(import_closure(modules)):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def import_closure(modules: Iterable[str]) -> set[Path]:
    """The files of these modules and of every Open-Det module that they import, however deep."""
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        path = module_file(waiting.pop())
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


def _imported_names(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from opendet.curate import filter` names a module or something in one.
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
