"""What an audit says in sentences and in one table; everything is read from its figures (audit.json)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from honed.evidence.report_format import DASH, METRICS, MINUS, NARROW_SPACE, NOT_RUN, count, difference_text, percent

COLUMNS = ("noise", "arm", "accuracy", "change", "won back")
"""Keys of a row of `audit_rows`."""
ACCURACY = METRICS["accuracy"]
_WIDE = 0.02  # a fall of two points that cannot be ruled out is worth a longer audit
ARMS = {"clean": "labels as given", "noisy": "not cleaned"}


def arm_name(name: str) -> str:
    """'drop' -> 'cleaned by drop'."""
    return ARMS.get(name, f"cleaned by {name}")


def rate_text(rate: float) -> str:
    """0.03 -> '3 %', 0.125 -> '12.5 %'."""
    return f"{100 * rate:g}{NARROW_SPACE}%"


def headline(figures: Mapping[str, Any]) -> str:
    """The answer in one line."""
    settled = [own for own in figures["rates"] if _is_settled(own)]
    if not settled:
        return "Wrong labels cost no accuracy that could be told from chance here"
    worst = settled[-1]
    return f"{rate_text(worst['rate'])} of wrong labels would cost {_fall(worst['cost'])} of accuracy"


def summary(figures: Mapping[str, Any]) -> list[str]:
    """What it means, a paragraph for each rate, and then whether cleaning is worth the user's afternoon."""
    return [*(_of_rate(own, figures["level"]) for own in figures["rates"]), advice(figures)]


def advice(figures: Mapping[str, Any]) -> str:
    """Whether cleaning is worth the user's afternoon, as far as this tells."""
    start, settled = "Worth your afternoon?", [own for own in figures["rates"] if _is_settled(own)]
    if not settled:
        low = min(own["cost"]["low"] for own in figures["rates"])
        told = f"{start} Not for the accuracy, as far as these rows can tell."
        if low < -_WIDE:
            told += f" They cannot rule out a fall of {-100 * low:.1f} points either: more rows or draws would tell."
        return told
    worst = settled[-1]
    gains = {name: arm["gain"] for name, arm in worst["arms"].items() if name != "noisy"}
    by_hand = "`honed labels RUN` shows the worst labels first."
    if won := {name: gain for name, gain in gains.items() if gain["low"] > 0}:
        best = max(won, key=lambda name: float(won[name]["value"]))
        return (
            f"{start} Let the machine go first: at {rate_text(worst['rate'])}, `honed fit --clean {best}` won back"
            f" {_change(won[best])} without your time. The rest is to be won by hand: {by_hand}"
        )
    tried = f" Cleaning by {' or '.join(gains)} won nothing back that could be told from chance." if gains else ""
    return f"{start}{tried} Up to {-100 * worst['cost']['value']:.1f} points are to be won by hand: {by_hand}"


def _of_rate(own: Mapping[str, Any], level: float) -> str:
    cost = own["cost"]
    condition = f"If {rate_text(own['rate'])} of the labels were wrong"
    if _is_settled(own):
        told = [f"{condition}, accuracy would fall by {_fall(cost)}"]
    else:
        told = [f"{condition}, no fall of accuracy could be told from chance: it changed by {_change(cost)}"]
    told[0] += f" ({percent(level, 0)} intervals)."
    for name, arm in own["arms"].items():
        if name != "noisy":
            told.append(_of_cleaning(name, arm))
    found = own["finder"]
    n_false = found["n_flagged"] - found["n_hits"]
    told.append(
        f"The finder flags {count(found['n_hits'])} of the {count(found['n_planted'])} planted errors, and"
        f" {count(n_false)} label{'s' * (n_false != 1)} that nobody spoilt."
    )
    return " ".join(told)


def _of_cleaning(name: str, arm: Mapping[str, Any]) -> str:
    back = arm["won_back"]
    if back["value"] is None:
        told = f"What cleaning by {name} wins back: {NOT_RUN}{back['not_run']}"
        return f"{told}; it changed accuracy by {_change(arm['gain'])}."
    if back["high"] < 0:
        return f"Cleaning by {name} makes it worse, by {percent(-back['value'], 0)} of the fall {_share_ends(back)}."
    chance = "" if min(back["low"], arm["gain"]["low"]) > 0 else ", which cannot be told from nothing"
    return f"Cleaning by {name} wins back {share(back)} of it{chance}."


def not_said(figures: Mapping[str, Any]) -> list[str]:
    """What a reader must not take from the page."""
    kinds = {
        "confusion": "towards the classes that a small model takes for one another",
        "uniform": "to any other class with equal chance",
    }
    notes = [
        (
            f"Planted noise is not your noise: labels were changed at random, {kinds[figures['noise']]}."
            " People err with a system, and errors that go with the text are harder to find."
        ),
        "It does not say how many labels of your data are wrong: `honed labels` lists those that look so.",
        (
            "Errors that the data had before count as false alarms of the finder, so its precision is a lower bound;"
            " they also stand in the labels that score every arm."
        ),
        "The locked holdout was not opened: every figure is out-of-fold, of the development rows.",
        "Rates and ways of cleaning were not corrected for their number.",
    ]
    if figures["n_rows"] < figures["n_all_rows"]:
        notes.append(
            f"A sample was used: {count(figures['n_rows'])} of {count(figures['n_all_rows'])} development rows, in"
            " whole groups. With all rows, noise may cost less or more."
        )
    if any(own["n_draws"] == 1 for own in figures["rates"]):
        notes.append("The noise was drawn once for each rate; intervals do not hold how another draw would differ.")
    else:
        notes.append("Intervals of the finder take every draw's rows as others, so they are somewhat too narrow.")
    return notes


def audit_rows(figures: Mapping[str, Any]) -> list[dict[str, str]]:
    """The table as text; keys are COLUMNS. Change: of noisy to clean, of cleaned to noisy."""
    rows = [dict(zip(COLUMNS, ("none", arm_name("clean"), interval(figures["clean"]), DASH, DASH), strict=True))]
    for own in figures["rates"]:
        for name, arm in own["arms"].items():
            change, back = own["cost"] if name == "noisy" else arm["gain"], arm.get("won_back")
            won = DASH if back is None else share(back)
            cells = (rate_text(own["rate"]), arm_name(name), interval(arm["score"]), _change(change), won)
            rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def finder_rows(figures: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row for each rate: how much of the planted noise was found."""
    return [
        {
            "noise": rate_text(own["rate"]),
            "planted": count(own["finder"]["n_planted"]),
            "flagged": count(own["finder"]["n_flagged"]),
            "precision": interval(own["finder"]["precision"]),
            "recall": interval(own["finder"]["recall"]),
            "average precision": interval(own["finder"]["average_precision"]),
        }
        for own in figures["rates"]
    ]


def interval(figure: Mapping[str, Any]) -> str:
    """'84.3 % [80.1, 88.0]', or 'not run, because ...'."""
    if figure["value"] is None:
        return NOT_RUN + str(figure["not_run"])
    return f"{percent(figure['value'])} [{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]"


def share(back: Mapping[str, Any]) -> str:
    """'70 % [40, 95]', or 'not run, because ...'."""
    if back["value"] is None:
        return NOT_RUN + str(back["not_run"])
    return f"{percent(back['value'], 0).replace('-', MINUS)} {_share_ends(back)}"


def _share_ends(back: Mapping[str, Any]) -> str:
    return f"[{100 * back['low']:.0f}, {100 * back['high']:.0f}]".replace("-", MINUS)


def _is_settled(own: Mapping[str, Any]) -> bool:
    """Whether the fall of a rate is more than chance."""
    return bool(own["cost"]["high"] < 0)


def _fall(cost: Mapping[str, Any]) -> str:
    """'1.2 points [0.4, 2.0]'."""
    return f"{-100 * cost['value']:.1f} points [{-100 * cost['high']:.1f}, {-100 * cost['low']:.1f}]"


def _change(difference: Mapping[str, Any]) -> str:
    value, low, high = (difference_text(ACCURACY, difference[end]) for end in ("value", "low", "high"))
    return f"{value} points [{low}, {high}]"
