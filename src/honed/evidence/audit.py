"""The figures of an audit: accuracy against planted noise, what cleaning wins back, how much noise is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from honed.errors import EvidenceError
from honed.evidence.comparison import paired_difference
from honed.evidence.estimate import Estimate
from honed.evidence.intervals import estimate, score_interval, t_quantile
from honed.evidence.jackknife import probabilities
from honed.evidence.label_errors import Bools, LabelErrors, Strings
from honed.evidence.metrics import Floats, Ints, row_correct
from honed.oof import Predictions

N_RESAMPLES = 2000
N_AREA_RESAMPLES = 500


@dataclass(frozen=True)
class Arm:
    """The out-of-fold table of one way to train, scored by the data's own labels.

    name : clean (as given), noisy, or a way of cleaning.    rate, draw : of the noise in its training sides.
    """

    name: str
    rate: float
    draw: int
    table: Predictions


@dataclass(frozen=True)
class Scenario:
    """Spoilt labels (n,), and what the finder says of them."""

    rate: float
    draw: int
    label: Ints
    found: LabelErrors


@dataclass(frozen=True)
class Audit:
    """Everything that an audit measured; rows in one order everywhere. group : (n,)."""

    source: str
    kind: str
    metric: str
    level: float
    n_rows: int
    n_all_rows: int
    group: Strings
    label_names: tuple[str, ...]
    arms: Sequence[Arm]
    scenarios: Sequence[Scenario]
    timings_s: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Every figure with its interval."""
        rates = sorted({s.rate for s in self.scenarios})
        return {
            "source": self.source, "noise": self.kind, "metric": self.metric, "level": self.level,
            "n_rows": self.n_rows, "n_all_rows": self.n_all_rows, "n_classes": len(self.label_names),
            "clean": self._score([arm for arm in self.arms if arm.name == "clean"]).to_json(),
            "rates": [self._of_rate(rate) for rate in rates],
            "timings_s": {name: round(value, 2) for name, value in self.timings_s.items()},
        }  # fmt: skip

    def _score(self, arms: Sequence[Arm]) -> Estimate:
        """The mean over the draws, as repeats of one table: a row that several draws score counts as one."""
        return estimate(
            stacked([arm.table for arm in arms]), np.tile(self.group, len(arms)), self.metric, level=self.level
        )

    def _of_rate(self, rate: float) -> dict[str, Any]:
        own = [arm for arm in self.arms if arm.rate == rate and arm.name != "clean"]
        names = list(dict.fromkeys(arm.name for arm in own))
        draws = sorted({arm.draw for arm in own})
        clean = [arm.table for arm in self.arms if arm.name == "clean"] * len(draws)
        group = np.tile(self.group, len(draws))
        table = {name: stacked([arm.table for arm in own if arm.name == name]) for name in names}
        cost = paired_difference(table["noisy"], stacked(clean), group, self.metric, level=self.level)
        arms: dict[str, Any] = {}
        for name in names:
            arms[name] = {"score": self._score([arm for arm in own if arm.name == name]).to_json()}
            if name == "noisy":
                continue
            gain = paired_difference(table[name], table["noisy"], group, self.metric, level=self.level)
            arms[name]["gain"] = asdict(gain)
            arms[name]["won_back"] = self._won_back(stacked(clean), table["noisy"], table[name], group)
        found = [s for s in self.scenarios if s.rate == rate]
        return {"rate": rate, "n_draws": len(draws), "cost": asdict(cost), "arms": arms, "finder": self._finder(found)}

    def _won_back(self, clean: Predictions, noisy: Predictions, cleaned: Predictions, group: Strings) -> dict[str, Any]:
        """(cleaned - noisy) / (clean - noisy), with the interval of a bootstrap over groups.

        Not stated where the loss is not settled: a share of nothing is any number.
        """
        hit = np.stack([row_correct(t.label, probabilities(t, group)) for t in (clean, noisy, cleaned)])
        names, index = np.unique(group, return_inverse=True)
        per_group = np.stack([np.bincount(index.ravel(), weights=own, minlength=len(names)) for own in hit])
        loss, gain = per_group[0] - per_group[1], per_group[2] - per_group[1]
        rng = np.random.default_rng(0)
        weights = [rng.multinomial(len(names), np.full(len(names), 1 / len(names))) for _ in range(N_RESAMPLES)]
        drawn = np.array([[w @ loss, w @ gain] for w in weights], dtype=np.float64)
        alpha = (1 - self.level) / 2
        if np.quantile(drawn[:, 0], alpha) <= 0:
            return {"value": None, "not_run": "the noise cost no accuracy that could be told from chance"}
        share = drawn[:, 1] / np.where(drawn[:, 0] > 0, drawn[:, 0], np.nan)
        low, high = np.nanquantile(share, [alpha, 1 - alpha])
        return {"value": float(gain.sum() / loss.sum()), "low": float(low), "high": float(high), "level": self.level,
                "interval": "group-bootstrap"}  # fmt: skip

    def _finder(self, found: Sequence[Scenario]) -> dict[str, Any]:
        """Precision and recall of the flags on the planted errors, and the area under the precision-recall curve.

        Errors that the data had before count as false alarms, so the precision is a lower bound.
        """
        label = self.arms[0].table.label
        planted = np.concatenate([s.label != label for s in found])
        flagged = np.concatenate([s.found.is_flagged for s in found])
        hits, quantile = int((planted & flagged).sum()), t_quantile(self.level, np.inf)
        figures: dict[str, Any] = {"n_planted": int(planted.sum()), "n_flagged": int(flagged.sum()), "n_hits": hits}
        for name, n in (("precision", flagged.sum()), ("recall", planted.sum())):
            if n:
                low, high = score_interval(hits / int(n), float(n), quantile)
                figures[name] = Estimate(hits / int(n), low, high, self.level, "wilson", int(n), ()).to_json()
            else:
                figures[name] = {"value": None, "not_run": "nothing was flagged"}
        figures["average_precision"] = self._area([(s.label != label, -s.found.quality) for s in found])
        return figures

    def _area(self, judged: Sequence[tuple[Bools, Floats]]) -> dict[str, Any]:
        """Mean area under the precision-recall curve of (is_error, score), with the interval of a group bootstrap."""
        names, index = np.unique(self.group, return_inverse=True)
        rng = np.random.default_rng(0)
        drawn = []
        for _ in range(N_AREA_RESAMPLES):
            weight = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[index.ravel()].astype(np.float64)
            areas = [average_precision(*one, weight) for one in judged if weight[one[0]].sum() > 0]
            drawn += [float(np.mean(areas))] if areas else []
        alpha = (1 - self.level) / 2
        low, high = np.quantile(drawn, [alpha, 1 - alpha])
        value = float(np.mean([average_precision(*one) for one in judged]))
        return {"value": value, "low": float(low), "high": min(1.0, float(high)), "level": self.level,
                "interval": "group-bootstrap"}  # fmt: skip


def stacked(tables: Sequence[Predictions]) -> Predictions:
    """Tables of the same rows as the repeats of one."""
    if any(table.logits is None for table in tables):
        raise EvidenceError("An audit needs logits: it is for tasks with classes.")
    repeat = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    first, columns = tables[0], ("fold", "label", "loss", "weight", "logits")
    return Predictions(
        np.tile(first.example_id, len(tables)), repeat,
        *(np.concatenate([getattr(table, name) for table in tables]) for name in columns),
    )  # fmt: skip


def average_precision(is_error: Bools, score: Floats, weight: Floats | None = None) -> float:
    """Area under the precision-recall curve as a step function, as scikit-learn's `average_precision_score`."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_error, score, sample_weight=weight))
