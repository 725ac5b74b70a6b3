"""Rule 3: which setting a fold uses is decided without a look at the rows that score it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models as m
import tuning_runs as tr
from honed.bases import ResolvedBase

TRIALS = "learning_rate=3e-3,1e-2,3e-2"
VALUES: dict[str, Any] = {"epochs": 2, "batch_size": 20}
FOLD = 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ResolvedBase:
    return m.save_tiny_base(tmp_path_factory.mktemp("base"), "bert")


@pytest.fixture(scope="module")
def honest(base: ResolvedBase, tmp_path_factory: pytest.TempPathFactory) -> tr.Tuning:
    return tr.tune(base, tmp_path_factory.mktemp("honest"), TRIALS, **VALUES)


def relabelled(base: ResolvedBase, folder: Path, part: str) -> np.ndarray[Any, Any]:
    """Labels in which some rows of one part of fold 1 have another class."""
    context = tr.tuning_context(base, folder, tr.tuning_config(base, **VALUES))
    label = context.part.label.copy()
    rows = getattr(context.plan.split(FOLD), part)
    rows = rows[:: 2 if len(rows) > 5 else 1]
    label[rows] = (label[rows] + 1) % m.N_CLASSES
    return label


def of_fold(tuning: tr.Tuning, fold: int) -> list[dict[str, Any]]:
    return [trial for trial in tuning.report["trials"] if trial["fold"] == fold]


def logits(tuning: tr.Tuning, fold: int) -> np.ndarray[Any, Any]:
    table = tuning.tuned.trained.predictions
    assert table.logits is not None
    return table.logits[table.fold == fold]


def test_labels_of_the_test_part_do_not_move_a_folds_choice(
    honest: tr.Tuning, base: ResolvedBase, tmp_path: Path
) -> None:
    other = tr.tune(base, tmp_path, TRIALS, label=relabelled(base, tmp_path, "test"), **VALUES)
    assert other.choice[f"fold {FOLD}"] == honest.choice[f"fold {FOLD}"]
    assert of_fold(other, FOLD) == of_fold(honest, FOLD), "who was ended, and when, is part of the choice"
    assert np.array_equal(logits(other, FOLD), logits(honest, FOLD))
    # What the other folds say of the settings has moved: a choice pooled over the folds would have seen those labels.
    for fold in {*range(tr.FOLDS)} - {FOLD}:
        assert of_fold(other, fold) != of_fold(honest, fold)
    assert [s["mean_stop_loss"] for s in other.report["settings"]] != [
        s["mean_stop_loss"] for s in honest.report["settings"]
    ]


def test_labels_of_the_stop_part_do(honest: tr.Tuning, base: ResolvedBase, tmp_path: Path) -> None:
    """The comparison can fail: the part that chooses is seen."""
    other = tr.tune(base, tmp_path, TRIALS, label=relabelled(base, tmp_path, "stop"), **VALUES)
    assert [t["stop_loss"] for t in of_fold(other, FOLD)] != [t["stop_loss"] for t in of_fold(honest, FOLD)]


def test_the_range_test_of_a_fold_sees_its_training_rows_alone(base: ResolvedBase, tmp_path: Path) -> None:
    def curves(name: str, part: str | None) -> dict[str, Any]:
        label = relabelled(base, tmp_path, part) if part else None
        tuning = tr.tune(base, tmp_path / name, label=label, learning_rate="auto", epochs=1, batch_size=20)
        slots: dict[str, Any] = tuning.report["range_tests"][0]["slots"]
        return slots

    plain = curves("plain", None)
    for part in ("test", "stop"):
        other = curves(part, part)
        assert other[f"fold {FOLD}"] == plain[f"fold {FOLD}"]
        assert other["final"] != plain["final"], "the final model trains on those rows"
    assert curves("train", "train")[f"fold {FOLD}"] != plain[f"fold {FOLD}"]


def test_a_choice_by_the_test_part_would_look_better_than_it_is(base: ResolvedBase, tmp_path: Path) -> None:
    """The planted fault. Labels are drawn at random, so there is nothing to learn, and nothing to choose: whoever
    chooses by the rows that are scored reports a lower loss all the same.
    """
    trials = "head_learning_rate=1e-2,3e-2,1e-1"
    label = np.random.default_rng(5).integers(0, m.N_CLASSES, 60)
    values: dict[str, Any] = {**VALUES, "epochs": 1}  # one epoch: nobody is ended early
    tuning = tr.tune(base, tmp_path / "trials", trials, label=label, **values)
    by_trial = np.empty((3, tr.FOLDS))
    for trial, setting in enumerate(tuning.report["settings"]):
        alone = tr.tune(base, tmp_path / f"{trial}", label=label, **values, **setting["values"]).tuned.trained
        table = alone.predictions
        by_trial[trial] = [table.loss[table.fold == fold].mean() for fold in range(tr.FOLDS)]
    table = tuning.tuned.trained.predictions
    ours = np.array([table.loss[table.fold == fold].mean() for fold in range(tr.FOLDS)])
    chosen = [tuning.choice[f"fold {fold}"] for fold in range(tr.FOLDS)]
    np.testing.assert_allclose(ours, by_trial[chosen, range(tr.FOLDS)], rtol=1e-3)
    cheated = by_trial.min(axis=0)
    assert by_trial.argmin(axis=0).tolist() != chosen
    assert cheated.mean() < ours.mean()
