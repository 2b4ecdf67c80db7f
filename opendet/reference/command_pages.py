"""The page about the commands: what `--help` says of each, in one place."""

import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from opendet.cli import app
from opendet.reference.field_words import type_words
from opendet.reference.markdown_text import code, escaped, link, page, table

_MARKUP = re.compile(r"\[cyan\](.*?)\[/cyan\]", re.DOTALL)


def commands_page() -> str:
    """docs/reference/commands.md."""
    found = list(commands())
    rows = [(link(name), escaped(_paragraphs(command)[0])) for name, command in found]
    return page(
        "The commands",
        "`--help` after any of them says the same. A mistake in the command line ends with exit "
        "code 2, anything else that you must mend with 1 and one line on stderr, Ctrl-C with 130.",
        table(("command", ""), rows),
        *(_command_text(name, command) for name, command in found),
    )


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, such as `opendet data build`."""
    yield from _below("opendet", get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word in sorted(inner):
        yield from _below(f"{name} {word}", inner[word])


def _command_text(name: str, command: Any) -> str:
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    arguments = [one for one in shown if not _is_option(one)]
    options = [one for one in shown if _is_option(one)]
    usage = " ".join([name, *map(_place, arguments), *(["[OPTIONS]"] if options else [])])
    rows = [(_flags(one), _held(one), _default(one), escaped(_help(one))) for one in shown]
    parts = [f"## {name}", f"    {usage}", *map(escaped, _paragraphs(command))]
    return "\n\n".join([*parts, table(("", "holds", "default", ""), rows)]).rstrip()


def _paragraphs(command: Any) -> list[str]:
    text = _MARKUP.sub(r"`\1`", command.help or "")
    return [" ".join(one.split()) for one in text.split("\n\n") if one.strip()]


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _place(argument: Any) -> str:
    several = argument.nargs == -1 and not _word(argument).endswith("...")
    word = _word(argument) + ("..." if several else "")
    return word if argument.required else f"[{word}]"


def _word(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _flags(parameter: Any) -> str:
    if not _is_option(parameter):
        return code(_word(parameter))
    return ", ".join(map(code, (*parameter.opts, *parameter.secondary_opts)))


def _held(parameter: Any) -> str:
    if getattr(parameter, "is_bool_flag", False):
        return "a switch"
    words = type_words(parameter.type_descriptor.annotation, {}).removesuffix(", or `null`")
    lowest, highest = parameter.min, parameter.max
    bounds = [f"≥ {lowest:g}"] if lowest is not None else []
    return " ".join([words, *bounds, *([f"≤ {highest:g}"] if highest is not None else [])])


def _default(parameter: Any) -> str:
    if parameter.required:
        return "**required**"
    default = parameter.default
    return "" if default in (None, "", False) else code("on" if default is True else str(default))


def _help(parameter: Any) -> str:
    return _MARKUP.sub(r"`\1`", parameter.help or "")
