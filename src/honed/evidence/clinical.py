"""The clinical reading: who is called ill at one operating point, how often that is right, and what it means."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.class_names import class_named
from honed.errors import EvidenceError, UsageError
from honed.evidence.calibration import apply_temperature, with_logits
from honed.evidence.decisions import Groups, decisions, recall
from honed.evidence.estimate import figure_json
from honed.evidence.intervals import estimate
from honed.evidence.jackknife import cells, probabilities
from honed.evidence.metrics import Floats, Ints, softmax
from honed.evidence.ratio import predictive_value
from honed.evidence.roc import falling_cuts, roc_curve
from honed.evidence.second_reader import NO_LABEL, against_reader
from honed.oof import Predictions

Mask = npt.NDArray[np.bool_]
ALMOST = 1e-12


@dataclass(frozen=True)
class Reading:
    """What is read from the probabilities.

    positive : the classes that count as ill, as indices.    level : of every interval.
    sensitivity : the least that the operating point must reach; None: Youden's index decides.
    prevalence : where the specialist will be used; None: as in the development rows.
    """

    positive: tuple[int, ...]
    level: float = 0.95
    sensitivity: float | None = None
    prevalence: float | None = None

    @property
    def rule(self) -> str:
        """How the operating point is chosen, in words."""
        if self.sensitivity is None:
            return "the highest sensitivity + specificity (Youden 1950)"
        return f"the highest specificity with a sensitivity of at least {self.sensitivity:g}"


@dataclass(frozen=True)
class Point:
    """What ships. threshold : who has at least this calibrated probability of being ill is called ill.

    prevalence : for which PPV and NPV are told.
    """

    threshold: float
    prevalence: float


def positive_classes(text: str, label_names: Sequence[str]) -> tuple[int, ...]:
    """The classes that `--positive` names, one or several with commas between them, each whole or by its first word
    where no other class begins so: 2 is the grade '2 moderate'.

    Raises UsageError for a class that the data do not have, or if all of them count as ill.
    """
    said = [text.strip()] if text.strip() in label_names else [name.strip() for name in text.split(",")]
    names = []
    for name in said:
        found = class_named(name, label_names)
        if found is None:
            near = difflib.get_close_matches(name, label_names, n=1, cutoff=0.5)
            shown = ", ".join(label_names[:10]) + (", ..." if len(label_names) > 10 else "")
            raise UsageError(
                f"--positive {text}: there is no class {name!r}.",
                remedy=(f"Did you mean {near[0]!r}? " if near else "") + f"The classes are {shown}.",
            )
        names.append(found)
    if len(set(names)) == len(label_names):
        raise UsageError(
            f"--positive {text} names all {len(label_names)} classes.",
            cause="If everybody is ill, there is nothing to tell apart.",
            remedy="Leave out the classes that count as healthy.",
        )
    return tuple(j for j, name in enumerate(label_names) if name in names)


def positive_probability(probs: Floats, positive: Sequence[int]) -> Floats:
    """The probability of being ill: the sum over the classes that count as ill. (m, c) -> (m,)."""
    return np.asarray(probs[:, list(positive)].sum(axis=1), dtype=np.float64)


def choose_threshold(is_ill: Mask, p: Floats, sensitivity: float | None = None) -> float:
    """The operating point of these rows; it lies midway between two of their probabilities.

    Without `sensitivity` it has the highest sensitivity + specificity, the most sensitive one of equals; else the
    highest specificity with at least that sensitivity.

    Raises EvidenceError if there are no ill or no healthy rows.
    """
    if is_ill.all() or not is_ill.any():
        kind = "ill" if not is_ill.any() else "healthy"
        raise EvidenceError(f"No operating point can be chosen on {len(is_ill)} rows of which none is {kind}.")
    order, last = falling_cuts(p)
    found = np.cumsum(is_ill[order])[last] / is_ill.sum()
    spared = 1 - np.cumsum(~is_ill[order])[last] / (~is_ill).sum()
    if sensitivity is None:
        best = np.flatnonzero(found + spared >= (found + spared).max() - ALMOST)[-1]
    else:
        best = np.flatnonzero(found >= sensitivity - ALMOST)[0]
    above, below = np.r_[p[order], 0.0][[last[best], last[best] + 1]]
    middle = (above + below) / 2
    return float(middle if middle > below else above)


def read_out_of_fold(
    table: Predictions, group: Groups, reading: Reading, temperatures: Mapping[tuple[int, int], float],
    temperature: float, reader: Ints | None = None,
) -> tuple[Point, dict[str, Any]]:  # fmt: skip
    """The point that ships, chosen on all rows, and what such a choice is worth: each fold is judged by the threshold
    and the temperature of the others (honesty rule 6).

    temperatures, temperature : cross-fitted by (repeat, fold), and the one that ships (`CalibrationSummary`).
    reader : (m,) the class that a second reader chose, -1 where none did.

    Raises EvidenceError if there are no ill or no healthy rows to choose on, or one fold only.
    """
    probabilities(table, group)  # refuses an unusable table
    assert table.logits is not None
    is_ill = np.isin(table.label, reading.positive)
    calibrated = np.array(table.logits)
    called, per_fold = np.zeros(len(table), dtype=bool), []
    for rows in cells(table):
        repeat, fold = int(table.repeat[rows[0]]), int(table.fold[rows[0]])
        others = (table.repeat == repeat) & (table.fold != fold)
        own = temperatures.get((repeat, fold), 1.0)
        p = positive_probability(softmax(table.logits / own), reading.positive)
        threshold = choose_threshold(is_ill[others], p[others], reading.sensitivity)
        called[rows] = p[rows] >= threshold
        calibrated[rows] /= own
        per_fold.append({"repeat": repeat, "fold": fold, "threshold": threshold, "temperature": own})
    p = positive_probability(softmax(table.logits / temperature), reading.positive)
    share = float(is_ill.mean())
    point = Point(
        choose_threshold(is_ill, p, reading.sensitivity), share if reading.prevalence is None else reading.prevalence
    )
    figures = _figures(with_logits(table, calibrated), called, group, reading, point, reader)
    return point, figures | {"rule": reading.rule, "per_fold": per_fold}


def read_holdout(
    table: Predictions, group: Groups, reading: Reading, point: Point, temperature: float, reader: Ints | None = None
) -> dict[str, Any]:
    """The shipped point, unchanged, on the shipped artifact's own logits."""
    calibrated = apply_temperature(table, temperature)
    called = positive_probability(probabilities(calibrated, group), reading.positive) >= point.threshold
    return _figures(calibrated, called, group, reading, point, reader)


def _figures(
    table: Predictions, called: Mask, group: Groups, reading: Reading, point: Point, reader: Ints | None
) -> dict[str, Any]:
    """table : calibrated logits.    called : (m,) who is called ill."""
    level = reading.level
    is_ill = np.isin(table.label, reading.positive)
    decided = decisions(table, is_ill, called, 2)
    p = positive_probability(probabilities(table, group), reading.positive)
    scored = with_logits(decided, np.log(np.maximum(np.stack([1 - p, p], axis=1), 1e-300)))
    auroc = figure_json(lambda: estimate(scored, group, "auroc", level=level))
    figures = {
        "n": len(table),
        "n_positive": int(is_ill.sum()),
        "counts": {
            "true_positive": int((called & is_ill).sum()),
            "false_negative": int((~called & is_ill).sum()),
            "false_positive": int((called & ~is_ill).sum()),
            "true_negative": int((~called & ~is_ill).sum()),
        },
        "threshold": point.threshold,
        "prevalence": {"value": point.prevalence, "is_stated": reading.prevalence is not None},
        "sensitivity": figure_json(lambda: recall(decided, group, 1, level)[0]),
        "specificity": figure_json(lambda: recall(decided, group, 0, level)[0]),
        **_predictive_values(decided, group, point.prevalence, level),
        "auroc": auroc,
        "roc": None if auroc["value"] is None else roc_curve(scored, p, group, level=level),
    }
    return figures if reader is None else figures | {"reader": _reader(table, decided, group, reading, reader)}


def _predictive_values(decided: Predictions, group: Groups, prevalence: float, level: float) -> dict[str, Any]:
    """Of 100 people called ill (or healthy), how many are, at that prevalence."""
    found: dict[str, Any] = {}
    for name, right, odds in (
        ("ppv", 1, (1 - prevalence) / prevalence),
        ("npv", 0, prevalence / (1 - prevalence)),
    ):
        try:
            own, other = (recall(decided, group, k, level)[1] for k in (right, 1 - right))
            value, low, high = predictive_value(own, other.rest, odds)
            if np.isnan(value):
                raise EvidenceError(f"nobody was called {'ill' if right else 'healthy'}.")
            kind = {"level": level, "interval": "bayes-mover-r", "n": len(decided)}
            found[name] = {"value": value, "low": low, "high": high, **kind}
        except EvidenceError as error:
            found[name] = {"value": None, "not_run": f"not run, because {error}"}
    return found


def _reader(table: Predictions, decided: Predictions, group: Groups, reading: Reading, reader: Ints) -> dict[str, Any]:
    """Against the second reader: as ill or healthy at the operating point, and by the most probable class."""
    is_ill, level = np.isin(table.label, reading.positive), reading.level
    binary = np.where(reader == NO_LABEL, NO_LABEL, np.isin(reader, reading.positive))
    assert table.logits is not None
    likeliest, n_classes = table.logits.argmax(axis=1), table.logits.shape[1]
    if n_classes == 2:  # the same two kinds, whichever of them comes first
        named, given = decisions(table, is_ill, np.isin(likeliest, reading.positive), 2), binary
    else:
        named, given = decisions(table, table.label, likeliest, n_classes), reader
    try:
        return {
            "at_point": against_reader(decided, binary, group, level=level),
            "most_probable": against_reader(named, given, group, level=level),
        }
    except EvidenceError as error:
        return {"not_run": f"not run, because {error}"}
