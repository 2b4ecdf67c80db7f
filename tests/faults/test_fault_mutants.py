"""Mutation testing: what is counted, what is told of it, and that a copy alone is mutated."""

import json
from pathlib import Path

import pytest

from opendet.faults import equivalent_mutants, mutants, mutants_record
from opendet.faults.equivalent_mutants import Equivalent
from opendet.faults.mutants import laid, mutants_in, mutate
from opendet.faults.mutants_record import ModuleScore, Mutant, record, section, with_section

CODE = '''\
"""A toy."""


def larger(first: int, second: int) -> int:
    if first > second:
        return first
    return second


def unreached() -> int:
    return 1


class Counter:
    def next(self, number: int) -> int:
        return number + 1
'''
TESTS = """\
from opendet.toy import Counter, larger


def test_larger() -> None:
    assert (larger(1, 2), larger(2, 1), Counter().next(1)) == (2, 2, 2)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A tree of one module and its test."""
    for name, text in {
        "opendet/__init__.py": "",
        "opendet/toy.py": CODE,
        "tests/test_toy.py": TESTS,
        "pyproject.toml": '[tool.pytest.ini_options]\nmarkers = ["slow: x", "gpu: x"]\n',
    }.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)
    return tmp_path / "tree"


def test_a_state_of_a_module_and_its_tests_has_a_folder(toy: Path, tmp_path: Path) -> None:
    def folder() -> Path:
        return laid(toy, "opendet/toy.py", ("tests/test_toy.py",), tmp_path / "work")

    first = folder()
    assert first.parent == tmp_path / "work"
    assert first.name.startswith("opendet.toy-")
    assert (first / "opendet" / "toy.py").read_text() == CODE
    (first / "kept").write_text("")
    assert folder() == first
    assert (first / "kept").exists()
    (toy / "tests" / "test_toy.py").write_text(TESTS + "\n# more\n")
    assert folder() != first


@pytest.mark.slow
def test_mutants_of_a_toy(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    why = Equivalent("opendet/toy.py", "larger", "first >= second", "equal numbers are the same")
    monkeypatch.setattr(equivalent_mutants, "EQUIVALENT", (why,))
    folder = laid(toy, "opendet/toy.py", ("tests/test_toy.py",), tmp_path / "work")
    mutate(folder)
    found = {(one.function, one.after): one for one in mutants_in(folder, "opendet/toy.py")}
    equal = found.pop(("larger", "if first >= second:"))
    assert (equal.before, equal.fate) == ("if first > second:", "equivalent")
    assert equal.why == "equal numbers are the same"
    assert {key: one.fate for key, one in found.items()} == {
        ("Counter.next", "return number - 1"): "killed",
        ("Counter.next", "return number + 2"): "killed",
        ("unreached", "return 2"): "untested",
    }
    assert (toy / "opendet" / "toy.py").read_text() == CODE
    (toy / "opendet" / "toy.py").write_text(CODE.replace("Counter", "Counted"))
    with pytest.raises(ValueError, match="mutmut ended with code"):
        mutate(laid(toy, "opendet/toy.py", ("tests/test_toy.py",), tmp_path / "work"))


def of_fates(*fates: str) -> ModuleScore:
    each = (Mutant("f", "a", "b", fate, "so" * (fate == "equivalent")) for fate in fates)
    return ModuleScore("opendet/x.py", ("tests/test_x.py",), tuple(each))


def test_the_score_leaves_equivalent_mutants_out() -> None:
    some = of_fates("killed", "timed out", "survived", "untested", "equivalent", "not tried")
    assert (some.killed, len(some.survivors), some.score) == (2, 3, 0.4)
    assert "6 mutants, 2 killed, 1 equivalent, 3 survived: 40.0%" in some.line()
    assert of_fates("killed", "equivalent").score == 1
    assert of_fates().score == 0


def test_a_module_takes_the_place_of_what_was_told_of_it(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text("# What\n\n## Promised\n\nAll.\n\n## Not promised\n\nNothing.\n")
    record(tmp_path, of_fates("killed", "survived"))
    record(tmp_path, ModuleScore("opendet/a.py", ("tests/test_a.py",), of_fates("killed").mutants))
    record(tmp_path, of_fates("killed", "killed", "equivalent"))
    rows = json.loads((tmp_path / "mutants.json").read_text())
    assert [row["module"] for row in rows] == ["opendet/a.py", "opendet/x.py"]
    assert rows[1]["survived"] == []
    told = {"function": "f", "before": "a", "after": "b", "fate": "equivalent", "why": "so"}
    assert rows[1]["equivalent"] == [told]
    text = page.read_text()
    assert text.count(mutants_record.TITLE) == 1
    assert "| `opendet/x.py` | 3 | 2 | 0 | 1 | 100.0% |" in text
    assert text.startswith("# What\n\n## Promised\n\nAll.\n\n## Mutation testing\n")
    assert text.endswith(f"{section(rows)}\n## Not promised\n\nNothing.\n")
    assert with_section(text, section(rows)) == text
    record(tmp_path, of_fates("killed"), modules=("opendet/x.py", "opendet/z.py"))
    text = page.read_text()
    assert "| `opendet/z.py` | | | | | not run yet | |\n" in text
    assert text.count("`opendet/x.py`") == 1


def test_a_module_without_tests_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"no tests for opendet/gone\.py; there are opendet/"):
        mutants.main(["opendet/gone.py"])


def test_what_is_named_is_there() -> None:
    root = Path(__file__).resolve().parents[2]
    for module, tests in mutants.SUITES.items():
        for name in (module, *tests):
            assert (root / name).is_file(), name
    for one in equivalent_mutants.EQUIVALENT:
        assert one.module in mutants.SUITES
        assert f"def {one.function.rpartition('.')[2]}(" in (root / one.module).read_text()
