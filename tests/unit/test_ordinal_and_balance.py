"""Grades in their order, and classes of unequal size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import honed
import models as m
from honed.data.targets import Targets
from honed.errors import UsageError
from honed.evidence.requirement import Requirement
from image_runs import save_tiny_image_base, write_coloured


def fit(folder: Path, **settings: Any) -> honed.api.Run:
    base = save_tiny_image_base(folder / "base")
    data = write_coloured(folder / "data", 60)
    return honed.fit(
        data,
        base=str(base.path),
        image_size=28,
        folds=2,
        epochs=2,
        depth=1,
        device="cpu",
        out=folder / "run",
        **settings,
    )


def test_a_run_on_grades(tmp_path: Path) -> None:
    run = fit(tmp_path, ordinal=True, metric="quadratic_kappa", require=["grade_error <= 2", "quadratic_kappa >= -1"])
    for where in ("out_of_fold", "holdout"):
        assert -1 <= run.metrics[where]["quadratic_kappa"]["low"] <= run.metrics[where]["quadratic_kappa"]["high"] <= 1
        assert run.metrics[where]["grade_error"]["value"] >= 0
    assert "quadratic_kappa" in run.metrics["baselines"]["linear_probe"]["difference"]["out_of_fold"]
    assert any("blue < green < red" in note for note in run._folder.read_json(run._folder.dataset)["notes"])
    assert "Quadratic kappa" in run.report.read_text()

    from honed.app.cli import run as cli

    output = tmp_path / "answers.parquet"
    assert cli(["predict", str(run.path), str(tmp_path / "data"), "--output", str(output)]) == 0
    table = pq.read_table(output).to_pandas()
    cumulative = table.filter(like="prob_").to_numpy().cumsum(axis=1)
    expected = [run.label_names[j] for j in (cumulative < 0.5 - 1e-9).sum(axis=1)]
    assert table["grade"].tolist() == expected


def test_without_grades_nothing_is_said_of_them(tmp_path: Path) -> None:
    run = fit(tmp_path)
    assert "quadratic_kappa" not in run.metrics["out_of_fold"]
    assert "Quadratic kappa" not in run.report.read_text()


@pytest.mark.parametrize("settings", [{"metric": "quadratic_kappa"}, {"require": ["grade_error <= 1"]}])
def test_a_figure_of_grades_needs_grades(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--ordinal"):
        fit(tmp_path, **settings)


@pytest.mark.parametrize("text", ["quadratic_kappa >= 80", "quadratic_kappa >= -2", "grade_error <= -1"])
def test_bounds_that_cannot_be_met_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Requirement.parse(text)


def unbalanced() -> Any:
    """54 rows of noise, of which class 0 has 36: nothing to learn but how frequent the classes are."""
    rows = m.make_examples("dinov2", 54, seed=3)
    label = np.where(np.arange(54) % 3 < 2, 0, 1 + np.arange(54) // 3 % 2)
    rng = np.random.default_rng(0)
    encoded = list(np.clip(128 + rng.normal(0, 60, (54, 28, 28, 3)), 0, 255).astype(np.uint8))
    return replace(rows, inputs=replace(rows.inputs, encoded=encoded), label=label)


def predictions(balance: float) -> np.ndarray:
    rows = unbalanced()
    stack = m.make_stack("dinov2", range(1), depth=1, head="both")
    plan = m.make_plans(rows, has_stop=False)[0]
    options = replace(m.QUICK, epochs=4, learning_rate=1e-6, head_learning_rate=0.05, balance=balance)
    m.train(stack, None, rows, [replace(plan, train=rows.rows)], options)
    from honed.training.loop import predict

    return predict(stack, rows.inputs, None, 0, rows.rows).argmax(axis=1)


def test_balance_predicts_rare_classes_more_often() -> None:
    rare = [float((predictions(balance) > 0).mean()) for balance in (0.0, 1.0)]
    assert rare[0] < 1 / 3 and rare[1] > rare[0] + 0.2


def test_the_shift_is_that_of_the_slots_own_training_rows() -> None:
    from honed.events import Emitter
    from honed.training.loop import Loop

    rows = unbalanced()
    stack = m.make_stack("dinov2", range(1), depth=1, head="both")
    plan = replace(m.make_plans(rows, has_stop=False)[0], train=np.arange(9))
    loop = Loop(stack, None, rows, replace(m.QUICK, balance=0.5), Emitter())
    count = np.bincount(rows.label[:9], minlength=3) + 0.5
    run = loop.start([plan])[0]
    torch.testing.assert_close(loop._shift(run, 3), torch.from_numpy(0.5 * np.log(count / count.sum())))
    weighted = Targets(rows.label, np.where(rows.label == 0, 0.0, 1.0))
    run = loop.start([replace(plan, targets=weighted)])[0]
    assert loop._shift(run, 3)[0] == pytest.approx(0.5 * np.log(0.5 / (0.5 * 3 + 9 - (rows.label[:9] == 0).sum())))


def test_balanced_slots_are_trained_as_alone() -> None:
    rows = unbalanced()
    options = replace(m.QUICK, balance=0.7)
    plans = m.make_plans(rows, has_stop=False)[:2]
    together = m.train(m.make_stack("dinov2", range(2), depth=1), None, rows, plans, options).state
    for slot, plan in enumerate(plans):
        own = m.train(m.make_stack("dinov2", [slot], depth=1), None, rows, [m.alone(plan)], options).state[plan.name]
        torch.testing.assert_close(own, together[plan.name], rtol=0, atol=1e-9)
