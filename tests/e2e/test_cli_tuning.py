"""Trials, a parameter budget, recipes and the plan from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.conftest import SHORT
from honed.config import make_config, read_config


@pytest.mark.slow
def test_trials_are_chosen_reported_and_shipped(cli: Callable, minilm: None, easy_csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    swept = "learning_rate=1e-6,1e-3; head_learning_rate=1e-6,1e-2"
    said = cli("fit", easy_csv, *SHORT, "--trials", swept, "--parameters", "2k", "--no-gate", "--out", out)
    assert said.code == 0, said.stderr
    tuning = json.loads((out / "metrics.json").read_text())["tuning"]
    assert len(tuning["settings"]) == 4
    best = tuning["settings"][tuning["choice"]["final"]]
    assert best["values"]["head_learning_rate"] == 1e-2, "a head that does not move learns nothing"
    assert "What was tried" in (out / "report.html").read_text(encoding="utf-8")
    config = make_config(read_config(out / "config.yaml"))
    facts = json.loads((out / "metrics.json").read_text())["parameters"]
    assert config.parameters is None and config.method == "lora" and 0 < facts["adapter"] <= 2000
    assert any("2k" in note for note in json.loads((out / "dataset.json").read_text())["notes"])


def test_bad_trials_and_budgets_are_refused_before_anything_is_written(
    cli: Callable, minilm: None, easy_csv: Path, tmp_path: Path
) -> None:
    for flags, fact in (
        (("--trials", "rnak=1,2"), "rank"),
        (("--trials", "rank=4,16", "--stop-frac", "0"), "--stop-frac"),
        (("--parameters", "0"), "--parameters"),
        (("--parameters", "many"), "--parameters"),
        (("--parameters", "1", "--method", "lora"), "--parameters"),
    ):
        said = cli("fit", easy_csv, *flags, "--out", tmp_path / "out")
        assert said.code == 2 and fact in said.stderr, said.stderr
        assert not (tmp_path / "out").exists()


def test_a_plan_needs_neither_data_nor_weights(cli: Callable) -> None:
    said = cli("plan", "--base", "100b", "--precision", "bfloat16", "--machine", "h200", "--rows", "1000", "--json")
    assert said.code == 0, said.stdout
    assert said.json["parameters"]["base"] > 9e10
    told = cli("plan", "--base", "100b", "--machine", "nonesuch")
    assert told.code == 2 and "h200" in told.stderr.lower()


def test_recipes_can_be_read_and_copied(cli: Callable, tmp_path: Path) -> None:
    assert "legal" in cli("recipes").stdout and "finance" in cli("recipes", "--json").json["recipes"]
    file = tmp_path / "mine.yaml"
    file.write_text(cli("recipes", "legal").stdout)
    assert make_config(read_config(file)).method == "prefix"
    assert "Did you mean 'legal'" in cli("recipes", "legl").stderr
