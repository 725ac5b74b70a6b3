"""Trials in a stack: each is that setting alone, a single one is a plain fit, and a kill changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models as m
import tuning_runs as tr
from honed.bases import ResolvedBase
from honed.events import Emitter
from honed.pipeline.assembly import make_stack, training_options
from honed.pipeline.bench import make_groups
from honed.pipeline.tuning import plan_settings
from honed.training.build import encode, make_trunk
from honed.training.checkpoint import CheckpointFolder
from honed.training.crossval import FINAL, CrossValidated, cross_validate
from honed.training.loop import Examples, Loop, Position, SlotRun
from tolerances import tolerance

TRIALS = "learning_rate=3e-3,1e-2; rank=2,3"
EXACT: dict[str, Any] = {"precision": "float64", "epochs": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ResolvedBase:
    return m.save_tiny_base(tmp_path_factory.mktemp("base"), "bert")


def without_trials(base: ResolvedBase, folder: Path, **changes: Any) -> CrossValidated:
    """The plain cross-validation, put together by hand."""
    config = tr.tuning_config(base, **changes)
    context = tr.tuning_context(base, folder, config)
    stack = make_stack(base, config, context.part.label_names, config.folds + 1)
    inputs = encode(stack, context.part.inputs)
    trunk = make_trunk(stack, inputs, base.hidden_size, context.spill, config.cache_frac, Emitter())
    n = len(context.part)
    examples = Examples(inputs, context.part.label, np.ones(n), context.plan.fold, np.arange(n))
    options = training_options(config, round(config.batch_size * config.folds / (config.folds - 1)))
    return cross_validate(Loop(stack, trunk, examples, options, Emitter()), context.plan)


def assert_bitwise(one: CrossValidated, other: CrossValidated) -> None:
    assert np.array_equal(one.predictions.logits, other.predictions.logits)
    assert (one.curves, one.best_epoch) == (other.curves, other.best_epoch)
    assert one.final_state.keys() == other.final_state.keys()
    assert all(torch.equal(value, other.final_state[key]) for key, value in one.final_state.items())


@pytest.mark.parametrize("trials", ["", "learning_rate=1e-2"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_one_setting_is_bit_for_bit_a_fit_without_trials(
    trials: str, method: str, base: ResolvedBase, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"method": method, "method_options": {}, "epochs": 2}
    tuning = tr.tune(base, tmp_path / "trials", trials, **changes)
    rate = {"learning_rate": 1e-2} if trials else {}
    assert_bitwise(tuning.tuned.trained, without_trials(base, tmp_path / "plain", **changes, **rate))
    assert tuning.tuned.report is None


def test_each_trial_is_that_setting_alone(base: ResolvedBase, tmp_path: Path) -> None:
    """Every epoch that it was given, and where it won, what it says of the rows that it never saw."""
    tuning = tr.tune(base, tmp_path / "trials", TRIALS, **EXACT)
    close = tolerance("weights_after_training", "float64")
    settings = tuning.report["settings"]
    assert len({t["n_epochs"] for t in tuning.report["trials"]}) > 1, "some should be ended early"
    for trial, setting in enumerate(settings):
        own = {
            "learning_rate": setting["values"]["learning_rate"],
            "method_options": {"rank": setting["values"]["rank"]},
        }
        alone = without_trials(base, tmp_path / f"alone {trial}", **EXACT, **own)
        for fold in range(tr.FOLDS):
            curve, expected = tuning.trial(trial, fold)["curve"], alone.curves[f"fold {fold}"]
            for row, other in zip(curve, expected, strict=False):
                np.testing.assert_allclose(list(row.values()), list(other.values()), **close)
            if tuning.choice[f"fold {fold}"] == trial:
                assert len(curve) == len(expected)
                test = alone.predictions.fold == fold
                got, wanted = (p.predictions.logits for p in (tuning.tuned.trained, alone))
                assert got is not None and wanted is not None
                np.testing.assert_allclose(got[test], wanted[test], **close)
        if tuning.choice[FINAL] == trial:
            n_epochs = len(tuning.tuned.trained.curves[FINAL])
            for row, other in zip(tuning.tuned.trained.curves[FINAL], alone.curves[FINAL][:n_epochs], strict=True):
                assert row["train_loss"] == pytest.approx(other["train_loss"], rel=0, abs=close["atol"])
            if n_epochs - 1 == alone.best_epoch[FINAL]:
                torch.testing.assert_close(tuning.tuned.trained.final_state, alone.final_state, **close)


def test_what_cannot_share_a_stack_runs_group_after_group(base: ResolvedBase) -> None:
    def groups(trials: str, **changes: Any) -> list[tuple[int, ...]]:
        config = tr.tuning_config(base, **changes)
        return [group.trials for group in make_groups(config, plan_settings(config, trials))]

    assert groups("learning_rate=1e-3,1e-2; rank=2,3; weight_decay=0,.1") == [tuple(range(8))]
    assert groups("rank=2,3; depth=1,2") == [(0, 2), (1, 3)]
    assert groups("epochs=1,2; head=mean,native") == [(0,), (1,), (2,), (3,)]
    assert groups("learning_rate=1e-4,1e-3", method="full", method_options={}) == [(0,), (1,)]


@pytest.mark.parametrize(
    ("trials", "changes"),
    [("depth=1,2; rank=2,3", {}), ("learning_rate=1e-9,1e-3", {"method": "full", "method_options": {}})],
    ids=["two depths", "a method that does not stack"],
)
def test_groups_end_with_the_best_of_all(
    trials: str, changes: dict[str, Any], base: ResolvedBase, tmp_path: Path
) -> None:
    tuning = tr.tune(base, tmp_path, trials, epochs=2, head_learning_rate=1e-2, **changes)
    for fold in range(tr.FOLDS):
        own = {t["trial"]: t["stop_loss"] for t in tuning.report["trials"] if t["fold"] == fold}
        assert tuning.choice[f"fold {fold}"] == min(own, key=lambda trial: own[trial])
    chosen = tuning.report["settings"][tuning.choice[FINAL]]["values"]
    for name, value in chosen.items():
        found = {**tuning.tuned.config.model_dump(), **tuning.tuned.config.method_options}[name]
        assert found == value
    assert tuning.tuned.stack.depth == tuning.tuned.config.depth
    tuning.tuned.stack.load_slot_state(tuning.tuned.slot, tuning.tuned.trained.final_state)


class Killed(BaseException):
    """The process ends here."""


def kill_at(n_writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die right after the n-th checkpoint of the whole run."""
    left = [n_writes]
    real = CheckpointFolder.write

    def write(self: CheckpointFolder, runs: Sequence[SlotRun], position: Position) -> None:
        real(self, runs, position)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(CheckpointFolder, "write", write)


@pytest.mark.parametrize(
    ("trials", "changes"),
    [
        ("learning_rate=1e-2,3e-3; depth=1,2", {}),
        ("", {"learning_rate": "auto"}),
        ("learning_rate=1e-4,1e-3", {"method": "full", "method_options": {}, "epochs": 1}),
    ],
    ids=["two groups", "auto", "a method that does not stack"],
)
def test_killed_at_any_moment_it_continues_to_the_same_choice_and_weights(
    trials: str, changes: dict[str, Any], base: ResolvedBase, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"epochs": 2, "batch_size": 20, **changes}
    whole = tr.tune(base, tmp_path / "never", trials, **values)
    step, n_kills = 1, 0
    while True:
        folder = tmp_path / f"killed {step}"
        with pytest.MonkeyPatch.context() as patch:
            kill_at(step, patch)
            try:
                tr.tune(base, folder, trials, **values)
                break
            except Killed:
                n_kills += 1
        resumed = tr.tune(base, folder, trials, **values)
        assert resumed.report == whole.report
        assert_bitwise(resumed.tuned.trained, whole.tuned.trained)
        step += 3
    assert n_kills >= 2


def test_a_method_that_does_not_stack_tests_its_range_once(base: ResolvedBase, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"method": "full", "method_options": {}, "learning_rate": "auto", "epochs": 1}
    tuning = tr.tune(base, tmp_path, **changes, batch_size=20)
    assert sum(event.kind == "tuning.range_test" for event in tuning.events) == 1
    assert sum(event.kind == "stage.start" and event.fields["stage"] == "trunk" for event in tuning.events) == 1
    (test,) = tuning.report["range_tests"]
    assert test["trials"] == [0, 1, 2, 3]
