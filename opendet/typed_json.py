"""A JSON file of a known form, or one line that says where it departs from it."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def read_json(kind: type[T], path: Path, *, mend: str = "") -> T:
    """Raises ValueError in one line that names file and place; `mend` says what to do about a file
    that is not there."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing" + (f": {mend}" if mend else "")) from error
    except IsADirectoryError as error:
        raise ValueError(f"{path} is a folder: name a JSON file in it") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "its root"
        raise ValueError(f"{path}: {where}: {first['msg']}") from error
