"""A model by its folder or by its name on the Hugging Face hub."""

import re
from pathlib import Path

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""owner/name"""


def resolve_model(name_or_folder: str, revision: str | None = None) -> Path:
    """The folder of a model; one of the hub is fetched first, unless it is in the hub's cache.

    `revision` is a branch, a tag or a commit of the hub; a commit pins the bytes. Raises
    ValueError, in one line, where there is no such model and where the hub cannot be reached.
    """
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        if revision:
            raise ValueError(
                f"{name_or_folder} is a folder, which has no revisions: leave revision out"
            )
        return folder
    if folder.exists():
        raise ValueError(f"{name_or_folder} is a file: name the model's folder, or owner/name")
    if not _HUB_NAME.fullmatch(name_or_folder):
        raise ValueError(
            f"there is no model {name_or_folder!r}: name a model's folder, or owner/name on the "
            "Hugging Face hub"
        )
    return _fetch(name_or_folder, revision)


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    from opendet.hub.model_files import MODEL_CARD, MODEL_FILES

    wanted = [*MODEL_FILES, MODEL_CARD]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except RevisionNotFoundError as error:
        raise ValueError(
            f"{name} has no revision {revision!r} on the hub: name a branch, a tag or a commit"
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"the hub has no model {name}, or none that you may see: look for a folder of that "
            "name, or log in with `hf auth login`"
        ) from error
    except Exception as error:  # whatever a hub out of reach raises: its libraries share no base
        at = f" at {revision}" if revision else ""
        raise ValueError(
            f"{name}{at} could not be fetched ({_first_line(error)}), and the hub's cache has not "
            "all of it: fetch it once with a network (`hf download`), or name a model's folder"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
