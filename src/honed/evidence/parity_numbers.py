"""The numerical checks of parity: logits, predicted labels and score of two tables of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.comparison import paired_difference
from honed.evidence.intervals import estimate
from honed.evidence.metrics import METRICS, row_log_loss, softmax
from honed.evidence.parity_terms import TOLERANCES, Outcome, ParityCheck, ParityRows, ParityTerms, not_run
from honed.evidence.report_format import METRICS as SHOWN
from honed.evidence.report_format import difference_text
from honed.oof import HOLDOUT_FOLD, Predictions

SHUT = "the holdout is still shut, so its labels may not be used"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Logits (n, c) of both programs, finite and of one shape, and what they are judged by."""

    reference: Floats
    candidate: Floats
    rows: ParityRows
    terms: ParityTerms

    @property
    def scale(self) -> float:
        """Root mean square of the reference's logits."""
        return float(np.sqrt((self.reference**2).mean()))

    @property
    def max_allowed(self) -> float:
        """Largest difference of a logit that is allowed."""
        return TOLERANCES[self.terms.dtype].max_frac * self.scale

    def table(self, logits: Floats, label: npt.NDArray[np.int64]) -> Predictions:
        """These logits as predictions of these labels."""
        n = len(label)
        fold = np.full(n, HOLDOUT_FOLD, dtype=np.int64) if self.rows.fold is None else self.rows.fold
        loss = row_log_loss(label, softmax(logits))
        return Predictions(self.rows.example_id, np.zeros(n, dtype=np.int64), fold, label, loss, np.ones(n), logits)


def logits_check(pair: Pair) -> ParityCheck:
    """Largest and mean difference, judged by the tolerance of the number format; only reported if quantised."""
    gap = np.abs(pair.candidate - pair.reference)
    row, column = np.unravel_index(int(gap.argmax()), gap.shape)
    largest, mean, scale = float(gap.max()), float(gap.mean()), pair.scale
    example = str(pair.rows.example_id[row])
    figures: dict[str, Any] = {
        "max_abs": largest, "mean_abs": mean, "scale": scale, "example_id": example, "class": int(column)
    }  # fmt: skip
    at = f"at most {largest:.2g} (example {example!r}, class {int(column)}), on average {mean:.2g}"
    if pair.terms.is_quantised:
        told = (
            f"Logits differ by {at}, where their size is {scale:.2g}. Not judged: a quantised export cannot be equal."
        )
        return ParityCheck("logits", "reported", told, figures)
    limit = TOLERANCES[pair.terms.dtype]
    figures |= {"max_allowed": limit.max_frac * scale, "mean_allowed": limit.mean_frac * scale}
    allowed = f"{limit.max_frac * scale:.2g} and {limit.mean_frac * scale:.2g} ({pair.terms.dtype})"
    if largest <= figures["max_allowed"] and mean <= figures["mean_allowed"]:
        return ParityCheck("logits", "same", f"Logits differ by {at}; allowed are {allowed}.", figures)
    figures["factor"], hint = _factor(pair, mean)
    return ParityCheck("logits", "different", f"Logits differ by {at}; allowed are {allowed}.{hint}", figures)


def _factor(pair: Pair, mean: float) -> tuple[float, str]:
    """The one number that the reference must be multiplied by to come nearest, and a sentence if that explains it."""
    square = float((pair.reference**2).sum())
    factor = float((pair.reference * pair.candidate).sum()) / square if square else 1.0
    if float(np.abs(pair.candidate - factor * pair.reference).mean()) > mean / 10:
        return factor, ""
    return factor, f" They are the measured ones times {factor:.4g}: look for a wrong scaling or a temperature."


def labels_check(pair: Pair) -> ParityCheck:
    """The same predicted label in every row where rounding within the tolerance could not turn it."""
    if pair.terms.is_quantised:
        return _agreement(pair)
    ours, theirs = pair.reference.argmax(axis=1), pair.candidate.argmax(axis=1)
    n, flips = len(ours), np.flatnonzero(ours != theirs)
    given_up = pair.reference.max(axis=1) - pair.reference[np.arange(n), theirs]
    wrong = flips[given_up[flips] > 2 * pair.max_allowed]
    figures = {"agreement": 1 - len(flips) / n, "n_flips": len(flips), "n_ties_flipped": len(flips) - len(wrong)}
    if not len(flips):
        return ParityCheck("labels", "same", f"All {n} rows are given the same label.", figures)
    if not len(wrong):
        told = f"{n - len(flips)} of {n} rows are given the same label; the rest were ties within the tolerance."
        return ParityCheck("labels", "same", told, figures)
    example = str(pair.rows.example_id[wrong[0]])
    return ParityCheck(
        "labels",
        "different",
        f"{len(wrong)} of {n} rows are given another label though they were no tie; first, example {example!r}: class"
        f" {int(ours[wrong[0]])} was measured, the export says {int(theirs[wrong[0]])}.",
        figures | {"example_id": example},
    )


def _agreement(pair: Pair) -> ParityCheck:
    """How often a quantised export gives the measured label: its accuracy, were those labels the truth."""
    measured = np.asarray(pair.reference.argmax(axis=1), dtype=np.int64)
    try:
        found = estimate(pair.table(pair.candidate, measured), pair.rows.group, "accuracy", level=pair.terms.level)
    except EvidenceError as error:
        return not_run("labels", str(error))
    least = pair.terms.min_agreement
    outcome: Outcome = "same" if found.low >= least else "different" if found.high < least else "open"
    told = (
        f"{found.value:.1%} of rows are given the measured label ({found.level:.0%} interval {found.low:.1%} to"
        f" {found.high:.1%}); required are {least:.0%}."
    )
    return ParityCheck(
        "labels", outcome, told + _unsettled(outcome), {"agreement": found.value, "low": found.low, "high": found.high}
    )


def score_check(pair: Pair) -> ParityCheck:
    """Candidate minus reference on the same rows, with its paired interval; by which it is judged if quantised."""
    label, terms = pair.rows.label, pair.terms
    if label is None:
        return not_run("score", SHUT)
    try:
        difference = paired_difference(
            pair.table(pair.candidate, label),
            pair.table(pair.reference, label),
            pair.rows.group,
            terms.metric,
            level=terms.level,
        )
    except EvidenceError as error:
        return not_run("score", str(error))
    sign = 1 if METRICS[terms.metric].higher_is_better else -1
    gain = sign * difference.value
    low, high = sorted((sign * difference.low, sign * difference.high))
    # Unless quantised, the question is what these rows say, not what others would.
    near, far = (low, high) if terms.is_quantised else (gain, gain)
    outcome: Outcome = "same" if near >= -terms.max_drop else "different" if far < -terms.max_drop else "open"
    shown = SHOWN[terms.metric]
    now, least, most, allowed = (difference_text(shown, value) for value in (gain, low, high, -terms.max_drop))
    unit = " points" if shown.is_percent else ""
    told = (
        f"{shown.name}, export against measured artifact, better is +: {now}{unit} ({terms.level:.0%} interval {least}"
        f" to {most}, same rows); allowed is {allowed}."
    )
    return ParityCheck("score", outcome, told + _unsettled(outcome), difference.to_json())


def _unsettled(outcome: Outcome) -> str:
    return " The interval settles it neither way: more rows would." if outcome == "open" else ""
