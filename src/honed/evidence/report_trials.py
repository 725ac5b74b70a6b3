"""What the report says about tuning: the range test's curves, the trials epoch by epoch, and who was chosen.

Only coordinates are computed here; the template draws and escapes. Units are CSS pixels of a drawing `WIDTH` wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from honed.evidence.report_format import DASH, decimal, finite
from honed.evidence.report_plots import WIDTH, nice_ticks
from honed.evidence.report_scores import section
from honed.evidence.run_facts import Json, RunFacts

FINAL = "final"
_LEFT, _TOP, _HEIGHT = 40.0, 10.0, 150.0
_HIGHEST_OF_START = 1.5  # a broken loss may be anything: what lies above this share of the start is cut off


@dataclass(frozen=True)
class Tick:
    """A grid line at a coordinate, with its number."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """One curve. points : as SVG takes them.   tone : its CSS classes.    ring : the point that was chosen, or None."""

    points: str
    tone: str
    ring: tuple[float, float] | None


@dataclass(frozen=True)
class Plot:
    """A whole drawing. told : what it shows, in words."""

    title: str
    told: str
    x_name: str
    width: float
    height: float
    bottom: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]


def trials_view(facts: RunFacts) -> dict[str, object] | None:
    """The settings, their curves and the choice; None if there was nothing to tune."""
    tuning = section(facts.metrics, "tuning")
    settings, trials = _rows(tuning, "settings"), _rows(tuning, "trials")
    if not settings or not trials:
        return None
    choice = {str(name): trial for name, trial in section(tuning, "choice").items()}
    n_all = len(settings) * len({trial["fold"] for trial in trials}) * max(int(t["n_epochs"]) for t in trials)
    return {
        "n_settings": len(settings),
        "chosen": _label(settings, choice.get(FINAL)),
        "final_rate": _rate_text(section(tuning, "final").get("learning_rate")),
        "final_epochs": section(tuning, "final").get("n_epochs"),
        "agree": sum(1 for name, trial in choice.items() if name != FINAL and trial == choice.get(FINAL)),
        "n_folds": len(choice) - 1,
        "n_slot_epochs": sum(int(trial["n_epochs"]) for trial in trials),
        "n_all": n_all,
        "folds": sorted({int(trial["fold"]) for trial in trials}),
        "rows": [_row(one, trials, choice) for one in settings],
        "range_plots": [_range_plot(test, settings) for test in _rows(tuning, "range_tests")],
        "fold_plots": [_fold_plot(fold, trials, choice) for fold in sorted({int(t["fold"]) for t in trials})],
    }


def _rate_text(value: object) -> str:
    rate = finite(value)
    return DASH if rate is None else f"{rate:g}"


def _rows(tuning: Json, name: str) -> list[Json]:
    rows = tuning.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _label(settings: Sequence[Json], trial: object) -> str:
    return next((str(one["label"]) for one in settings if one["trial"] == trial), "")


def _row(setting: Json, trials: Sequence[Json], choice: Mapping[str, object]) -> dict[str, object]:
    own = sorted((t for t in trials if t["trial"] == setting["trial"]), key=lambda t: int(t["fold"]))
    mean = finite(setting.get("mean_stop_loss"))
    return {
        "label": str(setting["label"]),
        "mean": DASH if mean is None else decimal(mean),
        "is_final": choice.get(FINAL) == setting["trial"],
        "cells": [
            {
                "loss": "diverged" if (loss := finite(t.get("stop_loss"))) is None else decimal(loss),
                "ended": f"ended after epoch {int(t['n_epochs']) - 1}" if t["status"] == "dropped" else "",
                "rate": f"{float(t['learning_rate']):g}",
                "is_winner": choice.get(f"fold {t['fold']}") == t["trial"],
            }
            for t in own
        ],
    }


def _range_plot(test: Json, settings: Sequence[Json]) -> dict[str, object]:
    slots = {str(name): slot for name, slot in section(test, "slots").items() if slot["rate"] and slot["loss"]}
    if not slots:
        return {"plot": None, "chosen": [], "labels": []}
    rates = [rate for slot in slots.values() for rate in slot["rate"]]
    start = max(slot["loss"][0] for slot in slots.values())
    low = min(loss for slot in slots.values() for loss in slot["loss"])
    x = _scale(math.log10(min(rates)), math.log10(max(rates)), _LEFT, WIDTH - 12)
    y = _scale(min(0.98 * low, low), _HIGHEST_OF_START * start, _TOP + _HEIGHT, _TOP)
    lines = []
    for name, slot in sorted(slots.items(), key=lambda item: item[0] == FINAL):
        points = [
            (x(math.log10(rate)), y(loss))
            for rate, loss in zip(slot["rate"], slot["loss"], strict=True)
            if loss <= _HIGHEST_OF_START * start
        ]
        ring = None
        if chosen := finite(slot.get("chosen")):
            near = min(range(len(slot["rate"])), key=lambda i: abs(math.log(slot["rate"][i] / chosen)))
            ring = (_n(x(math.log10(slot["rate"][near]))), _n(y(slot["loss"][near])))
        lines.append(Line(_points(points), "own" if name == FINAL else "other", ring))
    decades = range(math.ceil(math.log10(min(rates)) - 1e-9), math.floor(math.log10(max(rates)) + 1e-9) + 1)
    told = "; ".join(f"{name}: {_rate(slot)}" for name, slot in slots.items())
    plot = Plot(
        "Range test",
        f"Range test, loss against learning rate. {told}.",
        "learning rate",
        WIDTH,
        _TOP + _HEIGHT + 40,
        _TOP + _HEIGHT,
        [Tick(_n(x(decade)), f"1e{decade}") for decade in decades],
        [Tick(_n(y(tick)), f"{tick:g}") for tick in nice_ticks(low, _HIGHEST_OF_START * start, 4)],
        lines,
    )
    labels = [_label(settings, trial) for trial in test.get("trials", [])]
    return {
        "plot": plot,
        "chosen": [{"slot": name, "rate": _rate(slot)} for name, slot in slots.items()],
        "labels": labels,
    }


def _rate(slot: Json) -> str:
    chosen = finite(slot.get("chosen"))
    return "no sign of a fall" if chosen is None else f"{chosen:g}"


def _fold_plot(fold: int, trials: Sequence[Json], choice: Mapping[str, object]) -> Plot:
    """Stop loss of every trial of a fold by epoch; the winner in the accent colour, a ring at the epoch it kept."""
    winner = choice.get(f"fold {fold}")
    curves = {
        int(t["trial"]): [loss for row in t["curve"] if (loss := finite(row.get("stop_loss"))) is not None]
        for t in trials
        if t["fold"] == fold
    }
    known = [loss for losses in curves.values() for loss in losses] or [1.0]
    first = [losses[0] for losses in curves.values() if losses] or [1.0]
    low, high = min(known), min(max(known), _HIGHEST_OF_START * sorted(first)[len(first) // 2])
    n_epochs = max(map(len, curves.values()))
    x = _scale(0, max(1, n_epochs - 1), _LEFT, 228)
    y = _scale(low - 0.05 * (high - low or 1), high, _TOP + 104, _TOP)
    lines, told = [], []
    for trial, losses in sorted(curves.items(), key=lambda item: item[0] == winner):
        points = [(x(epoch), y(loss)) for epoch, loss in enumerate(losses) if loss <= high]
        best = min(losses, default=None)
        ring = None
        if trial == winner and best is not None:
            ring = (_n(x(losses.index(best))), _n(y(best)))
        lines.append(Line(_points(points), "own" if trial == winner else "other", ring))
        told.append(f"setting {trial} {'diverged' if best is None else f'reached {decimal(best)}'}")
    return Plot(
        f"fold {fold}",
        f"Fold {fold}, stop loss by epoch: {', '.join(told)}; setting {winner} chosen.",
        "epoch",
        240,
        _TOP + 104 + 22,
        _TOP + 104,
        [Tick(_n(x(epoch)), str(epoch)) for epoch in sorted({0, n_epochs - 1})],
        [Tick(_n(y(tick)), f"{tick:g}") for tick in nice_ticks(low, high, 3)],
        lines,
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (end - start) * ((value - low) / (high - low) if high > low else 0.5)


def _points(points: Sequence[tuple[float, float]]) -> str:
    if len(points) == 1:  # a line of no length is not drawn: make it a short one
        (x, y) = points[0]
        points = [(x - 3, y), (x + 3, y)]
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _n(value: float) -> float:
    return round(value, 1)
