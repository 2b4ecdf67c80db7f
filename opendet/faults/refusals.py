"""How a reader says no: in one line, which names the file."""

from collections.abc import Callable


def wrong_of(error: ValueError, *names: object) -> str:
    """What is wrong with what a reader said; empty where it is one line with one of these names:
    those of the file and of its folder. Without any it need name none, as a reader of bytes."""
    said = str(error)
    if len(said.splitlines()) != 1:
        return f"it said {said[:200]!r}"
    if names and not any(str(name) in said for name in names):
        return f"it named no file: {said[:200]}"
    return ""


def refused(read: Callable[[], object], *names: object) -> str:
    """What is wrong with how a reader refuses something; empty where it says so as it must."""
    try:
        read()
    except ValueError as error:
        return wrong_of(error, *names)
    except Exception as error:  # a crash is what this looks for
        return f"{type(error).__name__}: {error}"[:200]
    return "it was taken"
