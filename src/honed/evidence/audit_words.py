"""What an audit says in words and tables: made from `audit.json` alone, so page, terminal and Python say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from honed.evidence.report_format import DASH, METRICS, MINUS, NARROW_SPACE, count, difference_text, value_text

ROW_COLUMNS = ("labels spoilt", "taught", "accuracy", "change in points", "won back")
FINDER_COLUMNS = ("labels spoilt", "planted", "flagged", "of these planted", "precision", "recall", "average precision")
CAVEATS = (
    "Planted noise is not your noise: real errors sit where rows are hard, and repeat themselves.",
    "Errors that the data had before count as false alarms, and as wrong predictions: precision is a lower bound.",
    "It does not say how many of your labels are wrong: `honed fit` judges them, `honed labels` lists them.",
    "The locked holdout was not opened. What is scored keeps its labels: no noise and no cleaning reaches it.",
)
"""What the figures do not say."""
WAYS = {
    "drop": "flagged rows are left out",
    "weight": "every row counts as much as its label is likely",
    "relabel": "flagged rows take the suggested class",
}
"""What each way of cleaning does."""
_ACCURACY = METRICS["accuracy"]
_WIDE = 0.02  # a loss of two points that cannot be ruled out is worth a longer audit
Figures = Mapping[str, Any]
"""What `evidence.audit.Audit.to_json` returns."""


def rate_text(rate: float) -> str:
    """0.03 -> '3 %'."""
    return f"{100 * rate:.4g}{NARROW_SPACE}%"


def noise_text(figures: Figures) -> str:
    """How labels were spoilt."""
    if figures["noise"] == "uniform":
        return "each wrong label is any other class, all alike"
    return "each wrong label is a class that a simple model confuses with the right one, as a tired person would"


def headline(figures: Figures) -> str:
    """The answer in one line."""
    settled = [one for one in figures["rates"] if _is_settled(one)]
    if not settled:
        return "Wrong labels cost no accuracy that could be told from chance here."
    worst = settled[-1]
    return f"{rate_text(worst['rate'])} of wrong labels would cost {_lost(worst['cost'])} of accuracy."


def summary(figures: Figures) -> list[str]:
    """A sentence or two for each rate, and then whether cleaning is worth the user's afternoon."""
    return [*(_of_rate(one) for one in figures["rates"]), *(_finder(one) for one in figures["rates"]), advice(figures)]


def _of_rate(one: Figures) -> str:
    start = f"If {rate_text(one['rate'])} of your labels were wrong, "
    if not _is_settled(one):
        return (
            f"{start}accuracy would change by {_points(one['cost'])}: no loss that could be told from chance, so"
            " none to win back."
        )
    parts: list[str] = []
    for name, arm in _cleaned(one):
        share = arm["won_back"]
        back = f": not run, because {share.get('not_run')}" if share["value"] is None else f" {_share_range(share)}"
        parts.append(f"cleaning by {name} {'' if parts or share['value'] is None else 'wins back'}".rstrip() + back)
    told = f"{start}you would lose {_lost(one['cost'])} of accuracy."
    return f"{told} Of that, {'; '.join(parts)}." if parts else told


def _finder(one: Figures) -> str:
    found = one["finder"]
    start = f"At {rate_text(one['rate'])}, {count(found['n_planted'])} labels were spoilt"
    if not found["n_flagged"]:
        return f"{start}, and the finder flagged none."
    return (
        f"{start}; the finder flagged {count(found['n_flagged'])} rows, {count(found['n_hits'])} of them spoilt:"
        f" it found {_estimate(found['recall'])} of the errors, and {_estimate(found['precision'])} of its alarms were"
        " right."
    )


def advice(figures: Figures) -> str:
    """Whether cleaning is worth the user's afternoon."""
    rates = figures["rates"]
    settled = [one for one in rates if _is_settled(one)]
    if not settled:
        low = min(one["cost"]["low"] for one in rates)
        told = "Worth your afternoon? Not for the accuracy, as far as these rows can tell."
        if low < -_WIDE:
            told += f" They cannot rule out a loss of {-100 * low:.1f} points either: more rows or --draws 3 would."
        return told
    worst = settled[-1]
    names = [name for name, _ in _cleaned(worst)]
    gains = [(name, arm["gain"]) for name, arm in _cleaned(worst) if arm["gain"]["low"] > 0]
    if gains:
        name, gain = max(gains, key=lambda item: float(item[1]["value"]))
        return (
            f"Worth your afternoon? Let the machine go first: at {rate_text(worst['rate'])}, `honed fit --clean {name}`"
            f" won {_points(gain)} and costs you nothing. The rest is yours to win by hand:"
            " `honed labels RUN` shows the worst labels first."
        )
    tried = f"Cleaning by {' or '.join(names)} won nothing back that could be told from chance. " if names else ""
    return (
        f"Worth your afternoon? {tried}Up to {-100 * worst['cost']['value']:.1f} points are there to be won by hand:"
        " `honed labels RUN` shows the worst labels first."
    )


def audit_rows(figures: Figures) -> list[dict[str, str]]:
    """Accuracy of every way to train; keys are ROW_COLUMNS. Changes: to the clean labels, or by the cleaning."""
    rows = [("none", "as they are", _estimate(figures["clean"]), DASH, "")]
    for one in figures["rates"]:
        noise = rate_text(one["rate"])
        rows.append((noise, "spoilt", _estimate(one["arms"]["noisy"]["score"]), _change(one["cost"]), ""))
        for name, arm in _cleaned(one):
            share = arm["won_back"]
            back = "not run" if share["value"] is None else _share_range(share)
            rows.append((noise, f"spoilt, then {name}", _estimate(arm["score"]), _change(arm["gain"]), back))
    return [dict(zip(ROW_COLUMNS, row, strict=True)) for row in rows]


def finder_rows(figures: Figures) -> list[dict[str, str]]:
    """How much of the planted noise was found; keys are FINDER_COLUMNS."""
    return [
        dict(
            zip(
                FINDER_COLUMNS,
                (
                    rate_text(one["rate"]),
                    *(count(one["finder"][name]) for name in ("n_planted", "n_flagged", "n_hits")),
                    *(_estimate(one["finder"][name]) for name in ("precision", "recall")),
                    _estimate(one["finder"]["average_precision"]),
                ),
                strict=True,
            )
        )
        for one in figures["rates"]
    ]


def _cleaned(one: Figures) -> list[tuple[str, Figures]]:
    return [(name, arm) for name, arm in one["arms"].items() if name != "noisy"]


def _is_settled(one: Figures) -> bool:
    """Whether the loss is more than chance."""
    return bool(one["cost"]["high"] < 0)


def _lost(cost: Figures) -> str:
    """'1.2 points [0.4, 2.0]'."""
    return f"{-100 * cost['value']:.1f} points [{-100 * cost['high']:.1f}, {-100 * cost['low']:.1f}]"


def _change(difference: Figures) -> str:
    """'+1.2 [-0.4, +2.8]', in points."""
    value, low, high = (difference_text(_ACCURACY, difference[end]) for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _points(difference: Figures) -> str:
    """'+1.2 points [-0.4, +2.8]'."""
    return _change(difference).replace(" [", " points [")


def _share_range(share: Figures) -> str:
    """'70 % [40, 95]'."""
    value, low, high = (f"{100 * share[end]:.0f}".replace("-", MINUS) for end in ("value", "low", "high"))
    return f"{value}{NARROW_SPACE}% [{low}, {high}]"


def _estimate(figure: Figures) -> str:
    if figure["value"] is None:
        return f"not run, because {figure['not_run']}"
    low, high = (value_text(_ACCURACY, figure[end]).removesuffix(f"{NARROW_SPACE}%") for end in ("low", "high"))
    return f"{value_text(_ACCURACY, figure['value'])} [{low}, {high}]"
