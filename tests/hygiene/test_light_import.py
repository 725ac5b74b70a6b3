"""`import honed` and `honed --help` answer at once: neither loads torch, transformers, scikit-learn or pandas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
HEAVY = ("torch", "transformers", "sklearn", "pandas", "scipy", "matplotlib", "peft", "accelerate", "pyarrow")
REPORT = f"""
import json, sys
print("LOADED", json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


def loaded_after(code: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", code + REPORT],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    loaded: list[str] = json.loads(result.stdout.rsplit("LOADED ", 1)[1])
    return loaded


def module_exists(name: str) -> bool:
    path = SRC / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("module", ["honed", "honed.app.cli", "honed.config", "honed.bases", "honed.app.doctor"])
def test_import_is_light(module: str) -> None:
    if not module_exists(module):
        pytest.skip(f"NOT RUN: {module} does not exist yet")
    assert loaded_after(f"import {module}") == []


@pytest.mark.parametrize("argument", ["--help", "fit --help", "--version"])
def test_help_is_light(argument: str) -> None:
    if not module_exists("honed.app.cli"):
        pytest.skip("NOT RUN: honed.app.cli does not exist yet")
    code = f"""
import sys
sys.argv = ["honed", *{argument.split()!r}]
from honed.app.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert loaded_after(code) == []


def test_evidence_runs_without_torch() -> None:
    modules = [
        ".".join(path.relative_to(SRC).with_suffix("").parts)
        for path in sorted((SRC / "honed" / "evidence").rglob("*.py"))
        if path.name != "__init__.py"
    ]
    # None in sys.modules makes any import of torch fail, also one inside a dependency
    blocked = "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None; "
    loaded = loaded_after(blocked + "; ".join(f"import {module}" for module in modules) + "; del sys.modules['torch']")
    assert "torch" not in loaded


def test_a_heavy_import_would_be_seen() -> None:
    assert loaded_after("import scipy") == ["scipy"]
