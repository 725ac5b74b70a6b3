"""Does "90 % sure" mean right nine times in ten? Temperature scaling (Guo et al. 2017), judged cross-fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.estimate import Estimate
from honed.evidence.intervals import estimate, score_interval, t_quantile
from honed.evidence.jackknife import cells, probabilities
from honed.evidence.metrics import Floats, Ints, row_correct, row_log_loss, softmax
from honed.oof import Predictions

TEMPERATURE_RANGE = (1e-3, 1e3)


def _slope(logits: Floats, label: Ints, inverse_temperature: float) -> float:
    """Derivative of the mean log loss in 1/T: mean of E_p[logit] - logit of the label; increasing, as it is convex."""
    probs = softmax(logits * inverse_temperature)
    return float(((probs * logits).sum(axis=1) - logits[np.arange(len(label)), label]).mean())


def fit_temperature(logits: Floats, label: Ints) -> float:
    """The T > 0 that minimises the mean log loss of softmax(logits / T). logits: (m, c); label: (m,).

    The log loss is convex in 1/T, so its slope has one root, which is bisected on log T. The argmax never changes.

    Raises EvidenceError if there is no such T: every row is right (T would go to 0), or the logits say nothing about
    the labels (T would go to infinity), or there are no rows.
    """
    if not len(label):
        raise EvidenceError("No temperature can be fitted: there are no rows.")
    smallest, largest = TEMPERATURE_RANGE
    if _slope(logits, label, 1 / smallest) <= 0:
        raise EvidenceError(
            f"No temperature can be fitted on these {len(label)} rows: every row is predicted rightly,"
            " so any greater confidence looks better."
        )
    if _slope(logits, label, 1 / largest) >= 0:
        raise EvidenceError(
            f"No temperature can be fitted on these {len(label)} rows: the predictions say nothing about the labels,"
            " so less confidence always looks better."
        )
    low, high = np.log(smallest), np.log(largest)
    for _ in range(60):
        middle = (low + high) / 2
        if _slope(logits, label, float(np.exp(-middle))) > 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def cross_fit_temperature(predictions: Predictions) -> tuple[dict[tuple[int, int], float], Floats]:
    """Temperatures that never saw the rows they are judged on (honesty rule 6).

    Returns ({(repeat, fold): T fitted on the other folds of that repeat}, calibrated logits (m, c) in row order).

    Raises EvidenceError if there is one fold only, or a temperature has no optimum.
    """
    if predictions.logits is None:
        raise EvidenceError("The predictions hold no logits, so there is no temperature to fit.")
    calibrated = np.array(predictions.logits)
    fitted: dict[tuple[int, int], float] = {}
    for rows in cells(predictions):
        repeat, fold = int(predictions.repeat[rows[0]]), int(predictions.fold[rows[0]])
        others = (predictions.repeat == repeat) & (predictions.fold != fold)
        if not others.any():
            raise EvidenceError(
                f"Repeat {repeat} has only fold {fold}, so a temperature would be judged on the rows it was fitted on.",
                remedy="Use at least 2 folds, or apply a temperature that was fitted elsewhere.",
            )
        fitted[repeat, fold] = fit_temperature(predictions.logits[others], predictions.label[others])
        calibrated[rows] /= fitted[repeat, fold]
    return fitted, calibrated


def with_logits(predictions: Predictions, logits: Floats) -> Predictions:
    """The same rows with other logits, the losses to match."""
    return replace(predictions, logits=logits, loss=row_log_loss(predictions.label, softmax(logits)))


def apply_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """The same rows with logits / temperature (for the holdout, with the temperature that ships)."""
    if predictions.logits is None:
        raise EvidenceError("The predictions hold no logits, so there is nothing to calibrate.")
    return with_logits(predictions, predictions.logits / temperature)


def reliability_curve(label: Ints, probs: Floats, n_bins: int = 10, level: float = 0.95) -> list[dict[str, Any]]:
    """Stated confidence against accuracy, per equal-width bin (low, high] of the largest probability.

    Bins without rows are left out. Accuracy carries Wilson's interval, which takes rows as independent.
    """
    confidence, correct = probs.max(axis=1), row_correct(label, probs)
    index = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], confidence, "left")
    curve = []
    for b in np.unique(index):
        here = index == b
        n, accuracy = int(here.sum()), float(correct[here].mean())
        low, high = score_interval(accuracy, n, t_quantile(level, np.inf))
        curve.append(
            {
                "bin_low": float(b / n_bins),
                "bin_high": float((b + 1) / n_bins),
                "n": n,
                "confidence": float(confidence[here].mean()),
                "accuracy": accuracy,
                "accuracy_low": low,
                "accuracy_high": high,
            }
        )
    return curve


@dataclass(frozen=True)
class CalibrationSummary:
    """Calibration of an out-of-fold table before and after the temperature.

    temperature : fitted on all rows: what ships. 1.0 where none could be fitted; `not_fitted` then says why.
    per_fold : the cross-fitted temperatures that the `after` figures rest on, by (repeat, fold).
    log_loss_*, ece_* : before: as the model states it; after: each fold with the temperature of the others.
    curve_* : reliability curves of the pooled rows.
    """

    temperature: float
    per_fold: dict[tuple[int, int], float]
    log_loss_before: Estimate
    log_loss_after: Estimate
    ece_before: Estimate
    ece_after: Estimate
    curve_before: tuple[dict[str, Any], ...]
    curve_after: tuple[dict[str, Any], ...]
    not_fitted: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain types for `metrics.json`."""
        return {
            "temperature": self.temperature,
            "not_fitted": self.not_fitted,
            "per_fold": [{"repeat": r, "fold": f, "temperature": t} for (r, f), t in sorted(self.per_fold.items())],
            "before": {"log_loss": self.log_loss_before.to_json(), "ece": self.ece_before.to_json()},
            "after": {"log_loss": self.log_loss_after.to_json(), "ece": self.ece_after.to_json()},
            "curve_before": list(self.curve_before),
            "curve_after": list(self.curve_after),
        }


def calibrate(predictions: Predictions, group: npt.NDArray[np.str_], *, level: float = 0.95) -> CalibrationSummary:
    """The temperature that ships, and what it is worth on rows that it never saw.

    predictions : an out-of-fold table of at least two folds.

    Raises EvidenceError if the table is unusable; a table without an optimal temperature keeps T = 1 and says why.
    """
    probs = probabilities(predictions, group)
    not_fitted = ""
    per_fold: dict[tuple[int, int], float] = {}
    temperature, after = 1.0, predictions
    try:
        per_fold, logits = cross_fit_temperature(predictions)
        assert predictions.logits is not None
        temperature = fit_temperature(predictions.logits, predictions.label)
        after = with_logits(predictions, logits)
    except EvidenceError as error:
        per_fold, not_fitted = {}, str(error)
    return CalibrationSummary(
        temperature=temperature,
        per_fold=per_fold,
        log_loss_before=estimate(predictions, group, "log_loss", level=level),
        log_loss_after=estimate(after, group, "log_loss", level=level),
        ece_before=estimate(predictions, group, "ece", level=level),
        ece_after=estimate(after, group, "ece", level=level),
        curve_before=tuple(reliability_curve(predictions.label, probs, level=level)),
        curve_after=tuple(reliability_curve(after.label, probabilities(after, group), level=level)),
        not_fitted=not_fitted,
    )
