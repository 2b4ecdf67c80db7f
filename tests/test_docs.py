"""What the pages for people say is so: each command, option, key, file and link is there.

The reference pages are compared with the code in tests/reference/; troubleshooting's errors in
tests/test_troubleshooting.py.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from doc_lines import ROOT, Said, commands_of, links, shell_lines, spans, words_of, yaml_blocks
from pydantic import BaseModel, ValidationError
from typer._click.exceptions import UsageError
from typer.main import get_command

from opendet.cli import app
from opendet.config import Config
from opendet.reference.markdown_text import anchor
from opendet.section import explain
from opendet.sources.card import SourceCard
from opendet.vl_sam.config import VlSamConfig

EXAMPLES = {"mine", "cells", "summer", "spring", "my-photos", "photos"}
"""Builds and files of the reader's own."""
FOLDERS = ("configs", "docs", "docker", "examples", "opendet", "pipelines", "tests", "datasets")
SECTIONS = tuple(Config.model_fields)
METRIC = re.compile(r"(filter|evaluate|shards|train|prototypes|verify)\.[a-z_.0-9]+")
BUILDS = {path.stem for path in (ROOT / "configs").glob("*.yaml")}


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the words after it."""
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("said", commands_of("opendet"), ids=str)
def test_opendet_takes_the_command_line(said: Said) -> None:
    command, words = resolved(shlex.split(said.text))
    assert not hasattr(command, "commands") or words in ([], ["--help"], ["--version"]), said
    if words not in (["--help"], ["--version"]) and not hasattr(command, "commands"):
        assert_parsed(command, words)


def assert_parsed(command: Any, words: list[str]) -> None:
    """Parsed and not run. A file of the reader's own is not here, and nothing else may be wrong."""
    try:
        command.make_context("opendet", list(words))
    except UsageError as error:
        if not error.message.endswith("does not exist."):
            raise


def test_commands_within_a_line_are_there() -> None:
    for said in spans():
        if said.text.startswith("opendet "):
            [words, *_] = words_of(said.text)
            command, rest = resolved(words[1:])
            if hasattr(command, "commands"):
                assert not rest or rest[0].startswith("-"), f"{said}: no such command"
            known = {flag for one in command.params for flag in one.opts}
            flags = {word.split("=")[0] for word in rest if word.startswith("--")}
            assert flags <= known | {"--help", "--version"}, f"{said}: {flags - known}"


@pytest.mark.parametrize("said", commands_of("dvc"), ids=str)
def test_dvc_takes_the_command_line(said: Said) -> None:
    from dvc.cli.parser import get_main_parser

    told = get_main_parser().parse_args(shlex.split(said.text))
    for override in getattr(told, "set_param", None) or ():
        assert_override(override)


def assert_override(override: str) -> None:
    """A key of a configuration, or of params.yaml, and values that it may have."""
    file, _, assignment = override.rpartition(":") if ":" in override else ("", "", override)
    key, _, text = assignment.partition("=")
    if not file:
        assert key == "build", override
        assert text in BUILDS, override
        return
    given = yaml.safe_load((ROOT / file).read_text())
    if not key.startswith("+"):
        assert at(given, key.split(".")) is not None, f"{override}: not in the file, so ++ it"
    values = [text] if text.startswith("[") else text.split(",")
    for value in values:
        changed = put(given, key.lstrip("+").split("."), yaml.safe_load(value))
        Config.model_validate(changed)


def at(given: Any, path: list[str]) -> Any:
    for step in path:
        given = given.get(step) if isinstance(given, dict) else None
    return given


def put(given: Any, path: list[str], value: Any) -> dict[str, Any]:
    own = dict(given or {})
    own[path[0]] = put(own.get(path[0]), path[1:], value) if path[1:] else value
    return own


def test_other_programs_of_the_project_are_there() -> None:
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    for said in shell_lines():
        for words in words_of(said.text):
            if words[0] == "make":
                names = {word for word in words[1:] if "=" not in word}
                assert names <= set(targets[1].split()), str(said)
            if "-m" in words and words[0] in ("python", "torchrun"):
                module = words[words.index("-m") + 1]
                assert module_is_there(module), str(said)


def module_is_there(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    outside = module.split(".")[0] not in ("opendet", "pipelines")
    return outside or path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize("said", list(yaml_blocks()), ids=lambda said: said.page)
def test_yaml_is_what_the_code_takes(said: Said) -> None:
    block = yaml.safe_load(said.text)
    assert isinstance(block, dict), said.text
    if set(block) <= set(SECTIONS):
        assert_sections(block, said)
    else:
        owner = SourceCard if "batches" in block or "format" in block else VlSamConfig
        owner.model_validate(block)


def assert_sections(block: dict[str, Any], said: Said) -> None:
    """Each section by itself: what two of them must agree on is not all in an excerpt."""
    for name, value in block.items():
        section = Config.model_fields[name].annotation
        assert section is not None
        try:
            section.model_validate(value)
        except ValidationError as error:
            pytest.fail(f"{said.page}: {name}: {explain(error, Config)}")


def test_keys_within_a_line_are_there() -> None:
    for said in spans():
        if re.match(rf"({'|'.join(SECTIONS)}): ", said.text):
            block = yaml.safe_load(said.text)
            if isinstance(block, dict) and all(isinstance(one, dict) for one in block.values()):
                assert_sections(block, said)
        found = re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)+)(: .+)?", said.text)
        if found and found[1].split(".")[0] in SECTIONS and not is_file(found[1]):
            key = found[1].split(".")
            assert is_key(Config, key) or METRIC.fullmatch(found[1]), f"{said}: no such key"


def is_key(section: Any, path: list[str]) -> bool:
    """Whether a dotted path leads to a key, through any of the sections that a field may hold."""
    if not path:
        return True
    field = section.model_fields.get(path[0])
    if field is None:
        return False
    return not path[1:] or any(is_key(inner, path[1:]) for inner in sections_in(field.annotation))


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inner = getattr(annotation, "__args__", ())
    return [section for one in inner for section in sections_in(one)]


def is_file(name: str) -> bool:
    return Path(name).suffix in (".py", ".md", ".yaml", ".json", ".parquet", ".csv", ".txt")


def test_files_named_are_there() -> None:
    for said in (*spans(), *shell_lines()):
        for word in re.findall(r"[\w./<>*{}$:=-]+", said.text):
            path = word.rpartition("=")[2].split(":")[0]
            if path.split("/")[0] in FOLDERS and "/" in path and not placeholder(path):
                assert (ROOT / path.rstrip("./")).exists(), f"{said}: no file {path}"


def placeholder(path: str) -> bool:
    """A path of the reader's own, with a blank in it, or one that a build makes."""
    steps = Path(path).parts
    own = {step.split(".")[0] for step in steps} & EXAMPLES
    made = steps[0] == "datasets" and len(steps) > 1 and (steps[1] in BUILDS | {"label_value"})
    return (
        bool(own) or made or any(sign in path for sign in "<>*{}$") or path == "configs/names.txt"
    )


@pytest.mark.parametrize("said", list(links()), ids=str)
def test_links_lead_somewhere(said: Said) -> None:
    target, _, place = said.text.partition("#")
    path = (ROOT / said.page).parent / target if target else ROOT / said.page
    assert path.exists(), str(said)
    if place:
        headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
        assert place in {anchor(heading) for heading in headings}, str(said)


def test_builds_named_are_there() -> None:
    for said in commands_of("opendet"):
        words = shlex.split(said.text)
        if "--build" in words:
            assert words[words.index("--build") + 1] in BUILDS | EXAMPLES, str(said)


def test_prototypes_name_with_a_model_that_has_some() -> None:
    """Any other is refused, the demo's too."""
    told = commands_of("opendet")
    asked = [shlex.split(one.text) for one in told if "--namer prototypes" in one.text]
    assert asked
    for words in asked:
        assert "--build" in words, words
        config = yaml.safe_load(
            (ROOT / "configs" / f"{words[words.index('--build') + 1]}.yaml").read_text()
        )
        assert config["detector"]["semantics"] == "prototypes", words


def test_what_comes_back_is_what_was_exported() -> None:
    exported: set[tuple[str, str]] = set()
    for said in commands_of("opendet"):
        words = shlex.split(said.text)
        if words[:2] == ["data", "export"] and len(words) > 3:
            exported.add((said.page, words[3]))
        if words[:2] == ["data", "correct"] and "/" in words[2]:
            assert (said.page, words[2].split("/")[0]) in exported, str(said)


def test_after_make_demo_the_environment_is_entered() -> None:
    """`make` puts opendet and dvc into .venv, where a shell does not look by itself."""
    for page in sorted((ROOT / "docs" / "guides").glob("*.md")):
        for block in re.findall(r"(?:^    .+\n)+", page.read_text(), re.MULTILINE):
            if "make demo" in block and ("opendet " in block or "dvc " in block):
                assert ". .venv/bin/activate" in block, page.name
