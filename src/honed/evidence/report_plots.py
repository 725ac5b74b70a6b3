"""The report's drawings: small inline SVG whose colours are the page's own CSS classes, so they follow light and dark.

Every function returns a whole `<svg>` with an `aria-label` that says in words what it shows. Coordinates are CSS pixels
of a drawing 340 wide, which a phone shows at its natural size. No style attributes: the page's security policy forbids
them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from honed.evidence.report_format import DASH, Figure, Metric, percent, range_text, value_text, visible

WIDTH = 340.0
_SHADES = (0.02, 0.05, 0.12, 0.3, 0.6)  # shares of a row; single confusions of many must stay faint


@dataclass(frozen=True)
class ForestRow:
    """One model of a forest plot with its two figures; `is_specialist` draws it in the accent colour."""

    name: str
    out_of_fold: Figure
    holdout: Figure
    is_specialist: bool


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: mean confidence, share right with its interval, rows."""

    confidence: float
    accuracy: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Curve:
    """The learning curve of one slot; losses in nats, None where not measured."""

    slot: str
    epoch: list[int]
    train_loss: list[float | None]
    stop_loss: list[float | None]
    best_epoch: int | None


def nice_ticks(low: float, high: float, n: int) -> list[float]:
    """About n round numbers that lie within [low, high]."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / max(n, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def forest(metric: Metric, rows: Sequence[ForestRow]) -> Markup:
    """Specialist and baselines, each with out-of-fold (ring) and holdout (square) and their intervals."""
    figures = [fig for row in rows for fig in (row.out_of_fold, row.holdout)]
    ends = [v for fig in figures for v in (fig.value, fig.low, fig.high) if v is not None]
    if not ends:
        return Markup("")
    pad = 0.06 * (max(ends) - min(ends)) or 0.05
    low, high = min(ends) - pad, max(ends) + pad
    if metric.is_percent:
        low, high = max(low, 0.0), min(high, 1.0)

    def x(value: float) -> float:
        return 8 + (WIDTH - 16) * (value - low) / (high - low or 1)

    row_height = 46
    bottom = 6 + row_height * len(rows)
    parts: list[str] = []
    for tick in nice_ticks(low, high, 4):
        text = percent(tick, 0) if metric.is_percent else f"{tick:g}"
        parts.append(draw_line(x(tick), 4, x(tick), bottom, "grid"))
        anchor = "start" if x(tick) < 20 else "end" if x(tick) > WIDTH - 20 else "middle"
        parts.append(draw_text(x(tick), bottom + 16, text, "tick", anchor))
    specialist = next((row for row in rows if row.is_specialist), None)
    if specialist:
        lead = specialist.holdout.value if specialist.holdout.value is not None else specialist.out_of_fold.value
        if lead is not None:
            parts.append(draw_line(x(lead), 4, x(lead), bottom, "lead"))
    for i, row in enumerate(rows):
        top = 6 + row_height * i
        shown = row.holdout if row.holdout.value is not None else row.out_of_fold
        tone = "own" if row.is_specialist else "other"
        parts.append(draw_text(8, top + 14, row.name, "name strong" if row.is_specialist else "name", "start"))
        label = "not run" if shown.value is None else value_text(metric, shown.value)
        parts.append(draw_text(WIDTH - 8, top + 14, label, "name figure", "end"))
        for fig, y, shape in ((row.out_of_fold, top + 25.0, "ring"), (row.holdout, top + 36.0, "square")):
            if fig.value is None:
                continue
            if fig.low is not None and fig.high is not None:
                parts.append(draw_line(x(fig.low), y, x(fig.high), y, f"bar {tone}"))
            if shape == "ring":
                parts.append(f'<circle cx="{px(x(fig.value))}" cy="{px(y)}" r="3.6" class="ring {tone}"/>')
            else:
                parts.append(draw_rect(x(fig.value) - 3.6, y - 3.6, 7.2, 7.2, f"mark {tone}"))
    told = "; ".join(
        f"{row.name}: out-of-fold {_say(metric, row.out_of_fold)}, holdout {_say(metric, row.holdout)}" for row in rows
    )
    return draw_svg(WIDTH, bottom + 22, f"{metric.name} with intervals. {told}.", parts)


def icon_array(value: float, low: float, high: float) -> Markup:
    """A hundred dots: right for sure (full), right or wrong (half: the interval), wrong (empty)."""
    n_sure, n_maybe = math.floor(100 * low + 0.5), math.floor(100 * high + 0.5)
    parts = []
    for i in range(100):
        tone = "sure" if i < n_sure else "maybe" if i < n_maybe else "miss"
        parts.append(f'<circle cx="{8 + 14 * (i % 10)}" cy="{8 + 14 * (i // 10)}" r="4.6" class="dot {tone}"/>')
    told = f"Of 100 rows about {100 * value:.0f} are predicted correctly; the interval is {n_sure} to {n_maybe}."
    return draw_svg(142, 142, told, parts)


def class_bar(value: float, low: float | None, high: float | None) -> Markup:
    """A recall with its interval as a bar for a table cell."""
    parts = [draw_rect(0, 4, 120, 8, "track"), draw_rect(0, 4, 120 * value, 8, "fill own")]
    told = percent(value)
    if low is not None and high is not None:
        parts += [
            draw_line(120 * low, 8, 120 * high, 8, "whisker"),
            draw_line(120 * low, 3, 120 * low, 13, "whisker"),
            draw_line(120 * high, 3, 120 * high, 13, "whisker"),
        ]
        told += f", interval {percent(low)} to {percent(high)}"
    return draw_svg(120, 16, told, parts, "classbar")


def share_bar(share: float) -> Markup:
    """A plain bar for a share of a whole; decoration beside a number, so hidden from screen readers."""
    width = 120 * min(max(share, 0.0), 1.0)
    parts = [draw_rect(0, 5, 120, 6, "track"), draw_rect(0, 5, width, 6, "fill own")]
    return draw_svg(120, 16, "", parts, "classbar")


_SQUARE_LEFT, _SQUARE_TOP, _SQUARE_SIZE = 44.0, 10.0, 280.0
_SQUARE_BOTTOM = _SQUARE_TOP + _SQUARE_SIZE


def _square_x(value: float) -> float:
    return _SQUARE_LEFT + _SQUARE_SIZE * value


def _square_y(value: float) -> float:
    return _SQUARE_TOP + _SQUARE_SIZE * (1 - value)


def _unit_square(below: float) -> list[str]:
    """A square from 0 to 100 % in both directions, with its diagonal. below : where the numbers of x stand."""
    x, y = _square_x, _square_y
    parts: list[str] = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(draw_line(x(tick), y(1), x(tick), y(0), "grid"))
        parts.append(draw_line(x(0), y(tick), x(1), y(tick), "grid"))
        parts.append(draw_text(x(0) - 6, y(tick) + 4, f"{100 * tick:.0f}", "tick", "end"))
        parts.append(draw_text(x(tick), y(0) + below, f"{100 * tick:.0f}", "tick", "middle"))
    parts.append(draw_line(x(0), y(0), x(1), y(1), "diagonal"))
    return parts


def _upwards(words: str) -> str:
    """What y means, along the left side of the square."""
    middle = px(_square_y(0.5))
    return (
        f'<text x="12" y="{middle}" class="tick" text-anchor="middle" transform="rotate(-90 12 {middle})">'
        f"{words}</text>"
    )


def reliability(title: str, bins: Sequence[Bin]) -> Markup:
    """Confidence against the share that was right, with intervals; below, how many rows had that confidence."""
    x, y = _square_x, _square_y

    parts = _unit_square(below=58)
    base = _SQUARE_BOTTOM + 44
    total = sum(b.n for b in bins) or 1
    tallest = max((b.n for b in bins), default=1) or 1
    for b in bins:
        height = 34 * b.n / tallest
        parts.append(draw_rect(x(b.confidence) - 5, base - height, 10, height, "fill other"))
        if b.n:
            parts.append(draw_line(x(b.confidence), y(b.low), x(b.confidence), y(b.high), "bar own"))
    points = " ".join(f"{px(x(b.confidence))},{px(y(b.accuracy))}" for b in bins if b.n)
    parts.append(f'<polyline points="{points}" class="curve own"/>')
    parts += [
        f'<circle cx="{px(x(b.confidence))}" cy="{px(y(b.accuracy))}" r="4" class="mark own"/>' for b in bins if b.n
    ]
    parts.append(draw_text(x(0.5), _SQUARE_BOTTOM + 76, "confidence, % (bars: rows)", "tick", "middle"))
    parts.append(_upwards("really right, %"))
    told = "; ".join(
        f"confidence {percent(b.confidence, 0)}: right {percent(b.accuracy, 0)} of {b.n} rows" for b in bins if b.n
    )
    return draw_svg(WIDTH, _SQUARE_BOTTOM + 84, f"{title}, {total} rows. {told}.", parts)


def roc(
    title: str,
    false_positive_rate: Sequence[float],
    curve: tuple[Sequence[float], Sequence[float], Sequence[float]],
    point: tuple[float, float] | None,
) -> Markup:
    """The ROC curve in its band. curve : sensitivity, its low and its high end; point : the operating point."""
    x, y = _square_x, _square_y

    def along(values: Sequence[float], rates: Sequence[float]) -> str:
        return " ".join(f"{px(x(rate))},{px(y(value))}" for rate, value in zip(rates, values, strict=True))

    sensitivity, low, high = curve
    rates = list(false_positive_rate)
    parts = _unit_square(below=16)
    parts.append(f'<polygon points="{along(high, rates)} {along(low[::-1], rates[::-1])}" class="band own"/>')
    parts.append(f'<polyline points="{along([0.0, *sensitivity], [0.0, *rates])}" class="curve own"/>')
    told = f"ROC curve, {title}"
    if point is not None:
        parts.append(f'<circle cx="{px(x(point[0]))}" cy="{px(y(point[1]))}" r="4.5" class="mark own"/>')
        told += f"; operating point: {percent(point[1])} of the ill found, {percent(point[0])} of the healthy alarmed"
    parts.append(draw_text(x(0.5), _SQUARE_BOTTOM + 34, "false alarms, % of the healthy", "tick", "middle"))
    parts.append(_upwards("found, % of the ill"))
    return draw_svg(WIDTH, _SQUARE_BOTTOM + 42, told + ".", parts)


def learning_curve(curve: Curve, highest: float) -> Markup:
    """Training loss (dashed) and stop-part loss (solid) by epoch; the ring is the epoch that was kept."""
    left, top, width, height = 34.0, 10.0, 180.0, 104.0
    first, last = min(curve.epoch), max(curve.epoch)

    def x(epoch: float) -> float:
        return left + width * ((epoch - first) / (last - first) if last > first else 0.5)

    def y(loss: float) -> float:
        return top + height * (1 - min(loss / highest, 1.0))

    parts: list[str] = []
    for tick in nice_ticks(0, highest, 3):
        parts.append(draw_line(left, y(tick), left + width, y(tick), "grid"))
        parts.append(draw_text(left - 6, y(tick) + 4, f"{tick:g}", "tick", "end"))
    for epoch in sorted({first, last}):
        parts.append(draw_text(x(epoch), top + height + 16, str(epoch), "tick", "middle"))
    told = []
    for name, losses, tone in (("training", curve.train_loss, "other dashed"), ("stop", curve.stop_loss, "own")):
        known = [(epoch, loss) for epoch, loss in zip(curve.epoch, losses, strict=True) if loss is not None]
        if not known:
            continue
        points = " ".join(f"{px(x(epoch))},{px(y(loss))}" for epoch, loss in known)
        parts.append(f'<polyline points="{points}" class="curve {tone}"/>')
        if len(known) == 1:
            parts.append(f'<circle cx="{px(x(known[0][0]))}" cy="{px(y(known[0][1]))}" r="2.5" class="mark {tone}"/>')
        told.append(f"{name} loss from {known[0][1]:.2f} to {known[-1][1]:.2f}")
    kept = [
        loss if loss is not None else train
        for epoch, loss, train in zip(curve.epoch, curve.stop_loss, curve.train_loss, strict=True)
        if epoch == curve.best_epoch
    ]
    if kept and kept[0] is not None and curve.best_epoch is not None:
        parts.append(f'<circle cx="{px(x(curve.best_epoch))}" cy="{px(y(kept[0]))}" r="4.5" class="ring own"/>')
        told.append(f"epoch {curve.best_epoch} kept")
    return draw_svg(220, top + height + 22, f"{curve.slot}: {', '.join(told)}.", parts)


def heat_map(confusion: Sequence[Sequence[float]]) -> Markup:
    """A compact confusion matrix for many classes: rows given, columns predicted; darker = larger share of the row.

    One path for each of six shades, so that 77 x 77 cells stay small.
    """
    n = len(confusion)
    right: list[list[str]] = [[] for _ in range(6)]
    wrong: list[list[str]] = [[] for _ in range(6)]
    for i, row in enumerate(confusion):
        total = sum(row)
        for j, value in enumerate(row):
            if value > 0:
                shade = bisect_right(_SHADES, value / total)
                (right if i == j else wrong)[shade].append(f"M{j} {i}h1v1h-1z")
    parts = [f'<rect width="{n}" height="{n}" class="track"/>']
    for tone, shades in (("right", right), ("wrong", wrong)):
        parts += [f'<path d="{"".join(cells)}" class="{tone} s{k}"/>' for k, cells in enumerate(shades) if cells]
    told = (
        f"Confusion heat map of {n} classes; the diagonal is right, cells off it are confusions. The table lists them."
    )
    return draw_svg(n, n, told, parts, "heat")


def _say(metric: Metric, fig: Figure) -> str:
    if fig.value is None:
        return "not run"
    interval = range_text(metric, fig)
    return value_text(metric, fig.value) + (f" ({interval.replace(f' {DASH} ', ' to ')})" if interval else "")


def px(value: float) -> str:
    """A coordinate with one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def draw_line(x1: float, y1: float, x2: float, y2: float, tone: str) -> str:
    """A line of class `tone`."""
    return f'<line x1="{px(x1)}" y1="{px(y1)}" x2="{px(x2)}" y2="{px(y2)}" class="{tone}"/>'


def draw_rect(x: float, y: float, width: float, height: float, tone: str) -> str:
    """A rectangle of class `tone`."""
    return f'<rect x="{px(x)}" y="{px(y)}" width="{px(width)}" height="{px(height)}" class="{tone}"/>'


def draw_text(x: float, y: float, text: str, tone: str, anchor: str) -> str:
    """Escaped text; anchor: start, middle or end."""
    return f'<text x="{px(x)}" y="{px(y)}" class="{tone}" text-anchor="{anchor}">{escape(visible(text))}</text>'


def draw_svg(width: float, height: float, told: str, parts: Sequence[str], tone: str = "plot") -> Markup:
    """The whole drawing; `told` says in words what it shows, "" hides it from screen readers."""
    role = f'role="img" aria-label="{escape(visible(told))}"' if told else 'aria-hidden="true"'
    body = "".join(parts)
    return Markup(f'<svg viewBox="0 0 {px(width)} {px(height)}" class="{tone}" {role}>{body}</svg>')  # noqa: S704
