"""Figures and hostile text in a form that people can read: three digits at most, and nothing invisible."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

NARROW_SPACE = "\u202f"  # narrow no-break space: "84 %" never breaks across lines
MINUS = "\u2212"
DASH = "\u2013"
NOT_RUN = "not run, because "


@dataclass(frozen=True)
class Metric:
    """How one metric is named and read. `is_percent`: a fraction that people expect in percent."""

    key: str
    name: str
    is_percent: bool
    is_lower_better: bool
    meaning: str
    is_ordinal: bool = False


METRICS = {
    metric.key: metric
    for metric in (
        Metric("accuracy", "Accuracy", True, False, "the share of rows whose label was predicted correctly"),
        Metric(
            "macro_f1", "Macro F1", True, False, "the mean over classes of F1: a rare class counts like a common one"
        ),
        Metric("balanced_accuracy", "Balanced accuracy", True, False, "the mean over classes of recall"),
        Metric("auroc", "AUROC", False, False, "how well scores rank the right class first; 0.5 is chance, 1 perfect"),
        Metric("log_loss", "Log loss (nats)", False, True, "how surprised the model was by the given labels"),
        Metric("ece", "Calibration error (ECE)", True, True, "how far confidence and the share right lie apart"),
        Metric(
            "quadratic_kappa",
            "Quadratic kappa",
            False,
            False,
            "how far the median grade agrees with the label beyond chance; an error counts by its distance squared",
            True,
        ),
        Metric("grade_error", "Mean grade error", False, True, "grades between the median grade and the label", True),
    )
}


@dataclass(frozen=True)
class Figure:
    """An estimate as the run folder holds it. value None: it was not computed, and `not_run` says why."""

    value: float | None
    low: float | None
    high: float | None
    level: float | None
    interval: str
    p_value: float | None
    not_run: str

    @property
    def verdict_of_difference(self) -> int:
        """+1 if the whole interval lies above zero, -1 if below, else 0."""
        if self.low is not None and self.low > 0:
            return 1
        return -1 if self.high is not None and self.high < 0 else 0


def figure(estimate: object, reason: str = "the run folder holds no such figure") -> Figure:
    """A `Figure` from an estimate of metrics.json; `reason` stands in where the file gives none."""
    if isinstance(estimate, bool) or not isinstance(estimate, int | float | Mapping):
        return Figure(None, None, None, None, "", None, reason)
    if not isinstance(estimate, Mapping):
        estimate = {"value": estimate}
    value = finite(estimate.get("value"))
    return Figure(
        value=value,
        low=finite(estimate.get("low")),
        high=finite(estimate.get("high")),
        level=finite(estimate.get("level")),
        interval=str(estimate.get("interval") or ""),
        p_value=finite(estimate.get("p_value")),
        not_run="" if value is not None else bare_reason(str(estimate.get("not_run") or reason)),
    )


def bare_reason(text: str) -> str:
    """The reason alone of "NAME: not run, because REASON"; a text without that phrase as it is."""
    return text.partition(NOT_RUN)[2] or text


def finite(value: object) -> float | None:
    """The number, or None for anything that is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def percent(value: float, digits: int = 1) -> str:
    """0.8432 -> '84.3 %'."""
    text = f"{100 * value:.{digits}f}"
    return (text.removesuffix(".0") if text in ("100.0", "0.0") else text) + f"{NARROW_SPACE}%"


def decimal(value: float) -> str:
    """At most three significant digits: 0.912, 1.23, 45.6, 1230."""
    magnitude = abs(value)
    if magnitude >= 100 or value == 0:
        return f"{value:.0f}".replace("-", MINUS)
    digits = 3 if magnitude < 1 else 2 if magnitude < 10 else 1
    return f"{value:.{digits}f}".replace("-", MINUS)


def value_text(metric: Metric, value: float) -> str:
    """A metric's value, in percent where people expect that."""
    return percent(value) if metric.is_percent else decimal(value)


def range_text(metric: Metric, fig: Figure) -> str:
    """'79.1 – 88.0 %', or '' where no interval was computed."""
    if fig.low is None or fig.high is None:
        return ""
    low = value_text(metric, fig.low).removesuffix(f"{NARROW_SPACE}%") if metric.is_percent else decimal(fig.low)
    return f"{low} {DASH} {value_text(metric, fig.high)}"


def difference_text(metric: Metric, value: float) -> str:
    """A signed difference; percent metrics in percentage points."""
    scaled = 100 * value if metric.is_percent else value
    text = f"{abs(scaled):.1f}" if metric.is_percent else decimal(abs(scaled))
    sign = "" if float(text) == 0 else "+" if scaled > 0 else MINUS
    return sign + text


def p_text(p_value: float | None) -> str:
    """'p = 0.012', 'p < 0.001', or ''."""
    if p_value is None:
        return ""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"


def count(value: object) -> str:
    """12345 -> '12 345' (narrow no-break space), so that it reads the same in every country."""
    number = finite(value)
    return str(value) if number is None else f"{number:,.0f}".replace(",", NARROW_SPACE)


def seconds(value: object) -> str:
    """'0.4 s', '38 s', '2 min 10 s', '1 h 5 min'."""
    number = finite(value)
    if number is None:
        return "unknown"
    if number < 59.5:
        return f"{number:.1f}{NARROW_SPACE}s" if number < 9.95 else f"{number:.0f}{NARROW_SPACE}s"
    minutes, rest = divmod(round(number), 60)
    if minutes < 60:
        return f"{minutes}{NARROW_SPACE}min {rest}{NARROW_SPACE}s"
    return f"{minutes // 60}{NARROW_SPACE}h {minutes % 60}{NARROW_SPACE}min"


def bytes_text(value: object) -> str:
    """'512 MB', '1.23 GB' (powers of ten)."""
    number = finite(value)
    if number is None:
        return "unknown"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{decimal(number / size)}{NARROW_SPACE}{unit}"
    return f"{number:.0f}{NARROW_SPACE}bytes"


def ordinal(number: int) -> str:
    """1 -> '1st'."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def excerpt(text: str, n_characters: int) -> str:
    """The beginning of a text, cut at a word where one ends nearby."""
    if len(text) <= n_characters:
        return text
    cut = text[:n_characters]
    head, _, _ = cut.rpartition(" ")
    return (head if len(head) > n_characters * 0.8 else cut).rstrip() + " …"


# C0 but newline and tab, DEL, C1, zero-width and bidi controls, line separators, surrogates, the invisible tags
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with every control, bidi-override and zero-width character shown instead of obeyed.

    Each becomes its number, like (U+202E) in mathematical brackets. Newlines and tabs stay, and so do the joiners
    U+200C and U+200D, which Persian, Indic scripts and emoji need and which cannot reorder a line.
    """
    return _INVISIBLE.sub(lambda match: f"\u27e8U+{ord(match.group()):04X}\u27e9", text.replace("\r\n", "\n"))
