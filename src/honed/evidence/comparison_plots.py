"""Where the marks of a comparison's drawings stand: coordinates only; the template draws and escapes them.

Units are CSS pixels of a drawing `WIDTH` wide, as in `report_plots`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from honed.evidence.report_format import DASH, METRICS, NARROW_SPACE, Metric, percent, value_text
from honed.evidence.report_plots import WIDTH, nice_ticks

if TYPE_CHECKING:
    from honed.evidence.selection import Comparison

ROW_HEIGHT = 38.0
_CHARACTER = 6.6  # mean width of a character at 12 px; only labels that crowd each other depend on it
_LINE = 13.0


@dataclass(frozen=True)
class Tick:
    """A grid line at a coordinate, with its number."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """One entry: its point (x, y), its interval (low to high along one axis), its name at (text_x, text_y).

    tone : CSS class, own for the recommended method and other for the rest.      shape : circle, or square (baseline).
    """

    name: str
    value: str
    tone: str
    shape: str
    x: float
    y: float
    low: float
    high: float
    text_x: float
    text_y: float
    anchor: str


@dataclass(frozen=True)
class Plot:
    """A whole drawing: its size, what it says in words, grid and marks."""

    title: str
    told: str
    width: float
    height: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    lead: float | None = None


def interval_plot(comparison: Comparison) -> Plot:
    """One row an entry, best first: its score as a point on its interval; dashed, the best method's score."""
    metric = METRICS[comparison.metric]
    low, high = _range(comparison, metric)

    def x(value: float) -> float:
        return _round(8 + (WIDTH - 16) * (value - low) / (high - low))

    marks = []
    for i, row in enumerate(comparison.standings):
        top = 6 + ROW_HEIGHT * i
        marks.append(
            Mark(
                row.name,
                value_text(metric, row.score.value),
                _tone(comparison, row.name),
                _shape(row.cost.is_baseline),
                x(row.score.value),
                top + 26,
                x(row.score.low),
                x(row.score.high),
                8.0,
                top + 14,
                "start",
            )
        )
    told = "; ".join(
        _say(metric, row.name, row.score.value, (row.score.low, row.score.high)) for row in comparison.standings
    )
    ticks = tuple(Tick(x(tick), _tick_text(metric, tick)) for tick in nice_ticks(low, high, 4))
    bottom = 6 + ROW_HEIGHT * len(marks)
    lead = x(comparison.standing(comparison.best).score.value)
    title = f"{metric.name} of every method, with {percent(comparison.level, 0)} intervals"
    return Plot(title, f"{told}.", WIDTH, bottom + 22, ticks, (), tuple(marks), lead)


def cost_plot(comparison: Comparison) -> Plot:
    """Score against trained parameters on a log axis; at its left stands what trains nothing or was not counted."""
    metric = METRICS[comparison.metric]
    left, right, top, height = 46.0, WIDTH - 14, 10.0, 230.0
    low, high = _range(comparison, metric)
    counts = [row.cost.trained_parameters for row in comparison.standings]
    sizes = [n for n in counts if n]
    first = math.floor(math.log10(min(sizes, default=1)))
    last = max(math.ceil(math.log10(max(sizes, default=10))), first + 1)
    beside = [Tick(left + 14, DASH if None in counts else "0")] * (len(sizes) < len(counts))
    start = left + (40 if beside else 14)

    def x(n_parameters: int | None) -> float:
        if not n_parameters:
            return left + 14
        return _round(start + (right - start) * (math.log10(n_parameters) - first) / (last - first))

    def y(value: float) -> float:
        return _round(top + height * (1 - (value - low) / (high - low)))

    step = max(1, math.ceil((last - first) / 5))
    x_ticks = [Tick(x(10**power), _power_text(power)) for power in range(first, last + 1, step)]
    points = [(x(n), y(row.score.value)) for n, row in zip(counts, comparison.standings, strict=True)]
    places = _place([row.name for row in comparison.standings], points, (left, right, top, top + height))
    marks = tuple(
        Mark(
            row.name,
            value_text(metric, row.score.value),
            _tone(comparison, row.name),
            _shape(row.cost.is_baseline),
            at[0],
            at[1],
            y(row.score.low),
            y(row.score.high),
            place[0],
            place[1],
            place[2],
        )
        for row, at, place in zip(comparison.standings, points, places, strict=True)
    )
    told = "; ".join(
        f"{row.name}: {_count_text(row.cost.trained_parameters)}, {value_text(metric, row.score.value)}"
        for row in comparison.standings
    )
    return Plot(
        f"{metric.name} against trained parameters",
        f"{told}.",
        WIDTH,
        top + height + 46,
        tuple(beside + x_ticks),
        tuple(Tick(y(tick), _tick_text(metric, tick)) for tick in nice_ticks(low, high, 5)),
        marks,
    )


def _range(comparison: Comparison, metric: Metric) -> tuple[float, float]:
    ends = [end for row in comparison.standings for end in (row.score.low, row.score.high)]
    pad = 0.06 * (max(ends) - min(ends)) or 0.05
    low, high = min(ends) - pad, max(ends) + pad
    return (max(low, 0.0), min(high, 1.0)) if metric.is_percent else (low, high)


def _tone(comparison: Comparison, name: str) -> str:
    return "own" if name == comparison.recommended else "other"


def _shape(is_baseline: bool) -> str:
    return "square" if is_baseline else "circle"


def _tick_text(metric: Metric, value: float) -> str:
    return f"{100 * value:g}{NARROW_SPACE}%" if metric.is_percent else f"{value:g}"


def _power_text(power: int) -> str:
    for unit, exponent in (("T", 12), ("G", 9), ("M", 6), ("k", 3)):
        if power >= exponent:
            return f"{10 ** (power - exponent)}{NARROW_SPACE}{unit}"
    return str(10**power)


def _say(metric: Metric, name: str, value: float, ends: tuple[float, float]) -> str:
    low, high = (value_text(metric, end) for end in ends)
    return f"{name} {value_text(metric, value)} ({low} to {high})"


def _count_text(n_parameters: int | None) -> str:
    return "parameters not counted" if n_parameters is None else f"{n_parameters} trained parameters"


def _round(value: float) -> float:
    return round(value, 1)


def _place(
    names: Sequence[str], points: Sequence[tuple[float, float]], box: tuple[float, float, float, float]
) -> list[tuple[float, float, str]]:
    """A place beside each point where its name covers no other name and no point. -> (x, y, text-anchor)."""
    left, right, top, bottom = box
    taken = [(x - 5, x + 5, y - 5, y + 5) for x, y in points]
    places = []
    for name, (x, y) in zip(names, points, strict=True):
        width = _CHARACTER * min(len(name), 24)
        best: tuple[float, tuple[float, float, str], tuple[float, float, float, float]] | None = None
        for shift in (4.0, -10.0, 18.0, -24.0, 32.0, -38.0, 46.0):
            for anchor, start in (("start", x + 8), ("end", x - 8 - width)):
                area = (start, start + width, y + shift - _LINE + 3, y + shift + 3)
                outside = max(0.0, left - area[0], area[1] - right, top - area[2], area[3] - bottom)
                crowd = sum(_overlap(area, other) for other in taken)
                cost = crowd + 20 * outside + abs(shift) / 10
                if best is None or cost < best[0]:
                    best = cost, (_round(x + 8 if anchor == "start" else x - 8), _round(y + shift), anchor), area
        assert best is not None
        places.append(best[1])
        taken.append(best[2])
    return places


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[2], b[2]))
