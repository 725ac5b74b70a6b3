"""Where the marks of the attention page stand: densities of regions, deletion and insertion; the template draws them.

Units are CSS pixels of a drawing `WIDTH` wide, as in `report_plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from honed.evidence.attention_faith import Faithfulness
from honed.evidence.attention_regions import RegionTable
from honed.evidence.comparison_plots import Tick
from honed.evidence.estimate import Estimate
from honed.evidence.report_format import decimal
from honed.evidence.report_plots import WIDTH, nice_ticks

_ROW = 46.0
_LEFT, _TOP, _HEIGHT = 40.0, 10.0, 190.0


@dataclass(frozen=True)
class Bar:
    """A figure at x with its interval, at height y. tone : other (base) or own (specialist)."""

    tone: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class ForestRow:
    """A region's name, and its two bars."""

    name: str
    name_y: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Forest:
    """Density of attention in each region. told : in words.    even : where 1, an even spread, stands."""

    told: str
    width: float
    height: float
    bottom: float
    even: float
    ticks: tuple[Tick, ...]
    rows: tuple[ForestRow, ...]


@dataclass(frozen=True)
class CurvePlot:
    """Mean probability of the explained class against the share of patches changed; curves as SVG's points."""

    title: str
    told: str
    width: float
    height: float
    left: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    own: str
    random: str


def region_forest(table: RegionTable) -> Forest | None:
    """The regions that have figures; None if there are none."""
    known = [(figure.region, *both[:2]) for figure in table.overall if (both := figure.density.figures) is not None]
    if not known:
        return None
    top = 1.05 * max(1.2, *(own.high for _, *both in known for own in both))

    def x(value: float) -> float:
        return round(8 + (WIDTH - 16) * max(0.0, value) / top, 1)

    rows = []
    for i, (name, base, specialist) in enumerate(known):
        y = 6 + _ROW * i
        bars = tuple(
            Bar(tone, x(own.value), y + below, x(own.low), x(own.high))
            for tone, own, below in (("other", base, 24), ("own", specialist, 34))
        )
        rows.append(ForestRow(name, y + 14, bars))
    bottom = 6 + _ROW * len(known)
    told = "Attention over area, 1 is an even spread. "
    told += "; ".join(f"{name}: base {_range(base)}, specialist {_range(own)}" for name, base, own in known)
    ticks = tuple(Tick(x(tick), f"{tick:g}") for tick in nice_ticks(0, top, 5))
    return Forest(f"{told}.", WIDTH, bottom + 38, bottom, x(1), ticks, tuple(rows))


def _range(own: Estimate) -> str:
    return f"{decimal(own.value)} [{decimal(own.low)}, {decimal(own.high)}]"


def curve_plots(faith: Faithfulness) -> list[CurvePlot]:
    """Deletion and insertion."""
    return [
        _curve_plot("Taking away the strongest first (deletion)", faith.curves, "deletion"),
        _curve_plot("Putting back the strongest first (insertion)", faith.curves, "insertion"),
    ]


def _curve_plot(title: str, curves: dict[str, list[float]], name: str) -> CurvePlot:
    frac, own, random = curves["frac"], curves[name], curves[f"random_{name}"]
    bottom, right = _TOP + _HEIGHT, WIDTH - 10

    def x(share: float) -> float:
        return round(_LEFT + (right - _LEFT) * share, 1)

    def y(value: float) -> float:
        return round(_TOP + _HEIGHT * (1 - value), 1)

    def points(values: Sequence[float]) -> str:
        return " ".join(f"{x(share):g},{y(value):g}" for share, value in zip(frac, values, strict=True))

    middle = len(frac) // 2
    told = (
        f"{title}. With {100 * frac[middle]:.0f} % changed the mean probability of the explained class is"
        f" {decimal(own[middle])} in the map's order and {decimal(random[middle])} in a random order."
    )
    return CurvePlot(
        title, told, WIDTH, bottom + 40, _LEFT, bottom,
        tuple(Tick(x(at), f"{100 * at:.0f}") for at in (0, 0.25, 0.5, 0.75, 1)),
        tuple(Tick(y(at), f"{at:g}") for at in (0, 0.25, 0.5, 0.75, 1)),
        points(own), points(random),
    )  # fmt: skip
