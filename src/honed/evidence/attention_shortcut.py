"""The hospital trap: does attention where no finding can be tell whether the model is right, or which label it is?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.evidence.attention_regions import Strings
from honed.evidence.estimate import Estimate
from honed.evidence.metrics import Floats, Ints


@dataclass(frozen=True)
class ScoredRows:
    """What is known of the rows whose attention was measured: all out-of-fold. (n,) each.

    label_names : of `label`.    is_correct : whether the model that never saw the row was right.
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
        raise NotImplementedError


def shortcut_checks(shares: Mapping[str, Floats], rows: ScoredRows, *, level: float = 0.95) -> list[ShortcutCheck]:
    """Ask every question of every region. shares : region -> (n,) of `region_shares`; rows with NaN are left out."""
    raise NotImplementedError


def shortcut_warning(checks: Sequence[ShortcutCheck]) -> str:
    """The warnings in plain words, "" without any."""
    raise NotImplementedError
