"""The part of the report on tuning: whole, safe, and absent where nothing was tuned."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from golden.make_run import HOSTILE, RunOptions, make_run
from honed.evidence.report import environment
from honed.evidence.report_trials import trials_view
from honed.evidence.run_facts import read_run

TUNING: dict[str, Any] = {
    "settings": [
        {"trial": 0, "label": "learning_rate=0.001", "values": {"learning_rate": 0.001}, "mean_stop_loss": 0.5},
        {"trial": 1, "label": HOSTILE, "values": {"target": HOSTILE}, "mean_stop_loss": None},
    ],
    "range_tests": [
        {
            "trials": [0, 1],
            "slots": {
                "fold 0": {"rate": [1e-6, 1e-4, 1e-2], "loss": [1.6, 1.2, 90.0], "chosen": 1e-5},
                "final": {"rate": [1e-6, 1e-4], "loss": [1.6, 1.6], "chosen": None},
            },
        }
    ],
    "trials": [
        {"trial": 0, "fold": 0, "status": "done", "n_epochs": 2, "stop_loss": 0.4, "learning_rate": 1e-3,
         "curve": [{"epoch": 0, "stop_loss": 0.6}, {"epoch": 1, "stop_loss": 0.4}]},
        {"trial": 0, "fold": 1, "status": "dropped", "n_epochs": 1, "stop_loss": 0.6, "learning_rate": 1e-3,
         "curve": [{"epoch": 0, "stop_loss": 0.6}]},
        {"trial": 1, "fold": 0, "status": "diverged", "n_epochs": 0, "stop_loss": None, "learning_rate": 1e-2,
         "curve": []},
        {"trial": 1, "fold": 1, "status": "done", "n_epochs": 2, "stop_loss": 0.3, "learning_rate": 1e-2,
         "curve": [{"epoch": 0, "stop_loss": 0.5}, {"epoch": 1, "stop_loss": 0.3}]},
    ],
    "choice": {"fold 0": 0, "fold 1": 1, "final": 0},
    "final": {"learning_rate": 1e-3, "head_learning_rate": 1e-2, "n_epochs": 2},
    "n_slot_epochs": 5,
}  # fmt: skip


def page(run: Path, tuning: dict[str, Any] | None) -> str:
    make_run(run, RunOptions(n_rows=60))
    metrics = json.loads((run / "metrics.json").read_text())
    if tuning:
        (run / "metrics.json").write_text(json.dumps({**metrics, "tuning": tuning}))
    return environment().get_template("trials.html.j2").render(trials=trials_view(read_run(run)))


class Words(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_it_says_who_was_tried_who_was_ended_and_who_was_chosen(tmp_path: Path) -> None:
    html = page(tmp_path / "run", TUNING)
    text = Words(html).text
    assert (
        "2 settings competed" in text and "won 1 of 2 folds" in text and "5 epochs were trained in place of 8" in text
    )
    assert "ended after epoch 0" in text and "diverged" in text and "rate 0.001" in text
    assert "learning_rate=0.001 (rate 0.001, 2 epochs)" in text
    assert "fold 0 1e-05" in text and "no sign of a fall" in text
    assert len(re.findall("<svg", html)) == 3 and html.count("<circle") == 3
    for label in re.findall(r'aria-label="([^"]*)"', html):
        assert label
    for points in re.findall(r'points="([^"]*)"', html):
        for x, y in (pair.split(",") for pair in points.split()):
            assert 0 <= float(x) <= 340 and 0 <= float(y) <= 200
    assert "style=" not in html


def test_a_hostile_value_is_shown_as_text(tmp_path: Path) -> None:
    html = page(tmp_path / "run", TUNING)
    assert "<script" not in html and "<img" not in html and "\u202e" not in html


@pytest.mark.parametrize("tuning", [None, {"settings": [], "trials": []}])
def test_nothing_is_said_where_nothing_was_tuned(tuning: dict[str, Any] | None, tmp_path: Path) -> None:
    assert page(tmp_path / "run", tuning).strip() == ""
