"""Where rows are few, images are trained for more epochs, so that a fold makes enough steps; and it is said."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import honed
from honed.config import Config, make_config, read_config
from honed.pipeline.settle import MOST_EPOCHS, epochs_note, steps_an_epoch, with_epochs, with_task
from honed.tasks.base import get_task
from honed.training.schedule import shared_batch_rows
from image_runs import save_tiny_image_base, write_coloured

IMAGES, TEXTS = "image_classification", "text_classification"


def epochs(n_rows: int, task: str = IMAGES, **settings: Any) -> int:
    given = Config(data="x", **settings)
    return with_epochs(given, with_task(given, task), n_rows).epochs


def test_many_rows_keep_the_default() -> None:
    usual = get_task(IMAGES).defaults["epochs"]
    assert [epochs(n) for n in (1_200, 2_698, 100_000)] == [usual] * 3


def test_few_rows_make_the_least_steps_or_train_the_most_epochs() -> None:
    least = get_task(IMAGES).least_steps
    for n_rows in range(10, 1_200, 37):
        config = with_task(Config(data="x"), IMAGES)
        steps, found = steps_an_epoch(config, n_rows), epochs(n_rows)
        assert config.epochs <= found <= MOST_EPOCHS
        assert steps * found >= least or found == MOST_EPOCHS
        assert steps * (found - 1) < least or found == config.epochs


def test_the_steps_are_those_that_the_loop_makes() -> None:
    """1,200 rows: 1,020 of development, 40 a batch of all five folds, of which each trains on 32."""
    config = with_task(Config(data="x"), IMAGES)
    assert shared_batch_rows(config.batch_size, config.folds) == 40
    assert steps_an_epoch(config, 1_200) == math.ceil(1_020 / 40)


def test_named_epochs_and_texts_stay_as_they_are() -> None:
    assert epochs(50, epochs=3) == 3
    assert epochs(50, epochs=8) == 8, "also if named as the default"
    assert epochs(50, task=TEXTS) == Config(data="x").epochs


@pytest.mark.parametrize("settings", [{}, {"epochs": 2}])
def test_a_fit_says_it_and_writes_the_number_down(tmp_path: Path, settings: dict[str, Any]) -> None:
    base, data = save_tiny_image_base(tmp_path / "base"), write_coloured(tmp_path / "data", 30)
    shared = {"base": str(base.path), "image_size": 28, "folds": 2, "depth": 1, "views": 1, "device": "cpu"}
    run = honed.fit(data, shared | settings | {"out": tmp_path / "run", "gate": False})
    config = make_config(read_config(run.path / "config.yaml"))
    said = [note for note in run._folder.read_json(run._folder.dataset)["notes"] if "an epoch, so a fold" in note]
    if settings:
        assert config.epochs == 2 and not said
        return
    assert config.epochs == epochs(30, folds=2) == MOST_EPOCHS
    assert len(said) == 1 and "30 rows make only 1 step an epoch" in said[0] and "30 epochs" in said[0]
    assert "an epoch, so a fold trains 30 epochs" in run.report.read_text()
    assert len(run.metrics["learning_curves"]["fold 0"]) == MOST_EPOCHS
    assert not epochs_note(config, config, 30), "the resolved configuration decides nothing again"
