"""What the documents show works: Python blocks compile and name what exists, `honed` lines name real flags."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
SRC = REPO / "src"
DOCUMENTS = [path for path in (REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))) if path.is_file()]
FENCE = re.compile(r"^(```+)[ \t]*(\w*)[^\n]*\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(honed [^`\n]+)`(?!`)")
SHELLS = ("bash", "sh", "shell", "console", "")


def blocks(text: str, *languages: str) -> list[str]:
    return [match[3] for match in FENCE.finditer(text) if match[2] in languages]


def shell_commands(text: str) -> list[str]:
    """`honed ...` lines of shell blocks and inline code, continuations joined, comments and pipes cut off."""
    found = []
    for block in blocks(text, *SHELLS):
        for line in block.replace("\\\n", " ").splitlines():
            bare = line.strip().removeprefix("$ ")
            if re.match(r"(python -m )?honed\s", bare):
                found.append(bare.removeprefix("python -m "))
    return found + INLINE.findall(FENCE.sub("", text))


@cache
def commands() -> Any:
    if not (SRC / "honed" / "app" / "cli.py").is_file():
        pytest.skip("NOT RUN: honed.app.cli does not exist yet")
    from typer.main import get_command

    cli = importlib.import_module("honed.app.cli")
    return get_command(cli.app)


def faults_of_command(line: str, group: Any) -> list[str]:
    """Unknown commands and flags of one `honed` line. Capitals, `...` and `<x>` stand for the reader's own words."""
    words = shlex.split(re.split(r" (?:\||&&|>) ", line)[0], comments=True)[1:]
    words = [word.strip("[]") for word in words]
    if not words or words[0] in ("...", "…") or words[0].startswith("<") or words[0].isupper():
        return []
    parts = [word.partition("=")[0] for word in words]
    if parts[0].startswith("-"):
        return [] if parts[0] in flags_of(group) else [f"honed has no flag {parts[0]}"]
    command = group.commands.get(parts[0])
    if command is None:
        return [f"honed has no command {parts[0]!r}"]
    if getattr(command, "commands", None) and len(parts) > 1 and not parts[1].startswith("-"):  # `honed store add ...`
        return faults_of_command(" ".join(shlex.quote(word) for word in ("honed", *words[1:])), command)
    known = flags_of(command)
    return [f"honed {parts[0]} has no flag {p}" for p in parts[1:] if re.match(r"--?[a-zA-Z]", p) and p not in known]


def flags_of(command: Any) -> set[str]:
    return {"--help"} | {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}


def faults_of_python(source: str) -> list[str]:
    """Syntax errors, and names of honed that do not exist. A block may be a console session."""
    if ">>> " in source:
        source = "\n".join(line[4:] for line in source.splitlines() if line.startswith((">>> ", "... ")))
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [f"line {error.lineno}: {error.msg}"]
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "honed":
            faults += [f"{node.module} has no {a.name}" for a in node.names if not exists(str(node.module), a.name)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "honed":
            faults += [] if exists("honed", node.attr) else [f"honed has no {node.attr}"]
    return faults


def exists(module: str, name: str) -> bool:
    try:
        if hasattr(importlib.import_module(module), name):
            return True
        importlib.import_module(f"{module}.{name}")
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPO)))
def test_documents_show_what_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    faults = [fault for block in blocks(text, "python", "py", "pycon") for fault in faults_of_python(block)]
    lines = shell_commands(text)
    faults += [f"{line}: {fault}" for line in lines for fault in faults_of_command(line, commands())]
    assert faults == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPO)))
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if not re.match(r"[a-z]+:", t)]
    missing = [t for t in targets if not (path.parent / t).exists() and not t.startswith("../../")]
    assert missing == []


class _Param:
    def __init__(self, *opts: str) -> None:
        self.opts, self.secondary_opts = opts, ()


class _Command:
    def __init__(self, *params: _Param, **commands: _Command) -> None:
        self.params, self.commands = params, commands


STORE = _Command(add=_Command(_Param("--name")))
GROUP = _Command(_Param("--version"), fit=_Command(_Param("--folds"), _Param("data")), store=STORE)


@pytest.mark.parametrize(
    "line",
    [
        "honed fti x.csv",
        "honed fit x.csv --fold 3",
        "honed --verson",
        "honed fit x --folds 3 --bogus=1 | cat",
        "honed store ad x",
        "honed store add x --names y",
    ],
)
def test_a_wrong_command_line_is_caught(line: str) -> None:
    assert faults_of_command(line, GROUP)


@pytest.mark.parametrize(
    "line",
    [
        "honed store add x --name y",
        "honed store",
        "honed fit x.csv --folds=3 # why",
        "honed --version",
        "honed fit RUN | cat --bogus",
        "honed ...",
        "honed COMMAND",
    ],
)
def test_a_right_command_line_is_not(line: str) -> None:
    assert faults_of_command(line, GROUP) == []


def test_a_wrong_python_block_is_caught() -> None:
    assert faults_of_python("x = (")
    assert faults_of_python("from honed.errors import NoSuchError")
    assert faults_of_python("import honed\nhoned.no_such_function()")
    assert faults_of_python(">>> from honed.errors import HonedError\nnothing") == []


def test_commands_are_found_in_blocks_and_sentences() -> None:
    block = "```bash\n$ honed fit x.csv \\\n  --folds 3\npip install honed\n```\n"
    text = f"Run `honed check x.csv`:\n{block}```python\nhoned fit\n```\n"
    assert shell_commands(text) == ["honed fit x.csv    --folds 3", "honed check x.csv"]
