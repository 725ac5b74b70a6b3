"""The import direction of the design, judged by import-linter; and a planted upward import is caught."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_point_downwards_only() -> None:
    result = lint(REPO)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("data/planted.py", "from honed.oof import OutOfFold"),  # upwards
        ("evidence/planted.py", "import torch"),  # the numpy half must not know the torch half
        ("evidence/planted.py", "import honed.training.planted_too"),  # siblings
        ("stray.py", "from honed import errors"),  # a module without a layer
    ],
)
def test_a_planted_import_is_caught(tmp_path: Path, module: str, line: str) -> None:
    shutil.copytree(REPO / "src" / "honed", tmp_path / "src" / "honed", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    for package in ("training", "evidence"):
        (tmp_path / "src" / "honed" / package).mkdir(exist_ok=True)
    (tmp_path / "src" / "honed" / "training" / "planted_too.py").write_text('"""Planted."""\n')
    (tmp_path / "src" / "honed" / module).write_text(f'"""Planted."""\n{line}\n')
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert Path(module).stem in result.stdout
