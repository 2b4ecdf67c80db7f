"""What can be said of the Dockerfiles without Docker: what they copy, who runs, what is pinned.

They are built nowhere in these tests.
"""

import fnmatch
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = ("docker/Dockerfile", "docker/Dockerfile.cuda")
KNOWN = {"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "ENTRYPOINT", "CMD"}
PIP_CONF = "--mount=type=secret,id=pip,target=/etc/pip.conf,required=false"
"""Docker shows it to one instruction and keeps it in no layer."""
SECRET = re.compile(r"token|secret|passw|api[_-]?key|credential", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """One instruction; its lines joined."""

    word: str
    text: str


def steps(name: str) -> list[Step]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    split = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Step(word, " ".join(rest[0].split())) for word, *rest in split]


def last_stage(name: str) -> list[Step]:
    told = steps(name)
    begins = max(place for place, step in enumerate(told) if step.word == "FROM")
    return told[begins:]


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_instruction_is_one_that_is_meant(file: str) -> None:
    told = steps(file)
    assert {step.word for step in told} <= KNOWN, "no ADD, which fetches; no ARG, which is kept"
    assert told[0].word == "FROM"
    for step in told:
        assert not SECRET.search(step.text.replace(PIP_CONF, "")), step


def test_base_images_are_pinned_and_slim(file: str) -> None:
    for step in steps(file):
        if step.word == "FROM":
            assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm( AS \w+)?", step.text), step


def test_what_is_copied_is_there_and_not_ignored(file: str) -> None:
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in patterns if line.startswith("!")}
    copied = [step.text.split() for step in steps(file) if step.word == "COPY"]
    assert copied
    for words in copied:
        sources = [word for word in words[:-1] if not word.startswith("--")]
        if any(word.startswith("--from=") for word in words):
            continue
        for source in sources:
            name = source.removeprefix("./")
            assert (ROOT / name).exists(), name
            assert name in kept, f"{name} is ignored by .dockerignore"
            assert name not in (".", ".git", "datasets", ".dvc"), "nothing of a person's own"


def test_nothing_but_what_is_copied_is_sent() -> None:
    patterns = [one for one in (ROOT / ".dockerignore").read_text().splitlines() if one[:1] != "#"]
    assert patterns[0] == "*"
    sent = {one[1:] for one in patterns if one.startswith("!")}
    copied = {word for name in FILES for step in steps(name) for word in step.text.split()}
    assert sent <= {word.removeprefix("./") for word in copied}
    assert not any(fnmatch.fnmatch(name, one) for name in (".git", ".env") for one in sent)


def test_it_runs_as_nobody_of_importance(file: str) -> None:
    told = last_stage(file)
    users = [step.text for step in told if step.word == "USER"]
    assert users == ["opendet"]
    [made] = [step.text for step in told if "useradd" in step.text]
    assert "--uid 1000" in made
    assert "--shell /usr/sbin/nologin" in made
    after = told[[step.word for step in told].index("USER") :]
    assert not any(step.word in ("RUN", "COPY") for step in after), "all is in place before"
    assert "chmod 777" not in " ".join(step.text for step in told)


def test_versions_are_the_projects(file: str) -> None:
    [install] = [step.text for step in steps(file) if "pip install" in step.text]
    assert "-c constraints.txt" in install
    extras = re.search(r"\.\[([^]]+)\]", install)
    assert extras
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras[1].split(",")) <= set(known["optional-dependencies"]) - {"dev"}
    [apt] = [step.text for step in steps(file) if "apt-get install" in step.text]
    assert "--no-install-recommends" in apt
    assert "rm -rf /var/lib/apt/lists/*" in apt, "the lists would stay in the layer"
    assert "git" in apt.split()


def test_nothing_phones_home_and_all_is_kept_in_the_volume(file: str) -> None:
    told = last_stage(file)
    environment = " ".join(step.text for step in told if step.word == "ENV")
    for setting in (
        "DVC_NO_ANALYTICS=1",
        "RAY_USAGE_STATS_ENABLED=0",
        "HF_HUB_DISABLE_TELEMETRY=1",
        "WDS_SECURE=1",
    ):
        assert setting in environment.split()
    [volume] = [json.loads(step.text) for step in told if step.word == "VOLUME"]
    assert volume == ["/data"]
    assert [step.text for step in told if step.word == "WORKDIR"] == ["/data"]
    caches = re.findall(r"(?:HF_HOME|XDG_CACHE_HOME)=(\S+)", environment)
    assert all(cache.startswith("/data/") for cache in caches)
    assert len(caches) == 2
    [entry] = [json.loads(step.text) for step in told if step.word == "ENTRYPOINT"]
    assert entry == ["opendet"]


def test_every_package_is_there_when_it_is_installed(file: str) -> None:
    """What pip does not see is not in the image: the stages' programs are a package, too."""
    told = steps(file)
    install = next(place for place, step in enumerate(told) if "pip install" in step.text)
    seen = {word.removeprefix("./") for step in told[:install] for word in step.text.split()}
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {name.rstrip("*") for name in found["find"]["include"]} <= seen
    assert "PYTHONPATH" not in " ".join(step.text for step in told)


def test_the_two_differ_in_what_a_gpu_needs_alone() -> None:
    cpu, cuda = (steps(name) for name in FILES)
    differing = [(one, other) for one, other in zip(cpu, cuda, strict=True) if one != other]
    assert [(one.word, other.word) for one, other in differing] == [("ENV", "ENV")]
    [(one, other)] = differing
    assert set(other.text.split()) - set(one.text.split()) == {
        "NVIDIA_VISIBLE_DEVICES=all",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    }
