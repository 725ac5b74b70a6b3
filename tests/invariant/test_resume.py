"""A run that is killed at any moment continues to the very result of a run that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import models as m
from honed.errors import RunFolderError
from honed.events import Event
from honed.oof import Predictions
from honed.training.checkpoint import CheckpointFolder
from honed.training.loop import Position, SlotRun
from honed.training.stack import Stack
from image_runs import save_tiny_image_base, write_coloured

OPTIONS = replace(m.QUICK, epochs=2, patience=9)
SEEDS = (1, 2, 3)


class Killed(BaseException):
    """The process ends here."""


class KilledAt(CheckpointFolder):
    """Dies right after its n-th checkpoint."""

    def __init__(self, folder: Path, stack: Stack, n_writes: int) -> None:
        super().__init__(folder, stack, "a run", every_s=0.0)
        self.n_left = n_writes

    def write(self, runs: Sequence[SlotRun], position: Position) -> None:
        super().write(runs, position)
        self.n_left -= 1
        if self.n_left == 0:
            raise Killed


def fresh() -> tuple[Stack, Any, list[Any]]:
    """What a new process builds: two folds and the final model."""
    examples = m.make_examples("bert", 12, n_folds=2)
    plans = m.make_plans(examples)
    return m.make_stack("bert", SEEDS), examples, plans


def poison_first_attempt(stack: Stack, slot: int = 1) -> Any:
    """A listener that spoils a slot after step 2 of the first attempt, so that it diverges and is restarted."""

    def listener(event: Event) -> None:
        fields = event.fields
        if event.kind == "progress" and fields["done"] == 2 and fields["n_slots"] == len(SEEDS):
            with torch.no_grad():
                next(iter(stack.adapter_parameters(slot).values())).fill_(float("nan"))

    return listener


def run(folder: Path, *, kill_at: int = 0, is_poisoned: bool = False) -> m.Trained:
    stack, examples, plans = fresh()
    listeners = (poison_first_attempt(stack),) if is_poisoned else ()
    checkpoint = KilledAt(folder, stack, kill_at)
    return m.train(stack, None, examples, plans, OPTIONS, listeners=listeners, checkpoint=checkpoint)


def assert_equal(resumed: m.Trained, whole: m.Trained) -> None:
    for name, expected in whole.runs.items():
        got = resumed.runs[name]
        assert (got.attempt, got.status, got.curve) == (expected.attempt, expected.status, expected.curve)
        assert got.step_losses == expected.step_losses
        assert got.snapshots.keys() == expected.snapshots.keys()
        for epoch, snapshot in expected.snapshots.items():
            assert all(torch.equal(snapshot[key], got.snapshots[epoch][key]) for key in snapshot)
        assert all(torch.equal(value, resumed.state[name][key]) for key, value in whole.state[name].items())


@pytest.mark.parametrize("is_poisoned", [False, True], ids=["smooth", "with a restarted slot"])
def test_killed_at_any_step_it_continues_to_the_same_weights(is_poisoned: bool, tmp_path: Path) -> None:
    whole = run(tmp_path / "never", is_poisoned=is_poisoned)
    assert whole.runs["fold 1"].attempt == int(is_poisoned)
    for kill_at in range(1, 100):
        folder = tmp_path / f"killed {kill_at}"
        try:
            run(folder, kill_at=kill_at, is_poisoned=is_poisoned)
        except Killed:
            assert_equal(run(folder, is_poisoned=is_poisoned), whole)
        else:
            assert kill_at > 3
            break


def test_who_decides_when_the_final_model_ends_does_not_depend_on_the_kill(tmp_path: Path) -> None:
    """Both folds diverge in the first epoch while the final model trains on; they decide only after their restart."""
    options = replace(OPTIONS, batch_rows=5)

    def train(folder: Path, kill_at: int = 0) -> m.Trained:
        stack, examples, plans = fresh()
        listeners = (poison_first_attempt(stack, slot=0), poison_first_attempt(stack, slot=1))
        checkpoint = KilledAt(folder, stack, kill_at)
        return m.train(stack, None, examples, plans, options, listeners=listeners, checkpoint=checkpoint)

    whole = train(tmp_path / "never")
    assert [run.attempt for run in whole.runs.values()] == [1, 1, 0]
    assert len(whole.runs["final"].curve) == options.epochs, "the final model must reach the folds' best epoch"
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill_at=3)  # after step 3, in which they diverged
    assert_equal(train(tmp_path / "killed"), whole)


def test_killed_between_the_two_renames_the_old_checkpoint_counts(tmp_path: Path) -> None:
    whole = run(tmp_path / "never")
    folder = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run(folder, kill_at=2)
    folder.rename(folder.with_name("checkpoint.old"))
    shutil.copytree(folder.with_name("checkpoint.old"), folder.with_name("checkpoint.partial"))
    (folder.with_name("checkpoint.partial") / "tensors.safetensors").write_bytes(b"half")
    assert_equal(run(folder), whole)
    assert not folder.with_name("checkpoint.old").exists() and not folder.with_name("checkpoint.partial").exists()


def test_a_checkpoint_is_due_only_after_its_time(tmp_path: Path) -> None:
    stack, examples, plans = fresh()
    checkpoint = CheckpointFolder(tmp_path / "checkpoint", stack, "a run", every_s=1e9)
    m.train(stack, None, examples, plans, OPTIONS, checkpoint=checkpoint)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("damage", ["truncated tensors", "truncated state", "no tensors", "no state", "empty state"])
def test_a_damaged_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run(folder, kill_at=1)
    kind, name = damage.split()
    path = folder / {"tensors": "tensors.safetensors", "state": "state.json"}[name]
    if kind == "no":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if kind == "truncated" else b"{}")
    with pytest.raises(RunFolderError, match=r"damaged.*Delete .*checkpoint"):
        run(folder)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run(folder, kill_at=1)
    stack, examples, plans = fresh()
    other = CheckpointFolder(folder, stack, "another run")
    before = stack.slot_state(0)
    with pytest.raises(RunFolderError, match="belongs to another configuration or other data"):
        m.train(stack, None, examples, plans, OPTIONS, checkpoint=other)
    assert all(torch.equal(value, stack.slot_state(0)[key]) for key, value in before.items())


KILLED_FIT = """
import functools, json, os, signal, sys
import honed.pipeline.fit as pipeline
from honed.config import make_config

def die(event):
    if event.kind == "progress" and event.message == "training" and event.fields["done"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)

pipeline.TuningContext = functools.partial(pipeline.TuningContext, every_s=0.0)
pipeline.fit(make_config(json.loads(sys.argv[1])), (die,))
"""


def test_a_fit_killed_by_the_system_resumes_to_the_same_table(tmp_path: Path, repo: Path) -> None:
    from honed.config import make_config
    from honed.pipeline.fit import fit, resume

    base = m.save_tiny_base(tmp_path / "base", "bert")
    texts, label = m.toy_texts(40)
    rows = "".join(f"{text},{'abc'[j]}\n" for text, j in zip(texts, label, strict=True))
    (tmp_path / "toy.csv").write_text("text,label\n" + rows)
    values = {
        "data": str(tmp_path / "toy.csv"), "base": str(base.path), "folds": 2, "epochs": 2, "gate": False,
        "max_tokens": 16, "device": "cpu",
    }  # fmt: skip
    whole = fit(make_config({**values, "out": str(tmp_path / "whole")}))
    _killed_fit({**values, "out": str(tmp_path / "killed")}, repo)
    assert (tmp_path / "killed" / "checkpoint").is_dir() and not (tmp_path / "killed" / "oof.parquet").exists()
    resumed = resume(tmp_path / "killed")
    a, b = Predictions.read(whole.oof), Predictions.read(resumed.oof)
    assert a.example_id.tolist() == b.example_id.tolist() and np.array_equal(a.logits, b.logits)
    adapters = [torch_load(run.adapter) for run in (whole, resumed)]
    assert all(torch.equal(adapters[0][key], adapters[1][key]) for key in adapters[0])
    assert not resumed.checkpoint.exists()


def test_a_fit_on_images_killed_by_the_system_resumes_to_the_same_table(tmp_path: Path, repo: Path) -> None:
    """The base cut off, several views of each image."""
    from honed.config import make_config
    from honed.pipeline.fit import fit, resume

    base = save_tiny_image_base(tmp_path / "base")
    values = {
        "data": str(write_coloured(tmp_path / "data", 45)), "base": str(base.path), "layers": 2, "depth": 1,
        "head": "both", "image_size": 28, "views": 3, "folds": 2, "epochs": 3, "batch_size": 9, "gate": False,
        "device": "cpu", "positive": "red",
    }  # fmt: skip
    whole = fit(make_config({**values, "out": str(tmp_path / "whole")}))
    _killed_fit({**values, "out": str(tmp_path / "killed")}, repo)
    resumed = resume(tmp_path / "killed")
    for name in ("oof.parquet", "adapter/adapter_model.safetensors", "adapter/head.safetensors", "adapter/honed.json"):
        assert (whole.path / name).read_bytes() == (resumed.path / name).read_bytes()
    assert not resumed.checkpoint.exists()


def _killed_fit(values: dict[str, Any], repo: Path) -> None:
    """A fit in a process of its own, which kills itself in the middle."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_FIT, json.dumps(values)],
        env={**os.environ, "PYTHONPATH": str(repo / "src")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def torch_load(adapter: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(adapter / "adapter_model.safetensors")
    return tensors
