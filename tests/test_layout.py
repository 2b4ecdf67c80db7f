"""The layout keeps its promises."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from opendet.fingerprint import library_files

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = sorted(
    path.stem for path in (ROOT / "pipelines").glob("*.py") if path.stem != "__init__"
)
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
RUNS_STAGES = ("actors", "build", "flow", "shard_run", "work")


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.split("\0") if name]


def test_datasets_holds_no_python() -> None:
    """A package of that name would shadow the Hugging Face library."""
    assert tracked("datasets/*.py") == []
    assert not list((ROOT / "datasets").rglob("*.py"))


def test_an_installed_library_called_datasets_still_imports(tmp_path: Path) -> None:
    """From the project's root, where a folder of that name lies."""
    library = tmp_path / "datasets"
    library.mkdir()
    (library / "__init__.py").write_text("load_dataset = 'theirs'\n")
    code = (
        f"import sys; sys.path.insert(1, {str(tmp_path)!r})\n"
        "import datasets; print(datasets.load_dataset)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "theirs\n", ran.stderr


def test_the_wheel_holds_the_library_and_the_stages_programs(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "opendet",
        "pipelines",
    }
    assert "opendet/py.typed" in names
    assert "opendet/evaluation/templates/report.html.j2" in names
    assert {name for name in names if name.endswith(".py")} == {
        path.relative_to(ROOT).as_posix()
        for package in ("opendet", "pipelines")
        for path in (ROOT / package).rglob("*.py")
    }


@pytest.mark.parametrize("stage", STAGES)
def test_one_word_names_stage_program_module_section_and_folder(stage: str) -> None:
    from opendet.config import Config

    assert stage in PROGRAMS
    assert STAGES[stage]["cmd"] == f"python -m pipelines.{stage} --build ${{build}}"
    assert STAGES[stage]["outs"] == [f"datasets/${{build}}/{stage}"]
    assert stage in Config.model_fields
    [sections] = [files[name] for files in STAGES[stage]["params"] for name in files]
    assert stage in sections
    if stage not in ("train", "evaluate", "report"):
        assert (ROOT / "opendet" / "curate" / f"{stage}.py").is_file()


def test_every_program_is_a_stage() -> None:
    assert set(PROGRAMS) == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_every_library_file_that_the_stage_imports(stage: str) -> None:
    deps = [ROOT / name for name in STAGES[stage]["deps"] if "${" not in name]
    assert all(path.exists() for path in deps)
    needed = library_files(stage) | {ROOT / "opendet" / f"{name}.py" for name in RUNS_STAGES}
    missing = sorted(
        path.relative_to(ROOT).as_posix()
        for path in needed
        if path.name != "__init__.py"
        and not any(path == dep or dep in path.parents for dep in deps)
    )
    assert missing == []
    assert ROOT / "pipelines" / f"{stage}.py" in deps


def test_programs_are_sentences() -> None:
    for name in PROGRAMS:
        lines = (ROOT / "pipelines" / f"{name}.py").read_text().splitlines()
        assert len(lines) <= 70, f"pipelines/{name}.py has {len(lines)} lines: move its logic away"


def test_no_large_file_and_no_path_of_a_machine_in_git() -> None:
    large = [name for name in tracked() if (ROOT / name).stat().st_size > 1_000_000]
    assert large == []
    pattern = re.compile(r"(?<![A-Za-z0-9_.])/(?:home|root|work|Users)/[a-z]")
    told = [
        name
        for name in tracked("*.py", "*.md", "*.yaml", "*.toml", "*.txt", "Makefile")
        if name != "tests/test_layout.py" and pattern.search((ROOT / name).read_text())
    ]
    assert told == []
