"""`python -m opendet.faults.mutants [MODULE ...]`: do the tests notice when the code is wrong?

mutmut changes one thing of a module at a time (a comparison, a number, an argument that is left
out) and runs the tests that reach it; a mutant that they all let pass survived. What commits,
writes and reads shards is mutated, each module under the tests that belong to it.

All of it happens in a copy of the tree, below `.opendet/mutants`, a folder for each state of a
module and its tests. Who stops a run and starts it again goes on where it was.
"""

import argparse
import ast
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from rich.console import Console

from opendet.console import dress_logging, exit_code_of, interrupt_on_sigterm
from opendet.faults.equivalent_mutants import why_equivalent
from opendet.faults.mutants_record import ModuleScore, Mutant, record

SUITES = {
    "opendet/curate/shards.py": ("tests/curate/test_shards.py",),
    "opendet/files.py": ("tests/test_disk_errors.py", "tests/test_files.py"),
    "opendet/intake.py": ("tests/curate/test_source_changes.py", "tests/test_intake.py"),
    "opendet/manifest.py": ("tests/test_manifest.py",),
    "opendet/parts.py": ("tests/test_parts.py",),
    "opendet/shard_check.py": ("tests/test_shard_check.py",),
    "opendet/shard_notes.py": ("tests/test_shard_notes.py", "tests/test_shard_set.py"),
    "opendet/shard_reader.py": ("tests/test_shard_reader.py",),
    "opendet/shard_set.py": ("tests/test_shard_notes.py", "tests/test_shard_set.py"),
    "opendet/shards.py": ("tests/test_shard_writer.py",),
    "opendet/work.py": ("tests/test_disk_errors.py", "tests/test_work.py"),
}
"""A module, and the quick tests that are its own."""
_COPIED = ("opendet", "tests", "pyproject.toml")
# Each mutant has 5 x (8 s + what its tests took at first). Its tests run in a fork of a process
# that has imported them and run none: no thread and no open file comes along. What a fuzzer finds
# by chance would be found on one day and not on another.
_SETTINGS = """\
[mutmut]
source_paths = opendet
only_mutate = {module}
pytest_add_cli_args_test_selection =
{tests}
pytest_add_cli_args =
    -m
    not slow and not gpu
    -k
    not fuzzed
    -p
    no:cacheprovider
process_isolation = forkserver
timeout_constant = 8.0
timeout_multiplier = 5.0
use_git_change_detection = false
use_setproctitle = false
"""
_KILLED, _TIMED_OUT = (1, 3), (-24, 24, 36, 152, 255)
"""mutmut's codes: by a test that failed, and by its limit (SIGXCPU)."""
_UNTESTED = 33


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m opendet.faults.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as opendet/files.py; default: all")
    parser.add_argument("--work", type=Path, default=Path(".opendet/mutants"), help="kept results")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the record lies")
    asked = parser.parse_args(arguments)
    unknown = [module for module in asked.modules if module not in SUITES]
    if unknown:
        raise ValueError(f"no tests for {', '.join(unknown)}; there are {', '.join(SUITES)}")
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for module in asked.modules or SUITES:
        folder = laid(Path(), module, SUITES[module], asked.work)
        mutate(folder)
        tested = ModuleScore(module, SUITES[module], tuple(mutants_in(folder, module)))
        record(asked.docs, tested, modules=SUITES)
        console.print(tested.line())
        for mutant in tested.survivors:
            console.print(f"  {mutant.function}: {mutant.before} -> {mutant.after}")
    return 0


def laid(root: Path, module: str, tests: Sequence[str], work: Path) -> Path:
    """The folder of a module and its tests as they are now, with a copy of the tree."""
    listed = "\n".join(f"    {test}" for test in tests)
    told = _SETTINGS.format(module=module, tests=listed)
    digest = hashlib.sha256(told.encode())
    for name in (module, *tests):
        digest.update((root / name).read_bytes())
    name = module.removesuffix(".py").replace("/", ".")
    folder = work / f"{name}-{digest.hexdigest()[:16]}"
    settings = folder / "setup.cfg"
    if not settings.exists():  # written last: without it the copy may be a part
        for copied in _COPIED:
            if (root / copied).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(root / copied, folder / copied, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy2(root / copied, folder / copied)
        settings.write_text(told)
    return folder


def mutate(folder: Path) -> None:
    """Run the mutants that have no result yet. Raises ValueError where it cannot be done."""
    program = shutil.which("mutmut", path=Path(sys.executable).parent) or shutil.which("mutmut")
    if program is None:
        raise ValueError("mutmut is not installed: pip install mutmut")
    with (folder / "log").open("ab") as log:
        ran = subprocess.run(
            [program, "run", "--max-children", "1"],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if ran.returncode:
        raise ValueError(f"mutmut ended with code {ran.returncode}: see {folder / 'log'}")


@dataclass(frozen=True, slots=True)
class _Functions:
    """The mutated file: each function as it was, and as each of its mutants is."""

    by_name: dict[str, list[str]]
    """Name -> lines, all written in the one way that `ast` has."""

    @classmethod
    def of(cls, path: Path) -> "_Functions":
        found = {}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name:
                name = node.name
                node.name = name.rpartition("__mutmut_")[0]
                found[name] = [line.strip() for line in ast.unparse(node).splitlines()]
        return cls(found)

    def change(self, name: str) -> tuple[str, str]:
        """What stands where the two differ: in the function, and in its mutant."""
        before = self.by_name[f"{name.rpartition('__mutmut_')[0]}__mutmut_orig"]
        after = self.by_name[name]
        found = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        unlike = [place for tag, *place in found if tag != "equal"]
        return (
            " / ".join(line for start, end, _, _ in unlike for line in before[start:end]),
            " / ".join(line for _, _, start, end in unlike for line in after[start:end]),
        )


def mutants_in(folder: Path, module: str) -> Iterator[Mutant]:
    """What mutmut wrote of each mutant."""
    mutated = folder / "mutants" / module
    told = json.loads(mutated.with_name(f"{mutated.name}.meta").read_text())
    functions = _Functions.of(mutated)
    for key, code in told["exit_code_by_key"].items():
        name = key.rpartition(".")[2]
        function = ".".join(_names(name.rpartition("__mutmut_")[0]))
        before, after = functions.change(name)
        fate = _fate(code)
        why = why_equivalent(module, function, after) if fate in ("survived", "untested") else ""
        yield Mutant(function, before, after, "equivalent" if why else fate, why)


def _names(mangled: str) -> Iterable[str]:
    """`x_function` and `xǁClassǁmethod` are mutmut's."""
    return mangled.split("ǁ")[1:] if "ǁ" in mangled else [mangled.removeprefix("x_")]


def _fate(code: int | None) -> str:
    if code in _KILLED:
        return "killed"
    if code in _TIMED_OUT:
        return "timed out"
    if code == _UNTESTED:
        return "untested"
    return "survived" if code == 0 else "not tried"


if __name__ == "__main__":
    dress_logging()
    interrupt_on_sigterm()
    sys.exit(exit_code_of(main))
