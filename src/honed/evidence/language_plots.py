"""Drawings of base against specialist: figures with intervals row by row, and margins as a cloud. Inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from honed.evidence.metrics import Floats
from honed.evidence.report_format import MINUS, Figure, decimal
from honed.evidence.report_plots import WIDTH, draw_line, draw_rect, draw_svg, draw_text, nice_ticks, px

_ROW = 40.0
_LEFT, _TOP, _SIZE = 44.0, 10.0, 280.0


@dataclass(frozen=True)
class PairRow:
    """One line of a drawing: base (ring) and specialist (square), each with its interval."""

    name: str
    base: Figure
    specialist: Figure


def pair_forest(title: str, rows: Sequence[PairRow], mark: float | None = None) -> Markup:
    """Base and specialist of each row on one scale, the specialist's figure in numbers.

    mark : where a dashed line stands, and always on the scale.    Empty if no row has a figure.
    """
    figures = [fig for row in rows for fig in (row.base, row.specialist)]
    ends = [end for fig in figures for end in (fig.value, fig.low, fig.high) if end is not None]
    if not ends:
        return Markup("")
    ends += [] if mark is None else [mark]
    pad = 0.06 * (max(ends) - min(ends)) or 0.05
    low, high = min(ends) - pad, max(ends) + pad

    def x(value: float) -> float:
        return 8 + (WIDTH - 16) * (value - low) / (high - low)

    bottom = 6 + _ROW * len(rows)
    parts: list[str] = []
    for tick in nice_ticks(low, high, 4):
        anchor = "start" if x(tick) < 20 else "end" if x(tick) > WIDTH - 20 else "middle"
        parts.append(draw_line(x(tick), 4, x(tick), bottom, "grid"))
        parts.append(draw_text(x(tick), bottom + 16, _tick(tick), "tick", anchor))
    if mark is not None:
        parts.append(draw_line(x(mark), 4, x(mark), bottom, "diagonal"))
    told = []
    for i, row in enumerate(rows):
        top = 6 + _ROW * i
        parts.append(draw_text(8, top + 13, row.name, "name", "start"))
        shown = "not run" if row.specialist.value is None else decimal(row.specialist.value)
        parts.append(draw_text(WIDTH - 8, top + 13, shown, "name figure", "end"))
        for fig, y, tone in ((row.base, top + 22.0, "other"), (row.specialist, top + 32.0, "own")):
            if fig.value is None:
                continue
            if fig.low is not None and fig.high is not None:
                parts.append(draw_line(x(fig.low), y, x(fig.high), y, f"bar {tone}"))
            if tone == "other":
                parts.append(f'<circle cx="{px(x(fig.value))}" cy="{px(y)}" r="3.6" class="ring other"/>')
            else:
                parts.append(draw_rect(x(fig.value) - 3.6, y - 3.6, 7.2, 7.2, "mark own"))
        told.append(f"{row.name}: base {_said(row.base)}, specialist {_said(row.specialist)}")
    return draw_svg(WIDTH, bottom + 22, f"{title}. {'; '.join(told)}.", parts)


def margin_cloud(base: Floats, specialist: Floats) -> Markup:
    """Each probe's margin: base to the right, specialist upwards; below the diagonal it fell, below zero it is lost.

    base, specialist : (m,) nats per token, m > 0.
    """
    low = min(float(base.min()), float(specialist.min()), 0.0)
    high = max(float(base.max()), float(specialist.max()), 0.0)
    pad = 0.04 * (high - low) or 0.05
    low, high = low - pad, high + pad

    def x(value: float) -> float:
        return _LEFT + _SIZE * (value - low) / (high - low)

    def y(value: float) -> float:
        return _TOP + _SIZE * (1 - (value - low) / (high - low))

    parts: list[str] = []
    for tick in nice_ticks(low, high, 5):
        text = _tick(tick)
        parts += [
            draw_line(x(tick), y(high), x(tick), y(low), "grid"),
            draw_line(x(low), y(tick), x(high), y(tick), "grid"),
        ]
        parts.append(draw_text(x(tick), y(low) + 16, text, "tick", "middle"))
        parts.append(draw_text(_LEFT - 6, y(tick) + 4, text, "tick", "end"))
    parts.append(draw_line(x(low), y(low), x(high), y(high), "diagonal"))
    parts += [draw_line(x(0), y(low), x(0), y(high), "whisker"), draw_line(x(low), y(0), x(high), y(0), "whisker")]
    for before, after in zip(base.tolist(), specialist.tolist(), strict=True):
        tone = "wrong" if after < 0 <= before else "own"
        parts.append(f'<circle cx="{px(x(before))}" cy="{px(y(after))}" r="3" class="probe {tone}"/>')
    middle = px(_TOP + _SIZE / 2)
    parts.append(
        draw_text(_LEFT + _SIZE / 2, _TOP + _SIZE + 34, "margin of the base, nats per token", "tick", "middle")
    )
    parts.append(
        f'<text x="12" y="{middle}" class="tick" text-anchor="middle" transform="rotate(-90 12 {middle})">'
        "margin of the specialist</text>"
    )
    n_fell, n_lost = int((specialist < base).sum()), int(((specialist < 0) & (base >= 0)).sum())
    told = f"Margins of {len(base)} probes: {n_fell} fell, {n_lost} turned from the good reply to the bad one."
    return draw_svg(WIDTH, _TOP + _SIZE + 42, told, parts)


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", MINUS)


def _said(fig: Figure) -> str:
    if fig.value is None:
        return "not run"
    ends = "" if fig.low is None or fig.high is None else f" ({decimal(fig.low)} to {decimal(fig.high)})"
    return decimal(fig.value) + ends
