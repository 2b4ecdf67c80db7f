"""Tokens in the environment of a build, looked for in all that it writes and says.

On Ray, whose own logs are looked through too; and with a served model that needs its key and
cannot be reached, for errors like to tell of what they were asked with.
"""

import base64
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.toy_project import BUILD, CONFIG, make_training_project, run_opendet

VARIABLES = (
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "OPENDET_SERVER_KEY"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WANDB_API_KEY"),
)
SERVED: dict[str, Any] = {
    "annotator": "served",
    "served": {
        "address": "http://127.0.0.1:9/v1",  # where nobody listens
        "model": "m",
        "api_key_variable": "OPENDET_SERVER_KEY",
        "connect_timeout_s": 1,
        "retries": 0,
        "give_up_after": 1,
    },
}
COMMANDS = (
    ("data", "build", "--until", "train", "--actors", "1"),
    ("report",),
    ("data", "stats", "--json"),
    ("data", "verify"),
    ("data", "why", "b-0"),
    ("data", "card", "--out", "card"),
    ("inspect", f"datasets/{BUILD}", "--html", "pages", "--processes", "0"),
    ("model", "card", f"datasets/{BUILD}/train/model", "--out", "model-card"),
    ("doctor",),
)


def tokens_stay(effort: Effort) -> Shown:
    """A try is a token and a way to write it down; a hit names the file or the command."""
    tokens = {name: f"hf_{secrets.token_urlsafe(30)}" for name in VARIABLES}
    project, said = _used(effort.folder / "p", tokens)
    places = {**said, **_files(project)}
    tally, megabytes = Tally(), sum(map(len, places.values())) / 1e6
    for name, token in tokens.items():
        for form in _forms(token):
            hits = [place for place, content in places.items() if form in content]
            tally.add(f"{name} is in {', '.join(hits[:3])}" if hits else "")
    return tally.shown(
        f"{len(VARIABLES)} tokens in 4 spellings, {len(said)} commands, {len(places) - len(said)} "
        f"files of {megabytes:.1f} MB: {tally.tries - tally.good} hits"
    )


def _used(root: Path, tokens: Mapping[str, str]) -> tuple[Path, dict[str, bytes]]:
    """A project whose commands have run with the tokens; what each said."""
    project = make_training_project(root)
    ray = root / "r"  # short: a socket's path has a hundred characters
    ray.mkdir()
    environment = {**tokens, "RAY_TMPDIR": str(ray)}
    said = {}
    for arguments in COMMANDS:
        ended = run_opendet(project, *arguments, **environment)
        assert ended.code == 0, f"{' '.join(arguments)}: {ended.said[-200:]}"
        said[f"`{' '.join(arguments)}`"] = ended.said.encode()
    (project / "configs" / f"{BUILD}.yaml").write_text(
        yaml.safe_dump({**CONFIG, "caption": SERVED})
    )
    ended = run_opendet(project, "data", "build", "caption", **environment)
    assert ended.code, "a server that nobody reaches must end the stage"
    said["a server out of reach"] = ended.said.encode()
    return project, said


def _files(folder: Path) -> dict[str, bytes]:
    """Every regular file below it, Ray's sockets left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _forms(token: str) -> Iterator[bytes]:
    """As it is, and in the base64 of a longer text, wherever it begins there."""
    yield token.encode()
    for before in range(3):
        coded = base64.b64encode(b":" * before + token.encode())
        yield coded[4 if before else 0 : -4]
