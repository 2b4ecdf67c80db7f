"""What our code never does, looked for in its syntax: each rule is shown code that breaks it."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("opendet", "pipelines", "examples")
    for path in (ROOT / folder).rglob("*.py")
)
Rule = Callable[[ast.AST], bool]


def _name(node: ast.AST) -> str:
    """`a.b.c` of a name or an attribute; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _called(node: ast.AST) -> str:
    return _name(node.func) if isinstance(node, ast.Call) else ""


def _keyword(node: ast.AST, name: str) -> ast.expr | None:
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return next((one.value for one in keywords if one.arg == name), None)


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _said(node: ast.AST, name: str) -> list[ast.expr]:
    """Values given to `name`, as a keyword of a call or in a dict for one."""
    if isinstance(node, ast.Dict):
        return [
            value
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and key.value == name
        ]
    given = _keyword(node, name)
    return [given] if given is not None else []


def _imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    return {(node.module or "").split(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def unpacks_whole_archives(node: ast.AST) -> bool:
    return _called(node).split(".")[-1] in ("extractall", "unpack_archive")


def unpickles(node: ast.AST) -> bool:
    readers = {"load", "loads", "Unpickler", "_Unpickler"}
    if isinstance(node, ast.ImportFrom) and _imported(node) & {"pickle", "_pickle"}:
        return bool({alias.name for alias in node.names} & readers)
    named = isinstance(node, ast.Attribute) and _name(node) in {f"pickle.{one}" for one in readers}
    return named or bool(_imported(node) & {"_pickle", "marshal", "shelve", "dill", "cloudpickle"})


def loads_torch_pickles(node: ast.AST) -> bool:
    called = _called(node)
    unsafe = called == "torch.load" and not _is(_keyword(node, "weights_only"), True)
    return unsafe or called.startswith("torch.hub.") or called == "joblib.load"


def allows_pickle(node: ast.AST) -> bool:
    reads = not _called(node).endswith(".save")  # the fault suite writes what nobody may read
    return reads and any(not _is(value, False) for value in _said(node, "allow_pickle"))


def reads_yaml_elsewhere(node: ast.AST) -> bool:
    names = ("load", "load_all", "full_load", "unsafe_load", "full_load_all", "unsafe_load_all")
    return _called(node) in {f"yaml.{name}" for name in names}


def runs_text(node: ast.AST) -> bool:
    return _called(node) in ("eval", "exec", "compile", "__import__")


def asks_a_shell(node: ast.AST) -> bool:
    called = _called(node)
    shell = any(not _is(value, False) for value in _said(node, "shell"))
    return shell or called in ("os.system", "os.popen") or called.startswith("os.spawn")


def trusts_remote_code(node: ast.AST) -> bool:
    return any(not _is(value, False) for value in _said(node, "trust_remote_code"))


def loads_other_weights(node: ast.AST) -> bool:
    """A model's `from_pretrained` that would take a pickle where there are no safetensors; so would
    one that is called by another name."""
    if isinstance(node, ast.AnnAssign | ast.Assign) and node.value:
        return _name(node.value).endswith(".from_pretrained")
    owner, _, method = _called(node).rpartition(".")
    if method != "from_pretrained" or owner in ("OpenDet", "T5Namer"):
        return False
    weightless = owner.endswith(("Config", "Tokenizer", "Processor", "processor_class"))
    return not weightless and not _is(_keyword(node, "use_safetensors"), True)


def believes_any_server(node: ast.AST) -> bool:
    called = _called(node)
    return _is(_keyword(node, "verify"), False) or called.endswith("_create_unverified_context")


def listens_everywhere(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == "0.0.0.0"


def leaves_html_unescaped(node: ast.AST) -> bool:
    escaped = _keyword(node, "autoescape")
    return _called(node).endswith("Environment") and not _is(escaped, True)


def calls_text_markup(node: ast.AST) -> bool:
    return _called(node).endswith("Markup")


RULES: dict[Rule, tuple[str, ...]] = {
    unpacks_whole_archives: (),
    # A reader that lets a pickle name nothing but plain data: tests/sources/test_plain_pickle.py.
    unpickles: ("opendet/sources/plain_pickle.py",),
    loads_torch_pickles: (),
    allows_pickle: (),
    # By a loader that is a SafeLoader: below.
    reads_yaml_elsewhere: ("opendet/yaml_file.py",),
    runs_text: (),
    asks_a_shell: (),
    # An attack: a model whose own configuration asks for it.
    trusts_remote_code: ("opendet/faults/malicious_valid.py",),
    loads_other_weights: (),
    believes_any_server: (),
    listens_everywhere: (),
    leaves_html_unescaped: (),
    # The style, which is ours.
    calls_text_markup: ("opendet/evaluation/report.py",),
}
"""A rule, and the files that it does not hold for."""

BREAKS: dict[Rule, str] = {
    unpacks_whole_archives: "tarfile.open(path).extractall(folder)",
    unpickles: "from pickle import loads",
    loads_torch_pickles: "torch.load(path, map_location='cpu')",
    allows_pickle: "np.load(path, allow_pickle=True)",
    reads_yaml_elsewhere: "yaml.load(text, yaml.SafeLoader)",
    runs_text: "eval(text)",
    asks_a_shell: "subprocess.run(command, shell=True)",
    trusts_remote_code: "where = {'trust_remote_code': config.trust}",
    loads_other_weights: "AutoModel.from_pretrained(path, trust_remote_code=False)",
    believes_any_server: "httpx.get(address, verify=False)",
    listens_everywhere: "server = HTTPServer(('0.0.0.0', 80), Handler)",
    leaves_html_unescaped: "jinja2.Environment(loader=loader)",
    calls_text_markup: "Markup(caption)",
}


LOOKED_AT = (
    *(ast.Call, ast.Dict, ast.Constant, ast.Import, ast.ImportFrom),
    *(ast.Assign, ast.AnnAssign, ast.Attribute),
)


def broken_in(source: str) -> Iterator[tuple[Rule, int]]:
    """The rules that some code breaks, each with the line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, LOOKED_AT):
            yield from ((rule, node.lineno) for rule in RULES if rule(node))


@pytest.fixture(scope="module")
def broken() -> set[tuple[Rule, str, int]]:
    """Each rule that is broken, with the file and the line."""
    return {
        (rule, path.relative_to(ROOT).as_posix(), line)
        for path in SOURCES
        for rule, line in broken_in(path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_nowhere_in_our_code(broken: set[tuple[Rule, str, int]], rule: Rule) -> None:
    own = [(name, line) for one, name, line in broken if one is rule]
    assert [place for place in own if place[0] not in RULES[rule]] == []
    assert {name for name, _ in own} == set(RULES[rule])  # no exception that nobody needs


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_sees_what_it_forbids(rule: Rule) -> None:
    assert (rule, 1) in set(broken_in(BREAKS[rule]))


def test_the_one_reader_of_yaml_makes_plain_values_only() -> None:
    import yaml

    from opendet.yaml_file import _KeysOnce

    assert issubclass(_KeysOnce, yaml.SafeLoader)


def test_no_template_lets_data_pass_as_markup() -> None:
    """`| safe` follows a literal of ours, and autoescape is never switched off."""
    templates = sorted((ROOT / "opendet").rglob("*.j2"))
    assert templates
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"autoescape\s+false", text), path.name
        for before in re.findall(r"(\S+)\s*\|\s*safe\b", text):
            assert before.endswith("'"), f"{path.name}: {before} | safe"


def test_no_script_of_a_page_makes_markup_of_text() -> None:
    scripts = sorted((ROOT / "opendet").rglob("*.js"))
    assert scripts
    ways = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\(")
    assert [path.name for path in scripts if ways.search(path.read_text(encoding="utf-8"))] == []
