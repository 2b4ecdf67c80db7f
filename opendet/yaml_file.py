"""The one reader of YAML files: what a person wrote twice is an error, not silently the last."""

from pathlib import Path
from typing import Any

import yaml


def read_yaml(path: Path) -> Any:
    """What a YAML file says. Raises ValueError, in one line that names the file, for one that is
    not YAML, has a key twice in one place or a value that nothing can hold, such as a month 13;
    FileNotFoundError where there is none."""
    with path.open("rb") as file:
        try:
            return yaml.load(file, _KeysOnce)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        except RecursionError as error:
            raise ValueError(f"{path} is nested too deep for what it is to say") from error
        except _OursError:
            raise
        except ValueError as error:  # of a number or a date, of which yaml does not say where
            said = " ".join(str(error).split())
            raise ValueError(f"{path} has a value that cannot be read: {said}") from error


DEEPEST = 100
"""Levels of brackets: scanning them takes time with the square of their number."""


class _OursError(ValueError):
    """It names the file."""


class _KeysOnce(yaml.SafeLoader):
    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level >= DEEPEST:
            raise _OursError(f"{self.name} is nested too deep for what it is to say")
        super().fetch_flow_collection_start(token)

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Looked at before values are made of it: by then `<<` has added the keys of others."""
        mapping = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise _OursError(
                    f"{self.name}: the key {key.value} comes twice, in lines {lines[key.value]} "
                    f"and {line}: keep one of them"
                )
            lines[key.value] = line
        return mapping
