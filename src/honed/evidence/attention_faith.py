"""May a map be believed? Deletion and insertion against a random order, and whether it survives random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from honed.errors import EvidenceError
from honed.evidence.attention_regions import Paired, Strings, average, paired
from honed.evidence.estimate import Estimate
from honed.evidence.metrics import Floats
from honed.evidence.report_format import MINUS, NOT_RUN, decimal

MAX_SURVIVAL = 0.5
"""Mean rank correlation (either sign) from which a map is said to survive random weights: it is then as much the
architecture's and the picture's as the training's. Adebayo et al. 2018 name no limit; this one is ours."""


@dataclass(frozen=True)
class Curves:
    """Probability of the explained class while patches (or tokens) are taken away or put back.

    frac : (k,) rising from 0 to 1, share of patches changed.
    deletion, insertion : (n, k) in [0, 1], in the order of the map, strongest first.
    random_deletion, random_insertion : (n, k), in a random order (the mean over several, where there are).
    """

    frac: Floats
    deletion: Floats
    insertion: Floats
    random_deletion: Floats
    random_insertion: Floats

    def means(self) -> dict[str, list[float]]:
        """Each curve's mean over the rows, (k,), and "frac"."""
        named = ("deletion", "insertion", "random_deletion", "random_insertion")
        return {"frac": self.frac.tolist()} | {name: getattr(self, name).mean(axis=0).tolist() for name in named}


@dataclass(frozen=True)
class Faithfulness:
    """What the two checks say of one kind of map.

    method : e.g. "rollout".    deletion : 1 - area under the deletion curve, insertion : area under the insertion
    curve; a random order as `base`, the map's order as `specialist`, so a positive difference is in the map's favour.
    survival : mean rank correlation with the map of the same model with random weights.    n_constant : rows left out
    of it, because a map has one value throughout.    curves : mean curves, see `Curves.means`.
    not_run : check -> reason.
    """

    method: str
    deletion: Paired
    insertion: Paired
    survival: Estimate | None
    n_constant: int
    curves: dict[str, list[float]]
    not_run: dict[str, str]

    @property
    def is_withheld(self) -> bool:
        """Whether the map survives random weights, so that no picture of it may be shown."""
        return self.survival is not None and abs(self.survival.value) >= MAX_SURVIVAL

    @property
    def is_proven(self) -> bool:
        """Whether random weights change it, and both orders are better than random ones, beyond chance."""
        return self._is_changed and all(figure.standing > 0 for figure in (self.deletion, self.insertion))

    @property
    def _is_changed(self) -> bool:
        """Whether the whole interval of the correlation lies below the limit."""
        return self.survival is not None and max(-self.survival.low, self.survival.high) < MAX_SURVIVAL

    @property
    def verdict(self) -> str:
        """What may be done with the map, in one sentence."""
        if self.is_withheld:
            return f"The map ({self.method}) is withheld: a map that survives random weights explains nothing."
        if self.is_proven:
            return f"The map ({self.method}) passes both checks: random weights and deletion / insertion."
        return f"The map ({self.method}) is shown, but it is not proven: do not read reasons from it alone."

    @property
    def sentence(self) -> str:
        """The verdict and what it rests on, with its figures."""
        orders = [
            _order_sentence(what, figure.difference, figure.standing)
            for what, figure in (("Taking away", self.deletion), ("Putting back", self.insertion))
            if figure.difference is not None
        ]
        missing = [f"{check}: {NOT_RUN}{why}." for check, why in self.not_run.items()]
        return " ".join(part for part in (self.verdict, self._survival_sentence(), *orders, *missing) if part)

    def _survival_sentence(self) -> str:
        if self.survival is None:
            return ""
        own = self.survival
        figures = f"rank correlation {decimal(own.value)} [{decimal(own.low)}, {decimal(own.high)}]"
        if self.is_withheld:
            return f"With random weights the model gives much the same map ({figures})."
        if not self._is_changed:
            limit = decimal(MAX_SURVIVAL)
            return f"With random weights the map changes; a correlation of {limit} cannot be ruled out ({figures})."
        return f"With random weights the map becomes another one ({figures})."

    def to_json(self) -> dict[str, Any]:
        """Plain types, with the verdict."""
        return {
            "method": self.method, "is_withheld": self.is_withheld, "is_proven": self.is_proven,
            "sentence": self.sentence, "deletion": self.deletion.to_json(), "insertion": self.insertion.to_json(),
            "survival": self.survival and self.survival.to_json(), "n_constant": self.n_constant,
            "curves": self.curves, "not_run": self.not_run,
        }  # fmt: skip


def area_under(frac: Floats, curve: Floats) -> Floats:
    """Area under each curve by trapezoids. frac : (k,), curve : (n, k) -> (n,)."""
    return np.asarray(np.trapezoid(curve, frac, axis=1))


def rank_correlations(heat: Floats, other: Floats) -> Floats:
    """Spearman's correlation of two maps of each row, (n,); NaN where one of them is constant. (n, gh, gw) each."""
    from scipy.stats import rankdata

    a, b = (rankdata(np.reshape(maps, (len(maps), -1)), axis=1) for maps in (heat, other))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(norm > 0, (a * b).sum(axis=1) / np.where(norm > 0, norm, 1.0), np.nan)


def faithfulness(
    method: str, group: Strings, curves: Curves, survival: Floats | None, *, level: float = 0.95
) -> Faithfulness:
    """Judge one kind of map.

    group : (n,).    survival : (n,) of `rank_correlations` between the
    trained model's maps and those of the model with random weights; None if not measured.

    Raises EvidenceError if the curves have not one row a group's row, or their shares do not rise from 0 to 1.
    """
    not_run: dict[str, str] = {}
    _check(curves, len(group))
    gone, gone_at_random = (area_under(curves.frac, c) for c in (curves.deletion, curves.random_deletion))
    deletion = paired(1 - gone_at_random, 1 - gone, group, level=level)
    back, back_at_random = (area_under(curves.frac, c) for c in (curves.insertion, curves.random_insertion))
    insertion = paired(back_at_random, back, group, level=level)
    if deletion.not_run or insertion.not_run:
        not_run["Deletion and insertion"] = deletion.not_run or insertion.not_run
    mean = None if survival is None else average(survival, group, level=level)
    if mean is None:
        not_run["Random weights"] = (
            "the map of a model with random weights was not measured"
            if survival is None
            else "fewer than two groups have maps that differ within themselves"
        )
    n_constant = 0 if survival is None else int((~np.isfinite(survival)).sum())
    return Faithfulness(method, deletion, insertion, mean, n_constant, curves.means(), not_run)


def _check(curves: Curves, n_rows: int) -> None:
    shape = (n_rows, len(curves.frac))
    for name in ("deletion", "insertion", "random_deletion", "random_insertion"):
        if getattr(curves, name).shape != shape:
            raise EvidenceError(f"The {name} curves have shape {getattr(curves, name).shape}, not {shape}.")
    if curves.frac[0] != 0 or curves.frac[-1] != 1 or (np.diff(curves.frac) <= 0).any():
        raise EvidenceError(f"The shares of the curves must rise from 0 to 1; they are {curves.frac.tolist()}.")


def _order_sentence(what: str, own: Estimate, standing: int) -> str:
    word = {
        1: "changes the prediction sooner than a random order",
        0: "cannot be told from a random order",
        -1: "changes the prediction later than a random order: the map points away from what matters",
    }[standing]
    figures = f"area {_points(own.value)} [{_points(own.low)}, {_points(own.high)}] points"
    return f"{what} first what it marks most {word} ({figures})."


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", MINUS)
