"""May a map be believed? Deletion and insertion against a random order, and whether it survives random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from honed.evidence.attention_regions import Paired, Strings
from honed.evidence.estimate import Estimate
from honed.evidence.metrics import Floats

MAX_SURVIVAL = 0.5
"""Mean rank correlation from which a map is said to survive random weights."""


@dataclass(frozen=True)
class Curves:
    """Probability of the explained class while patches (or tokens) are taken away or put back.

    frac : (k,) rising from 0 to 1, share of patches changed.
    deletion, insertion : (n, k), in the order of the map, strongest first.
    random_deletion, random_insertion : (n, k), in a random order (the mean over several, where there are).
    """

    frac: Floats
    deletion: Floats
    insertion: Floats
    random_deletion: Floats
    random_insertion: Floats


@dataclass(frozen=True)
class Faithfulness:
    """What the two checks say of one kind of map.

    method : e.g. "rollout".    deletion, insertion : areas, random order as `base` and map's order as `specialist`;
    signs turned so that a positive difference is in the map's favour.    survival : mean rank correlation with the map
    of the same model with random weights.    n_constant : rows whose map has one value throughout, left out there.
    curves : mean curves for the drawing: name -> (k,), with "frac".
    not_run : check -> reason.
    """

    method: str
    deletion: Paired | None
    insertion: Paired | None
    survival: Estimate | None
    n_constant: int
    curves: dict[str, list[float]]
    not_run: dict[str, str]

    @property
    def is_withheld(self) -> bool:
        """Whether the map survives random weights, so that no picture of it may be shown."""
        raise NotImplementedError

    @property
    def sentence(self) -> str:
        """The verdict in plain words, with its figures."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Plain types, with `is_withheld` and `sentence`."""
        raise NotImplementedError


def area_under(frac: Floats, curve: Floats) -> Floats:
    """Area under each curve by trapezoids. frac : (k,), curve : (n, k) -> (n,)."""
    raise NotImplementedError


def rank_correlations(heat: Floats, other: Floats) -> Floats:
    """Spearman's correlation of two maps of each row, (n,); NaN where one of them is constant. (n, gh, gw) each."""
    raise NotImplementedError


def faithfulness(
    method: str,
    group: Strings,
    curves: Curves | None,
    survival: Floats | None,
    *,
    level: float = 0.95,
) -> Faithfulness:
    """Judge one kind of map.

    group : (n,).    curves : None if they were not measured.    survival : (n,) of `rank_correlations` between the
    trained model's maps and those of the model with random weights; None if not measured.
    """
    raise NotImplementedError


__all__ = ["Sequence"]
