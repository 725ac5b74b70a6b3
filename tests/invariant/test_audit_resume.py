"""An audit that is interrupted in any of its trainings goes on to the very figures of one that was not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import models as m
from honed.app.cli import run as cli
from honed.config import Config, make_config
from honed.errors import OutputError, RunFolderError, UsageError
from honed.pipeline import kept_logits
from honed.pipeline.audit import AuditOptions
from honed.pipeline.audit_files import audit_to_folder, resume
from honed.training.checkpoint import CheckpointFolder
from honed.training.loop import Position, SlotRun

OPTIONS = AuditOptions((0.2,), "uniform", 1, ("drop",), 60)
WAVES = ("arms from 0", "pairs", "arms from 2")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audits")
    m.save_tiny_base(folder / "base", "bert")
    texts, label = m.toy_texts(60)
    rows = [f"{text} {i},{'xyz'[j]}" for i, (text, j) in enumerate(zip(texts, label, strict=True))]
    (folder / "toy.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    return folder


def config(place: Path, out: str) -> Config:
    return make_config({
        "data": str(place / "toy.csv"), "base": str(place / "base"), "depth": 1, "max_tokens": 8, "folds": 3,
        "epochs": 2, "learning_rate": 1e-2, "device": "cpu", "out": str(place / out),
    })  # fmt: skip


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    return audit_to_folder(config(place, "whole"), OPTIONS).path


def figures(path: Path) -> dict[str, Any]:
    told = json.loads((path / "audit.json").read_text())
    return {name: value for name, value in told.items() if name not in ("timings_s", "source", "settings")}


class Stopped(CheckpointFolder):
    """Ctrl-C right after the third checkpoint of one training."""

    wave = ""
    n_written = 0

    def __call__(self, runs: Sequence[SlotRun], position: Position) -> None:
        self.write(runs, position)
        type(self).n_written += 1
        if self.folder.name == self.wave and self.n_written >= 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("wave", WAVES)
def test_it_goes_on_to_the_same_result(
    wave: str, place: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = wave.replace(" ", "-")
    with monkeypatch.context() as patch:
        patch.setattr(kept_logits, "CheckpointFolder", type("Stops", (Stopped,), {"wave": wave}))
        with pytest.raises(KeyboardInterrupt):
            audit_to_folder(config(place, out), OPTIONS)
    assert [path.name for path in (place / out).iterdir()] == ["working"]
    with pytest.raises(OutputError, match=f"honed audit --resume {place / out}"):
        audit_to_folder(config(place, out), OPTIONS)
    trained = []
    with monkeypatch.context() as patch:
        real = CheckpointFolder.restore
        patch.setattr(
            CheckpointFolder, "restore", lambda self, runs: trained.append(self.folder.name) or real(self, runs)
        )
        patch.chdir(place.parent)  # the data are found from anywhere
        assert cli(["audit", "--resume", str(place / out)]) == 0
    assert trained == list(WAVES[WAVES.index(wave) :]), "what was trained is not trained again"
    assert "Worth your afternoon?" in capsys.readouterr().out
    assert sorted(path.name for path in (place / out).iterdir()) == ["audit.html", "audit.json", "audit.parquet"]
    assert figures(place / out) == figures(whole)
    assert pq.read_table(place / out / "audit.parquet").equals(pq.read_table(whole / "audit.parquet"))
    assert resume(place / out).figures["n_rows"] == figures(whole)["n_rows"], "a finished one is only read"


def test_changed_data_are_refused_and_early_failures_leave_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy.csv").write_bytes((place / "toy.csv").read_bytes())
    own = config(place, "x").model_copy(update={"data": str(tmp_path / "toy.csv"), "out": str(tmp_path / "audit")})
    with monkeypatch.context() as patch:
        patch.setattr(kept_logits, "CheckpointFolder", type("Stops", (Stopped,), {"wave": WAVES[0]}))
        with pytest.raises(KeyboardInterrupt):
            audit_to_folder(own, OPTIONS)
    (tmp_path / "toy.csv").write_text((place / "toy.csv").read_text().replace(" 3,", " three,"))
    with pytest.raises(RunFolderError, match="belongs to another configuration or other data"):
        resume(tmp_path / "audit")
    with pytest.raises(RunFolderError, match="holds no interrupted audit"):
        resume(tmp_path)
    with pytest.raises(UsageError):
        audit_to_folder(own.model_copy(update={"out": str(tmp_path / "early"), "folds": 2}), OPTIONS)
    assert not (tmp_path / "early").exists()


@pytest.mark.parametrize("flag", [("--inject", "0.1"), ("--rows", "99"), ("--folds", "4")])
def test_resume_stands_alone(flag: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["audit", "--resume", "a", *flag]) == 2
    assert "Give --resume alone" in capsys.readouterr().err
