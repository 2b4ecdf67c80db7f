"""The base of every section of a configuration: frozen, and a misspelt key is an error."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One section of the YAML configuration.

    Every knob is a typed field beside its default, with one line of documentation under it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
