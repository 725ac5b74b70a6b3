"""Where the marks of an audit's drawing stand: coordinates only; the template draws and escapes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from honed.evidence.audit_words import arm_name, interval, rate_text
from honed.evidence.comparison_plots import Tick
from honed.evidence.report_format import NARROW_SPACE, percent
from honed.evidence.report_plots import nice_ticks

WIDTH, HEIGHT = 520.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 400.0, 12.0, 256.0
_TONES = ("other", "own", "own dashed", "other dashed")
_APART = 5.0  # pixels between the arms of a rate, lest their bars cover each other
_LINE = 15.0  # pixels between the names at the right


@dataclass(frozen=True)
class Point:
    """A score at (x, y), its interval from y = low to y = high."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """An arm: its points from left to right, and its name at height `name_y`. tone : CSS classes."""

    name: str
    tone: str
    points: tuple[Point, ...]
    name_y: float


@dataclass(frozen=True)
class Plot:
    """The whole drawing, and what it says in words."""

    title: str
    told: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def noise_plot(figures: Mapping[str, Any]) -> Plot:
    """Accuracy against planted noise, a line for each arm; all begin at the labels as given."""
    rates, clean = figures["rates"], figures["clean"]
    names = list(rates[0]["arms"])
    scores = {name: [clean, *(own["arms"][name]["score"] for own in rates)] for name in names}
    ends = [score[end] for own in scores.values() for score in own for end in ("low", "high")]
    pad = 0.06 * (max(ends) - min(ends)) or 0.05
    low, high = max(min(ends) - pad, 0.0), min(max(ends) + pad, 1.0)
    widest = rates[-1]["rate"]

    def x(rate: float) -> float:
        return float(round(LEFT + 16 + (RIGHT - LEFT - 40) * rate / widest, 1))

    def y(value: float) -> float:
        return float(round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1))

    at = [0.0, *(own["rate"] for own in rates)]
    places = _apart({name: y(own[-1]["value"]) + 4 for name, own in scores.items()})
    lines = tuple(
        Line(
            arm_name(name),
            _TONES[i % len(_TONES)],
            tuple(
                Point(round(x(rate) + (_APART * i if rate else 0), 1), y(s["value"]), y(s["low"]), y(s["high"]))
                for rate, s in zip(at, scores[name], strict=True)
            ),
            places[name],
        )
        for i, name in enumerate(names)
    )
    told = f"{arm_name('clean')}: {interval(clean)}. " + " ".join(
        f"{rate_text(own['rate'])} noise, {arm_name(name)}: {interval(own['arms'][name]['score'])}."
        for own in rates
        for name in names
    )
    return Plot(
        f"Accuracy against planted noise, with {percent(figures['level'], 0)} intervals",
        told,
        tuple(Tick(x(rate), rate_text(rate)) for rate in at),
        tuple(Tick(y(tick), f"{100 * tick:g}{NARROW_SPACE}%") for tick in nice_ticks(low, high, 5)),
        lines,
    )


def _apart(wanted: Mapping[str, float]) -> dict[str, float]:
    """Heights in the order that was wanted, far enough apart to read."""
    places: dict[str, float] = {}
    last = TOP
    for name, place in sorted(wanted.items(), key=lambda item: item[1]):
        last = places[name] = round(max(place, last + (_LINE if places else 0)), 1)
    return places
