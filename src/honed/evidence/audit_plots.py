"""Where the marks of an audit's drawing stand: accuracy against planted noise; the template draws and escapes them.

Units are CSS pixels of a drawing `WIDTH` wide, as in `report_plots`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from honed.evidence.audit_words import arm_name, interval, rate_text
from honed.evidence.comparison_plots import Tick
from honed.evidence.report_format import percent
from honed.evidence.report_plots import WIDTH, nice_ticks

_LEFT, _RIGHT, _TOP, _HEIGHT = 46.0, 58.0, 12.0, 230.0
_APART = 14.0  # between the names at the right
_DODGE = 3.0  # so that the intervals of one rate stand beside each other


@dataclass(frozen=True)
class Dot:
    """A figure at (x, y) with the ends of its interval on the vertical axis."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One way to train. line, band : as SVG's points, empty for a single figure.    name_y : of its name."""

    name: str
    line: str
    band: str
    dots: tuple[Dot, ...]
    name_y: float


@dataclass(frozen=True)
class Plot:
    """A whole drawing. told : what it shows, in words.    name_x : where the names stand.    bottom : of the plot."""

    told: str
    width: float
    height: float
    bottom: float
    name_x: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def noise_plot(figures: Mapping[str, Any]) -> Plot:
    """Accuracy of clean, noisy and cleaned training against the share of spoilt labels. figures : of `audit.json`."""
    clean, rates = figures["clean"], figures["rates"]
    last = float(rates[-1]["rate"])
    series = {"clean": [(0.0, clean), (last, clean)], "noisy": [(0.0, clean)]}
    for one in rates:
        for name, arm in one["arms"].items():
            series.setdefault(name, []).append((one["rate"], arm["score"]))
    ends = [figure[end] for points in series.values() for _, figure in points for end in ("low", "high")]
    pad = 0.04 * (max(ends) - min(ends)) or 0.05
    low, high = max(0.0, min(ends) - pad), min(1.0, max(ends) + pad)

    def x(rate: float) -> float:
        return _LEFT + 8 + (WIDTH - _LEFT - _RIGHT - 16) * rate / last

    def y(value: float) -> float:
        return _round(_TOP + _HEIGHT * (1 - (value - low) / (high - low)))

    names_y = _spread({name: y(points[-1][1]["value"]) for name, points in series.items()})
    shift = {name: _DODGE * (i - (len(series) - 1) / 2) for i, name in enumerate(series)}
    lines = tuple(_line(name, points, x, y, shift[name], names_y[name]) for name, points in series.items())
    bottom = _TOP + _HEIGHT
    return Plot(
        told=_told(figures),
        width=WIDTH,
        height=bottom + 42,
        bottom=bottom,
        name_x=WIDTH - _RIGHT + 6,
        x_ticks=tuple(_without_crowd([Tick(_round(x(rate)), rate_text(rate)) for rate in (0.0, *_rates(rates))])),
        y_ticks=tuple(Tick(y(tick), rate_text(tick)) for tick in nice_ticks(low, high, 5)),
        lines=lines,
    )


def _line(
    name: str,
    points: Sequence[tuple[float, Mapping[str, Any]]],
    x: Callable[[float], float],
    y: Callable[[float], float],
    shift: float,
    name_y: float,
) -> Line:
    is_flat = name == "clean"
    dots = tuple(
        Dot(_round(x(rate) + (0 if rate == 0 else shift)), y(figure["value"]), y(figure["low"]), y(figure["high"]))
        for rate, figure in points
    )
    band = [(dot.x, dot.low) for dot in dots] + [(dot.x, dot.high) for dot in reversed(dots)]
    return Line(
        name=name,
        line=_points([(dot.x, dot.y) for dot in dots]) if len(dots) > 1 else "",
        band=_points(band) if len(dots) > 1 else "",
        dots=dots[:1] if is_flat else dots[1:] if name == "noisy" else dots,
        name_y=name_y,
    )


def _told(figures: Mapping[str, Any]) -> str:
    arms = [(f"{rate_text(own['rate'])} spoilt, ", own["arms"]) for own in figures["rates"]]
    parts = [f"{arm_name('clean')}: {interval(figures['clean'])}"]
    parts += [f"{rate}{arm_name(name)}: {interval(arm['score'])}" for rate, own in arms for name, arm in own.items()]
    level = percent(figures["level"], 0)
    return f"Accuracy against the share of spoilt labels, with {level} intervals. {'; '.join(parts)}."


def _rates(rates: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float(one["rate"]) for one in rates]


def _without_crowd(ticks: Sequence[Tick]) -> list[Tick]:
    """The ticks, the last of all, without those whose numbers would overlap."""
    kept: list[Tick] = []
    for tick in reversed(ticks):
        if not kept or kept[-1].at - tick.at > 30:
            kept.append(tick)
    return kept[::-1]


def _spread(wanted: Mapping[str, float]) -> dict[str, float]:
    """Places for the names, in the order of what they name, none upon another."""
    order = sorted(wanted, key=lambda name: wanted[name])
    places: list[float] = []
    for name in order:
        places.append(max(wanted[name], places[-1] + _APART) if places else wanted[name])
    lowest = _TOP + _HEIGHT
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], lowest)
        lowest = places[i] - _APART
    return {name: _round(place + 4) for name, place in zip(order, places, strict=True)}


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _round(value: float) -> float:
    return round(value, 1)
