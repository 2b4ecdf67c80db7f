"""A token in the environment is in no file that a build writes, and in nothing that it says."""

from pathlib import Path

import pytest
from cli_world import COCO, make_project, run_cli, write_pictures

SECRET = "s3cr3t-4711-of-the-environment"
NAMES = (
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_KEY", "OPENAI_API_KEY", "WANDB_API_KEY"),
    *("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "DVC_STUDIO_TOKEN", "PIP_INDEX_URL"),
)
COMMANDS = (
    ("doctor",),
    ("data", "build", "source", "caption", "regions", "describe"),
    ("data", "stats"),
    ("data", "card"),
    ("data", "build", "verify"),  # fails: the stages before it are not built
    ("inspect", "datasets/tiny/regions", "--html", "pages"),
)


def test_no_file_and_no_line_holds_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, f"{SECRET}-{name}")
    project = make_project(tmp_path / "project", COCO)
    write_pictures(project)
    codes = []
    for command in COMMANDS:
        ended = run_cli(project, *command)
        assert SECRET not in ended.out + ended.err
        codes.append(ended.code)
    assert codes == [0, 0, 0, 0, 1, 0]
    files = [path for path in project.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 20
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_what_a_variable_of_the_card_holds_is_in_no_file(tmp_path: Path) -> None:
    """A source card may name variables of the environment: their values stay out."""
    project = make_project(tmp_path / "project", {**COCO, "root": "${PICTURES_OF_MINE}"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PICTURES_OF_MINE", str(tmp_path / SECRET / "pictures"))
        (tmp_path / SECRET).mkdir()
        write_pictures(tmp_path / SECRET)
        ended = run_cli(project, "data", "build", "source", "caption")
    assert ended.code == 0, ended.err
    files = [path for path in project.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
