"""The rules of the house that a syntax tree can judge; each takes a source text, so that faults can be planted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MAX_LINES = 400
HEAVY = frozenset(
    ("torch", "transformers", "sklearn", "pandas", "pyarrow", "matplotlib", "scipy", "peft", "accelerate")
)
PICKLERS = frozenset(("pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"))
FORBIDDEN_WORDS = frozenset(("utils", "util", "helper", "helpers", "manager", "misc", "common"))


def imported(tree: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(line, module, names) of every import, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or ""), tuple(alias.name for alias in node.names)


def unsafe_loading(source: str) -> list[str]:
    """Pickle in any form, `torch.load`, code that comes with a model, `eval` and `exec`."""
    tree = ast.parse(source)
    found = [f"line {line}: imports {name}" for line, name, _ in imported(tree) if name.split(".")[0] in PICKLERS]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call = ast.unparse(node.func)
        if call in ("torch.load", "eval", "exec"):
            found.append(f"line {node.lineno}: calls {call}")
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if (keyword.arg, value) in (("trust_remote_code", True), ("allow_pickle", True), ("weights_only", False)):
                found.append(f"line {node.lineno}: {keyword.arg}={value}")
    return found


def undocumented(source: str) -> list[str]:
    """Public modules, functions, classes and their public methods without a docstring."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) else ["the module"]

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            is_overload = any(
                ast.unparse(d) in ("overload", "typing.overload", "override") for d in node.decorator_list
            )
            if ast.get_docstring(node) is None and not is_overload:
                found.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(tree.body, "")
    return found


def imports_through_a_package(source: str, modules: frozenset[str]) -> list[str]:
    """Names of honed that are taken from a package's `__init__` and not from the module that defines them.

    modules : dotted names of all modules and packages of honed.
    """
    found = []
    for line, module, names in imported(ast.parse(source)):
        if module.startswith("."):
            found.append(f"line {line}: relative import; write honed.{module.lstrip('.')}")
        elif module == "honed" or any(other.startswith(f"{module}.") for other in modules if module in modules):
            bad = [name for name in names if f"{module}.{name}" not in modules]
            if bad or (module == "honed" and not names):
                found.append(f"line {line}: takes {', '.join(bad) or 'honed'} from the package {module}")
    return found


def heavy_at_import(source: str, heavy: frozenset[str] = HEAVY) -> list[str]:
    """Heavy packages that a module imports while it is itself imported (types alone do not count)."""
    found = []

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                visit(node.orelse)
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                )
                found.extend(f"line {node.lineno}: {n}" for n in names if n.split(".")[0] in heavy)
            for name in ("body", "orelse", "finalbody"):
                visit(getattr(node, name, []))
            for handler in getattr(node, "handlers", []):
                visit(handler.body)

    visit(ast.parse(source).body)
    return found


def forbidden_names(path: str, source: str) -> list[str]:
    """Modules and classes called utils, helper or manager: names that say nothing."""
    found = [part for part in Path(path).with_suffix("").parts for word in part.split("_") if word in FORBIDDEN_WORDS]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name.lower().endswith(("utils", "helper", "manager")):
            found.append(f"class {node.name}")
    return found
