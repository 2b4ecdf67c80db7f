"""What models are asked: words in the configuration, or a file with a version beside it.

    prompt: Describe the image in detail.
    prompt: prompts/detailed_caption.v1.txt     # configs/prompts/detailed_caption.v1.txt

A file's text goes to the model as it is, and into the origin of every answer. So does its version:
who changes a prompt writes the next version, and records of both can be told apart.
"""

import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError, field_validator, model_validator

from opendet.section import Section, explain

FOLDER = "prompts/"
_FILE = re.compile(r"prompts/([0-9A-Za-z_-]+\.v[0-9]+)\.txt")

T = TypeVar("T", bound=Section)


class Prompt(Section):
    """A question to a model. In a configuration, mostly its text or the name of its file alone."""

    text: str
    """The words, or `prompts/<name>.v<number>.txt` for those of a file below configs/."""
    version: str = ""
    """What the words are called in the origin of each answer: of a file its name and number."""

    @model_validator(mode="before")
    @classmethod
    def _of_bare_words(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @field_validator("text")
    @classmethod
    def _file_has_a_version(cls, text: str) -> str:
        if is_file(text) and not _FILE.fullmatch(text):
            raise ValueError("a prompt's file is called prompts/<name>.v<number>.txt")
        return text

    @property
    def is_read(self) -> bool:
        """Whether it holds the words themselves."""
        return not is_file(self.text)


def is_file(text: str) -> bool:
    """Whether a prompt's text is the name of a file."""
    return text.startswith(FOLDER) and len(text.split()) == 1


def read_prompt(prompt: Prompt, configs: Path) -> Prompt:
    """The prompt with its file's words; itself where it has its own. `configs`: the folder that
    file names begin at.

    Raises ValueError where there is no such file, or nothing to read in it.
    """
    named = _FILE.fullmatch(prompt.text)
    if named is None:
        return prompt
    path = configs / prompt.text
    if not path.is_file():
        there = ", ".join(sorted(one.name for one in path.parent.glob("*.txt"))) or "none"
        raise ValueError(f"there is no {path.name} in {configs.name}/{FOLDER} (there: {there})")
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is no UTF-8: save it as that") from error
    if not text:
        raise ValueError(f"{path.name} is empty: write the prompt into it")
    return Prompt(text=text, version=prompt.version or named[1])


def with_prompts(section: T, configs: Path) -> T:
    """The section with the words of all prompts that it names by file.

    Raises ValueError, with the field, where one cannot be read, or is none that the section takes.
    """
    read: dict[str, Prompt] = {}
    for name, value in section:
        if isinstance(value, Prompt):
            try:
                read[name] = read_prompt(value, configs)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    try:
        return type(section).model_validate({**dict(section), **read})
    except ValidationError as error:
        raise ValueError(explain(error, type(section))) from error
