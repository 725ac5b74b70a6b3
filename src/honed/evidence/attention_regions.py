"""Where attention lies, before and after: shares of named regions, base against specialist, paired by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.comparison import standard_error
from honed.evidence.estimate import Estimate
from honed.evidence.intervals import effective_rows, score_interval, skewed_interval, t_quantile
from honed.evidence.jackknife import Jackknife
from honed.evidence.metrics import Floats, Ints
from honed.evidence.selection_rule import holm

Strings = npt.NDArray[np.str_]

N_FLIPS = 19_999
_MAX_EXACT_GROUPS = 14
_FLIPS_AT_ONCE = 2000


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

    @property
    def figures(self) -> tuple[Estimate, Estimate, Estimate] | None:
        """(base, specialist, difference), or None if they could not be computed."""
        if self.base is None or self.specialist is None or self.difference is None:
            return None
        return self.base, self.specialist, self.difference

    @property
    def standing(self) -> int:
        """1 if the whole interval of the difference lies above 0, -1 if below, else 0."""
        own = self.difference
        return 0 if own is None else 1 if own.low > 0 else -1 if own.high < 0 else 0

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        count = {"n": self.n, "n_groups": self.n_groups}
        if self.figures is None:
            return count | {"not_run": self.not_run}
        names = ("base", "specialist", "difference")
        own = {name: figure.to_json() for name, figure in zip(names, self.figures, strict=True)}
        return own | {"p_value": self.p_value} | count


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
        """Plain types."""
        return {
            "region": self.region, "class": self.class_name, "density": self.density.to_json(),
            "pointing": self.pointing.to_json(), "area": self.area, "base_share": self.base_share,
            "specialist_share": self.specialist_share, "corrected_p": self.corrected_p, "n_empty": self.n_empty,
            "n_no_heat": self.n_no_heat,
        }  # fmt: skip


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
        return {
            "level": self.level, "n": self.n, "n_groups": self.n_groups, "entropy": self.entropy.to_json(),
            "overall": [figure.to_json() for figure in self.overall],
            "per_class": [figure.to_json() for figure in self.per_class],
        }  # fmt: skip


def normalised(heat: Floats) -> Floats:
    """Each map divided by its sum. heat : (n, gh, gw) >= 0 -> the same; NaN throughout without a sum above 0.

    Raises EvidenceError for negative heat or another number of dimensions.
    """
    heat = np.asarray(heat, dtype=np.float64)
    if heat.ndim != 3:
        raise EvidenceError(f"Attention maps have shape {heat.shape}, where (rows, height, width) is expected.")
    if (heat < 0).any():
        row = int((heat < 0).any(axis=(1, 2)).argmax())
        raise EvidenceError(
            f"The attention map of row {row} is negative in places, so it has no shares.",
            remedy="Keep the positive part of a signed map before its regions are measured.",
        )
    total = heat.sum(axis=(1, 2), keepdims=True)
    is_usable = np.isfinite(total) & (total > 0)
    return np.where(is_usable, heat / np.where(is_usable, total, 1.0), np.nan)


def region_shares(heat: Floats, coverage: Mapping[str, Floats]) -> dict[str, Floats]:
    """Share of each row's attention in each region, (n,) in [0, 1]; NaN where the row has no heat.

    heat : (n, gh, gw) >= 0.    coverage : region -> (n, gh, gw) in [0, 1].
    """
    own = normalised(heat)
    return {name: np.einsum("nij,nij->n", own, covered) for name, covered in coverage.items()}


def entropy(heat: Floats) -> Floats:
    """Shannon entropy of each map over that of an even one, (n,) in [0, 1]. heat : (n, gh, gw), two patches or more."""
    own = normalised(heat)
    logs = np.log(np.where(own > 0, own, 1.0))
    spread = -(own * logs).sum(axis=(1, 2)) / np.log(max(2, own.shape[1] * own.shape[2]))
    return np.asarray(np.clip(spread, 0.0, 1.0))


def pointing(heat: Floats, coverage: Floats) -> Floats:
    """Share of the strongest patch that lies in the region, (n,); ties are averaged, NaN without heat.

    heat : (n, gh, gw).    coverage : (n, gh, gw) of one region. The pointing game of Zhang et al. 2016, by patches.
    """
    own = normalised(heat)
    is_top = own == own.max(axis=(1, 2), keepdims=True)
    hits = (is_top * coverage).sum(axis=(1, 2)) / np.maximum(is_top.sum(axis=(1, 2)), 1)
    return np.where(np.isnan(own[:, 0, 0]), np.nan, hits)


def paired(
    base: Floats, specialist: Floats, group: Strings, *, weight: Floats | None = None, level: float = 0.95
) -> Paired:
    """Base against specialist in any figure that each row has: sum(value) / sum(weight), paired by group.

    base, specialist : (n,); rows with a value that is not finite are left out.    weight : (n,) > 0, or None: 1 each,
    which makes it a mean.

    Intervals are the jackknife's over groups: bent by its skewness for a ratio; for a mean of shares in [0, 1]
    Wilson's, and for their difference with two pseudo-disagreements, as everywhere in `evidence`. The test exchanges
    base and specialist of whole groups at random, which is exact where they are alike; see `sign_flip_p`.
    """
    keep = np.isfinite(base) & np.isfinite(specialist)
    base, specialist, group = base[keep], specialist[keep], group[keep]
    weights = np.ones(len(base)) if weight is None else weight[keep]
    names, index = np.unique(group, return_inverse=True)
    if len(names) < 2:
        reason = f"{len(base)} rows of {len(names)} groups are left, where two groups are the least"
        return Paired(None, None, None, None, len(base), len(names), reason)
    is_share = weight is None and min(base.min(), specialist.min()) >= 0 and max(base.max(), specialist.max()) <= 1

    def summed(values: Floats) -> Floats:
        return np.bincount(index.ravel(), weights=values, minlength=len(names)).astype(np.float64)

    size, bottom = np.bincount(index.ravel()).astype(np.float64), summed(weights)
    df = max(float(size.sum() ** 2 / (size**2).sum()) - 1, 1.0)
    jacks = [_ratio(summed(values), bottom, df, len(base)) for values in (base, specialist, specialist - base)]
    quantile = t_quantile(level, df)

    def estimated(jack: Jackknife, *, is_difference: bool) -> Estimate:
        if is_share and not is_difference:
            low, high = score_interval(jack.value, effective_rows(jack), quantile)
        elif is_share:
            half = quantile * standard_error(jack.shift, True)
            low, high = max(-1.0, jack.value - half), min(1.0, jack.value + half)
        else:
            low, high = skewed_interval(jack, quantile)
            low = low if is_difference or base.min() < 0 else max(0.0, low)
        kind = "jackknife-skew-t" if not is_share else "paired-jackknife-t" if is_difference else "jackknife-wilson"
        return Estimate(jack.value, low, high, level, kind, jack.n, ())

    return Paired(
        estimated(jacks[0], is_difference=False),
        estimated(jacks[1], is_difference=False),
        estimated(jacks[2], is_difference=True),
        sign_flip_p(summed(specialist - base)),
        len(base),
        len(names),
    )


def average(values: Floats, group: Strings, *, level: float = 0.95) -> Estimate | None:
    """The mean of a figure that each row has, with the jackknife's interval over groups; None below two groups.

    values : (n,); those that are not finite are left out.
    """
    keep = np.isfinite(values)
    names, index = np.unique(group[keep], return_inverse=True)
    if len(names) < 2:
        return None
    size = np.bincount(index.ravel()).astype(np.float64)
    df = max(float(size.sum() ** 2 / (size**2).sum()) - 1, 1.0)
    total = np.bincount(index.ravel(), weights=values[keep]).astype(np.float64)
    jack = _ratio(total, size, df, int(keep.sum()))
    low, high = skewed_interval(jack, t_quantile(level, df))
    return Estimate(jack.value, low, high, level, "jackknife-skew-t", jack.n, ())


def _ratio(top: Floats, bottom: Floats, df: float, n: int) -> Jackknife:
    """The jackknife of sum(top) / sum(bottom); both (G,), summed by group."""
    left = (top.sum() - top) / (bottom.sum() - bottom)
    shift = (left - left.mean()) * np.sqrt((len(top) - 1) / len(top))
    return Jackknife(float(top.sum() / bottom.sum()), (), shift, df, n, len(top) < n)


def sign_flip_p(difference: Floats) -> float:
    """Two-sided p-value of a sum of independent differences that are symmetric about 0. difference : (G,).

    The share of sign patterns whose sum is as far from 0 as the one at hand: all of them up to 14 groups, else 19,999
    drawn at random (and the one at hand), so p >= 1 / 20,000. Fisher 1935; for groups, Cameron, Gelbach & Miller 2008.
    """
    own = abs(float(difference.sum())) * (1 - 1e-12)
    if len(difference) <= _MAX_EXACT_GROUPS:
        pattern = np.arange(2 ** len(difference))
        signs = 1.0 - 2.0 * (pattern[:, None] >> np.arange(len(difference)) & 1)
        return float((np.abs(signs @ difference) >= own).mean())
    rng = np.random.default_rng(0)
    n_as_far, n_bytes = 0, -(-len(difference) // 8)
    for start in range(0, N_FLIPS, _FLIPS_AT_ONCE):
        n_flips = min(_FLIPS_AT_ONCE, N_FLIPS - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(n_flips * n_bytes), np.uint8).reshape(n_flips, -1), axis=1)
        sums = difference.sum() - 2 * (bits[:, : len(difference)] @ difference)
        n_as_far += int((np.abs(sums) >= own).sum())
    return (1 + n_as_far) / (1 + N_FLIPS)


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
    shapes = {"base": np.shape(base), "specialist": np.shape(specialist)}
    shapes |= {f"coverage of {name!r}": np.shape(covered) for name, covered in coverage.items()}
    for name, shape in shapes.items():
        if shape != shapes["base"] or len(shape) != 3 or shape[0] != len(group):
            raise EvidenceError(
                f"The region table needs one map a row: {len(group)} rows, but {name} has shape {shape}"
                f" where base has {shapes['base']}."
            )
    figures = _RowFigures(
        [region_shares(heat, coverage) for heat in (base, specialist)],
        [{name: pointing(heat, covered) for name, covered in coverage.items()} for heat in (base, specialist)],
        {name: np.asarray(covered, dtype=np.float64).mean(axis=(1, 2)) for name, covered in coverage.items()},
        np.asarray(group),
        level,
    )
    everywhere = np.ones(len(group), dtype=bool)
    overall = [figures.of(name, "", everywhere) for name in coverage]
    label, names = classes if classes is not None else (np.zeros(0, dtype=np.int64), ())
    per_class = [figures.of(region, name, label == i) for i, name in enumerate(names) for region in coverage]
    spread = paired(entropy(base), entropy(specialist), figures.group, level=level)
    n_groups = len(np.unique(figures.group))
    return RegionTable(_corrected(overall), _corrected(per_class), spread, level, len(group), n_groups)


@dataclass(frozen=True)
class _RowFigures:
    """Figures of each row, of base and specialist: region -> (n,)."""

    share: Sequence[Mapping[str, Floats]]
    hit: Sequence[Mapping[str, Floats]]
    area: Mapping[str, Floats]
    group: Strings
    level: float

    def of(self, region: str, class_name: str, rows: npt.NDArray[np.bool_]) -> RegionFigure:
        """The region's figures on some rows."""
        is_empty = rows & (self.area[region] <= 0)
        keep = rows & ~is_empty
        area, group = self.area[region][keep], self.group[keep]
        base, specialist = (share[region][keep] for share in self.share)
        density = paired(base, specialist, group, weight=area, level=self.level)
        hits = paired(self.hit[0][region][keep], self.hit[1][region][keep], group, level=self.level)
        with_heat = np.isfinite(base) & np.isfinite(specialist)
        of_area, of_base, of_own = (
            float(values[with_heat].mean()) if with_heat.any() else None for values in (area, base, specialist)
        )
        return RegionFigure(
            region=region,
            class_name=class_name,
            density=density,
            pointing=hits,
            area=of_area,
            base_share=of_base,
            specialist_share=of_own,
            corrected_p=None,
            n_empty=int(is_empty.sum()),
            n_no_heat=int((~with_heat).sum()),
        )


def _corrected(figures: Sequence[RegionFigure]) -> tuple[RegionFigure, ...]:
    """With Holm's correction over all that have a p-value."""
    p_values = [figure.density.p_value for figure in figures]
    known = iter(holm([p for p in p_values if p is not None]))
    return tuple(
        replace(figure, corrected_p=None if p is None else next(known))
        for figure, p in zip(figures, p_values, strict=True)
    )
