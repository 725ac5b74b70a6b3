"""The hospital trap: does attention where no finding can be tell whether the model is right, or which label it is?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.chest_regions import OUTSIDE
from honed.data.regions import BORDER, PADDING
from honed.errors import EvidenceError
from honed.evidence.attention_regions import Strings
from honed.evidence.estimate import Estimate
from honed.evidence.intervals import estimate
from honed.evidence.metrics import Floats, Ints
from honed.evidence.report_format import NOT_RUN, decimal
from honed.oof import Predictions

SUSPECTS = (OUTSIDE, BORDER, PADDING)
"""Regions in which no finding can be."""
SAME_SOURCE = (
    "All folds come from the same source as the training rows. They cannot show a shortcut that this source offers to"
    " all of them: only rows of another hospital, device or office can."
)
_ADVICE = (
    "A model that reads where no finding can be may have learnt the hospital, the device or how the picture was taken,"
    " and would fail elsewhere; it may also be that findings draw attention away from there. Look at those pictures,"
    " blank out the region and fit again, and judge the specialist on rows of another hospital."
)


@dataclass(frozen=True)
class ScoredRows:
    """What is known of the rows whose attention was measured. (n,) each.

    label_names : of `label`.    is_correct : whether the model that never saw the row was right. The attention is
    another's, the shipped model's, which was trained on these rows.
    """

    label: Ints
    label_names: tuple[str, ...]
    is_correct: npt.NDArray[np.bool_]
    fold: Ints
    group: Strings


@dataclass(frozen=True)
class ShortcutCheck:
    """One question: does the share of attention in `region` predict `target`?

    target : "being right", or "label NAME".    auc : per fold, then averaged, with an interval widened for the number
    of questions asked; None: not run.    is_warning : 0.5 lies outside the interval.    sentence : in plain words.
    """

    region: str
    target: str
    auc: Estimate | None
    is_warning: bool
    sentence: str
    not_run: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "region": self.region, "target": self.target, "auc": self.auc and self.auc.to_json(),
            "is_warning": self.is_warning, "sentence": self.sentence, "not_run": self.not_run,
        }  # fmt: skip


def shortcut_checks(shares: Mapping[str, Floats], rows: ScoredRows, *, level: float = 0.95) -> list[ShortcutCheck]:
    """Ask of every region: does its share of attention predict being right, or a label (of two labels the second)?

    shares : region -> (n,) of `region_shares`, for the regions of SUSPECTS that there are; rows with NaN are left out.
    The AUC is computed within each fold and averaged; its interval is the jackknife's over groups at the level
    1 - (1 - level) / number of questions (Bonferroni), so that all of them together seldom raise a false alarm.
    """
    targets: dict[str, npt.NDArray[np.bool_]] = {"being right": rows.is_correct}
    first = 1 if len(rows.label_names) == 2 else 0
    targets |= {f"label {name}": rows.label == i for i, name in enumerate(rows.label_names) if i >= first}
    widened = 1 - (1 - level) / max(1, len(shares) * len(targets))
    return [
        _asked(region, target, share, (is_so, rows), widened)
        for region, share in shares.items()
        for target, is_so in targets.items()
    ]


def _asked(
    region: str, target: str, share: Floats, of: tuple[npt.NDArray[np.bool_], ScoredRows], level: float
) -> ShortcutCheck:
    is_so, rows = of
    keep = np.flatnonzero(np.isfinite(share))
    n = len(keep)
    table = Predictions(
        example_id=np.array([str(i) for i in keep], dtype=np.str_),
        repeat=np.zeros(n, dtype=np.int64),
        fold=rows.fold[keep],
        label=is_so[keep].astype(np.int64),
        loss=np.zeros(n),
        weight=np.ones(n),
        logits=np.stack([np.zeros(n), share[keep]], axis=1),
    )
    try:
        auc = estimate(table, rows.group[keep], "auroc", level=level)
    except EvidenceError as reason:
        why = reason.problem.rstrip(".")
        return ShortcutCheck(
            region, target, None, False, f"{region.capitalize()} and {target}: {NOT_RUN}{why}.", reason.problem
        )
    is_warning = not auc.low <= 0.5 <= auc.high
    return ShortcutCheck(region, target, auc, is_warning, _sentence(region, target, auc, is_warning))


def _sentence(region: str, target: str, auc: Estimate, is_warning: bool) -> str:
    figures = f"AUC {decimal(auc.value)} [{decimal(auc.low)}, {decimal(auc.high)}], 0.5 is chance"
    where = f"the share of attention on the region \u201c{region}\u201d"
    if not is_warning:
        return f"No sign that {where} predicts {target} ({figures})."
    strength = abs(auc.value - 0.5)
    how = "weakly " if strength < 0.1 else "" if strength < 0.25 else "strongly "
    side = "more" if auc.value > 0.5 else "less"
    then = "right" if target == "being right" else target
    return f"{where[0].upper()}{where[1:]} {how}predicts {target}: {side} of it, more often {then} ({figures})."


def shortcut_warning(checks: Sequence[ShortcutCheck]) -> str:
    """The warnings in plain words, "" without any."""
    told = [check.sentence for check in checks if check.is_warning]
    return " ".join([*told, _ADVICE]) if told else ""
