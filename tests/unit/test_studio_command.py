"""`honed studio` before it serves: what it refuses, and that it says how to go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"


def said(code: str, *arguments: str) -> tuple[int, str]:
    """`honed studio ARGUMENTS` in a process in which `code` ran first."""
    program = f"{code}; import sys; from honed.app.cli import run; sys.exit(run(['studio', *{list(arguments)!r}]))"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(SRC), "COLUMNS": "300"}, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip
    return done.returncode, " ".join(done.stderr.split())


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart"])
def test_a_package_that_is_missing_is_named(package: str, tmp_path: Path) -> None:
    code, told = said(f"import sys; sys.modules[{package!r}] = None", str(tmp_path))
    assert code == 2 and package in told and "pip install 'honed[studio]'" in told and "Traceback" not in told


def test_other_machines_are_let_in_by_name_alone(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="NOT RUN: needs pip install 'honed[studio]'")
    code, told = said("pass", str(tmp_path), "--host", "192.0.2.7")
    assert code == 2 and "--allow-host" in told and "TLS" in told


def test_what_is_no_folder_or_no_address_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="NOT RUN: needs pip install 'honed[studio]'")
    (tmp_path / "file").write_text("")
    assert said("pass", str(tmp_path / "file"))[0] == 2
    code, told = said("pass", str(tmp_path), "--host", "192.0.2.1", "--allow-host", "x", "--port", "0")
    assert code == 2 and "cannot be listened at" in told
