"""The gate: may this very artifact ship? Judged once, on the locked holdout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.comparison import align, paired_difference
from honed.evidence.estimate import Estimate
from honed.evidence.intervals import estimate
from honed.evidence.ledger import ordinal
from honed.evidence.metrics import METRICS
from honed.evidence.requirement import Requirement
from honed.evidence.scorecard import class_estimate
from honed.oof import HOLDOUT_FOLD, Predictions

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
MET, MISSED, OPEN, NOT_RUN = "met", "missed", "open", "not run"
MOST_ROWS = 1_000_000
Check = dict[str, Any]
"""One row of a verdict, see `Verdict.checks`."""


@dataclass(frozen=True)
class GateTerms:
    """What the gate asks.

    requirements : the user's conditions.       metric : on which the specialist must beat every baseline.
    level : of the two-sided intervals.         holdout_openings : which look at this holdout this is (1 = first).
    not_run : checks that could not run, as "NAME, because REASON"; each caps the verdict at INCONCLUSIVE.
    clinical : the clinical reading of the holdout, for requirements on it; None if nobody asked for one.
    """

    requirements: tuple[Requirement, ...] = ()
    metric: str = "macro_f1"
    level: float = 0.95
    holdout_openings: int = 1
    not_run: tuple[str, ...] = ()
    clinical: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Verdict:
    """PASS, FAIL or INCONCLUSIVE, and why.

    reasons : sentences for people, the decisive ones first.
    checks : one row each: kind (baseline, requirement, not_run), name, outcome (met, missed, open, not run), value,
    low, high, bound, n_more (further holdout rows that would settle an open one; None: none would), sentence.
    """

    verdict: str
    reasons: tuple[str, ...]
    holdout_openings: int
    checks: tuple[dict[str, Any], ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Plain types for `verdict.json`."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "holdout_openings": self.holdout_openings,
            "checks": list(self.checks),
        }


def rows_to_settle(n: int, margin: float, half_width: float) -> int | None:
    """Further rows after which an interval would no longer reach the bound, if the figure stays as it is.

    Widths shrink with the square root of the rows: n (half_width / margin)^2 in all. Rounded up to two digits; None if
    the margin is so small that no number of rows below a million would do.
    """
    if margin <= 0 or n * (half_width / margin) ** 2 > MOST_ROWS:
        return None
    more = max(math.ceil(n * (half_width / margin) ** 2) - n, 1)
    unit: int = 10 ** max(len(str(more)) - 2, 0)
    return math.ceil(more / unit) * unit


def judge(
    holdout: Predictions,
    baselines: Mapping[str, Predictions],
    group: npt.NDArray[np.str_],
    label_names: Sequence[str],
    terms: GateTerms,
) -> Verdict:
    """Judge the artifact's own predictions of the holdout (fold -1).

    PASS: better than every baseline with confidence (lower end of the paired interval above zero), every requirement
    met with confidence, every check run. FAIL: a requirement confidently missed or a baseline confidently better.
    Otherwise INCONCLUSIVE, with the number of rows that would settle it. To pass, *all* conditions must hold, so no
    correction for their number is needed (intersection-union test, Berger 1982).

    Raises EvidenceError if a row is not of the holdout, a baseline scored other rows, or the opening was not counted.
    """
    refuse_other_rows(holdout, terms)
    checks = [_requirement_check(r, holdout, group, label_names, terms) for r in terms.requirements]
    checks += [_baseline_check(name, holdout, table, group, terms) for name, table in baselines.items()]
    not_run = () if baselines else ("comparison with small baselines, because none was scored on the holdout",)
    return conclude(checks, terms, not_run)


def refuse_other_rows(holdout: Predictions, terms: GateTerms) -> None:
    """Raises EvidenceError if a row is not of the holdout, or its opening was not counted."""
    if (holdout.fold != HOLDOUT_FOLD).any():
        raise EvidenceError(
            f"The gate was given {int((holdout.fold != HOLDOUT_FOLD).sum())} rows that are not of the locked holdout.",
            cause="Rows of the folds have shaped the artifact, so they cannot judge it.",
        )
    if terms.holdout_openings < 1:
        raise EvidenceError("The holdout was scored without its opening being counted in the ledger.")


def conclude(checks: Sequence[Check], terms: GateTerms, not_run: Sequence[str] = ()) -> Verdict:
    """The verdict from all checks. not_run : further checks that could not run, as `GateTerms.not_run` has them."""
    told = [
        check_row("not_run", text.split(",")[0], NOT_RUN, f"Not run: {text.rstrip('.')}.")
        for text in (*terms.not_run, *not_run)
    ]
    order = {MISSED: 0, NOT_RUN: 1, OPEN: 2, MET: 3}
    found = sorted([*checks, *told], key=lambda check: order[check["outcome"]])
    outcomes = {check["outcome"] for check in found}
    verdict = FAIL if MISSED in outcomes else PASS if outcomes == {MET} else INCONCLUSIVE
    reasons = [str(check["sentence"]) for check in found]
    if terms.holdout_openings > 1:
        reasons.append(
            f"This was the {ordinal(terms.holdout_openings)} look at this holdout: each look makes it less of a proof."
        )
    return Verdict(verdict, tuple(reasons), terms.holdout_openings, tuple(found))


def check_row(kind: str, name: str, outcome: str, sentence: str) -> Check:
    """One check of a verdict, its figures blank."""
    blank = dict.fromkeys(("value", "low", "high", "bound", "n_more"))
    return {"kind": kind, "name": name, "outcome": outcome, **blank, "sentence": sentence}


def _requirement_check(
    requirement: Requirement,
    holdout: Predictions,
    group: npt.NDArray[np.str_],
    label_names: Sequence[str],
    terms: GateTerms,
) -> Check:
    requirement.check_label(label_names)
    level = terms.level
    try:
        if requirement.is_clinical:
            figure = _clinical(requirement.metric, terms, len(holdout))
        elif requirement.label is None:
            figure = estimate(holdout, group, requirement.metric, level=level)
        else:
            k = list(label_names).index(requirement.label)
            figure = class_estimate(holdout, group, requirement.metric, k, level=level)
    except EvidenceError as error:
        return requirement_not_run(requirement, str(error))
    return requirement_row(requirement, figure, len(holdout))


def requirement_not_run(requirement: Requirement, reason: str) -> Check:
    """A condition whose figure could not be computed."""
    return check_row("requirement", requirement.text, NOT_RUN, f"Not run: {requirement.text}, because {reason}")


def requirement_row(requirement: Requirement, figure: Estimate, n: int) -> Check:
    """A condition against its figure on n holdout rows: met or missed with confidence, or not settled."""
    level = figure.level
    sign = 1 if requirement.operator == ">=" else -1
    # Seen so that "more is better": the near end must meet the bound, the far end decides a miss.
    near, far = sorted((sign * figure.low, sign * figure.high))
    bound = sign * requirement.bound
    shown = f"{requirement.name} is {figure.value:.3f} ({level:.0%} interval {figure.low:.3f} to {figure.high:.3f})"
    n_more = None
    if near >= bound:
        outcome, sentence = MET, f"Required {requirement.text}: met with confidence; {shown}."
    elif far < bound:
        outcome, sentence = MISSED, f"Required {requirement.text}: missed with confidence; {shown}."
    else:
        margin = sign * figure.value - bound
        half = sign * figure.value - near if margin > 0 else far - sign * figure.value
        n_more = rows_to_settle(n, abs(margin), half)
        outcome = OPEN
        told = settle_words(n_more, f"it stays at {figure.value:.3f}")
        sentence = f"Required {requirement.text}: not settled; {shown}. {told}"
    row = check_row("requirement", requirement.text, outcome, sentence)
    return row | {
        "value": figure.value, "low": figure.low, "high": figure.high, "bound": requirement.bound, "n_more": n_more
    }  # fmt: skip


def _clinical(name: str, terms: GateTerms, n: int) -> Estimate:
    """A figure at the operating point that ships. Raises EvidenceError where it is not known."""
    if terms.clinical is None:
        raise EvidenceError("no class was named as ill (--positive).")
    found = terms.clinical.get(name) or {"value": None, "not_run": terms.clinical.get("not_run")}
    if found["value"] is None:
        raise EvidenceError(str(found["not_run"]).removeprefix("not run, because "))
    return Estimate(found["value"], found["low"], found["high"], terms.level, "clinical", n, ())


def _baseline_check(
    name: str, holdout: Predictions, baseline: Predictions, group: npt.NDArray[np.str_], terms: GateTerms
) -> dict[str, Any]:
    align(holdout, baseline)  # other rows are a fault to stop at; an undefined metric is a check that could not run
    try:
        difference = paired_difference(holdout, baseline, group, terms.metric, level=terms.level)
    except EvidenceError as error:
        return check_row("baseline", name, NOT_RUN, f"Not run: comparison with baseline {name}, because {error}")
    metric = METRICS[terms.metric]
    sign = 1 if metric.higher_is_better else -1
    gain, low, high = (sign * x for x in (difference.value, difference.low, difference.high))
    low, high = min(low, high), max(low, high)
    scale, unit, digits = (100, " points", 1) if metric.in_unit_interval else (1, "", 3)

    def say(x: float) -> str:
        return f"{x * scale:+.{digits}f}"

    shown = f"{terms.metric} {say(gain)}{unit} ({terms.level:.0%} interval {say(low)} to {say(high)}, same rows)"
    n_more = None
    if low > 0:
        outcome, sentence = MET, f"Better than the baseline {name} with confidence: {shown}."
    elif high < 0:
        outcome, sentence = MISSED, f"The baseline {name} is better than the specialist with confidence: {shown}."
    else:
        n_more = rows_to_settle(len(holdout), abs(gain), high - gain if gain < 0 else gain - low)
        outcome = OPEN
        stays = f"the difference stays at {say(gain)}{unit}"
        sentence = (
            f"Not settled whether the specialist beats the baseline {name}: {shown}. {settle_words(n_more, stays)}"
        )
    row = check_row("baseline", name, outcome, sentence)
    return row | {"value": gain, "low": low, "high": high, "bound": 0.0, "n_more": n_more}


def settle_words(n_more: int | None, if_it_stays: str, what: str = "labelled holdout rows") -> str:
    """How many more rows (`what`) would settle an open check."""
    if n_more is None:
        return f"No practical number of further {what.removeprefix('labelled ')} would settle it if {if_it_stays}."
    return f"About {n_more} more {what} would settle it if {if_it_stays}."
