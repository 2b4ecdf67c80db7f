"""The docstrings below a dataclass's fields, which Python itself forgets."""

import ast
import inspect
import textwrap


def attribute_texts(owner: type) -> dict[str, str]:
    """Field -> its docstring, empty where there is none; in the order of the class."""
    source = textwrap.dedent(inspect.getsource(owner))
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.ClassDef), owner
    texts: dict[str, str] = {}
    for before, line in zip([None, *definition.body], definition.body, strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            texts[line.target.id] = ""
        elif isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
            texts[before.target.id] = _text(line)
    return texts


def _text(line: ast.stmt) -> str:
    constant = line.value if isinstance(line, ast.Expr) else None
    words = constant.value if isinstance(constant, ast.Constant) else ""
    return words if isinstance(words, str) else ""
