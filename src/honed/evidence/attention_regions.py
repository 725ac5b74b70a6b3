"""Where attention lies, before and after: shares of named regions, base against specialist, paired by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.evidence.estimate import Estimate
from honed.evidence.metrics import Floats, Ints

Strings = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Paired:
    """One figure of base and specialist on the same rows, and their paired difference (specialist - base).

    base, specialist, difference : with interval at one level; None if fewer than two groups are left.
    p_value : two-sided, of "exchanging base and specialist within a group changes nothing" (sign flips by group).
    n, n_groups : rows and groups that count.    not_run : why there are no figures, or "".
    """

    base: Estimate | None
    specialist: Estimate | None
    difference: Estimate | None
    p_value: float | None
    n: int
    n_groups: int
    not_run: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        raise NotImplementedError


@dataclass(frozen=True)
class RegionFigure:
    """One region in one class (or in all rows).

    region, class_name : class_name "" for all rows.
    density : share of attention over share of area (sum over rows of the one over the sum of the other; 1: no
    preference), `Paired`.    pointing : share of rows whose strongest patch lies in the region, `Paired`.
    area, base_share, specialist_share : mean shares in [0, 1], None if no row counts.
    corrected_p : Holm's over all regions (of one class table: over all regions and classes) of density's p.
    n_empty : rows left out because the region is empty there.    n_no_heat : because a map is zero or not finite.
    """

    region: str
    class_name: str
    density: Paired
    pointing: Paired
    area: float | None
    base_share: float | None
    specialist_share: float | None
    corrected_p: float | None
    n_empty: int
    n_no_heat: int

    def to_json(self) -> dict[str, Any]:
        """Plain types, one row of `attention.parquet` when flattened."""
        raise NotImplementedError


@dataclass(frozen=True)
class RegionTable:
    """All regions over all rows, then per class; entropy of the maps (1: spread evenly, 0: all on one patch)."""

    overall: tuple[RegionFigure, ...]
    per_class: tuple[RegionFigure, ...]
    entropy: Paired
    level: float
    n: int
    n_groups: int

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        raise NotImplementedError

    def to_rows(self) -> list[dict[str, Any]]:
        """One flat row a region and class, for a Parquet or CSV file; the same keys in every row."""
        raise NotImplementedError


def normalised(heat: Floats) -> Floats:
    """Each map divided by its sum. heat : (n, gh, gw) >= 0 -> the same; NaN throughout where the sum is 0 or not finite.

    Raises EvidenceError for negative heat or another number of dimensions.
    """
    raise NotImplementedError


def region_shares(heat: Floats, coverage: Mapping[str, Floats]) -> dict[str, Floats]:
    """Share of each row's attention in each region, (n,) in [0, 1]; NaN where the row has no heat."""
    raise NotImplementedError


def entropy(heat: Floats) -> Floats:
    """Shannon entropy of each map over that of an even one, (n,) in [0, 1]. heat : (n, gh, gw)."""
    raise NotImplementedError


def pointing(heat: Floats, coverage: Floats) -> Floats:
    """Share of the strongest patch that lies in the region, (n,); ties are averaged. Zhang et al. 2016, by patches."""
    raise NotImplementedError


def paired(
    base: Floats, specialist: Floats, group: Strings, *, weight: Floats | None = None, level: float = 0.95
) -> Paired:
    """Base against specialist in any figure that each row has: sum(value) / sum(weight), paired by group.

    base, specialist : (n,); rows with a value that is not finite are left out.    weight : (n,) > 0, or None: 1 each,
    which makes it a mean.    Interval: jackknife over groups, bent by its skewness. Test: sign flips by group.
    """
    raise NotImplementedError


def region_table(
    base: Floats,
    specialist: Floats,
    coverage: Mapping[str, Floats],
    group: Strings,
    *,
    classes: tuple[Ints, Sequence[str]] | None = None,
    level: float = 0.95,
) -> RegionTable:
    """The region table.

    base, specialist : (n, gh, gw) >= 0, the maps of the same rows.    coverage : region -> (n, gh, gw) in [0, 1], 0
    throughout where a row has no such region.    group : (n,) the independent unit of each row.
    classes : (label (n,), label_names) for the tables per class; None: none.

    Raises EvidenceError if the shapes differ.
    """
    raise NotImplementedError
