"""Whole groups into parts, so that every class is spread as evenly as the groups allow."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Container, Sequence

import numpy as np
import numpy.typing as npt

_N_ATTEMPTS = 8
_DECIMALS = 9


def assign_groups(
    names: Sequence[str],
    counts: Sequence[Counter[int]],
    fractions: Sequence[float],
    *,
    salt: str,
    fill: Container[int],
    forbidden: Sequence[int],
) -> npt.NDArray[np.int64]:
    """The (n_groups,) part of each group.

    names : distinct names of the groups.        counts : rows of each stratum (class) in each group.
    fractions : the share of each stratum that each part should hold; they sum to 1.        salt : the seed.
    fill : strata of which each part should get a group if there are enough, even against its share.
    forbidden : the part each group must not go to, -1 for none.

    Greedy, the largest groups first, equal ones in the order of a salted hash of their names: each goes where it
    lowers sum over strata of (n - target)^2 / target the most. For groups of one row this is the method of Webster
    (Sainte-Lague), whose counts are off by one at most. Where groups of several strata leave a part without one that
    it should hold, other orders are tried.

    Promises: depends on the salt and on what is in the groups alone: neither on their order nor on the numbering of
    the strata.
    """
    fewest: int | None = None
    result = np.zeros(len(names), dtype=np.int64)
    for attempt in range(_N_ATTEMPTS):
        part = _assign_once(
            names, counts, fractions, salt=f"{salt}/{attempt}" if attempt else salt, fill=fill, forbidden=forbidden
        )
        n_missing = _n_missing(part, counts, len(fractions), fill)
        if fewest is None or n_missing < fewest:
            fewest, result = n_missing, part
        if n_missing == 0:
            break
    return result


def _n_missing(part: npt.NDArray[np.int64], counts: Sequence[Counter[int]], n_parts: int, fill: Container[int]) -> int:
    """How many parts lack a stratum of `fill` that has groups enough for all of them."""
    n_groups: Counter[int] = Counter()
    for count in counts:
        n_groups.update(count.keys())
    present: defaultdict[int, set[int]] = defaultdict(set)
    for p, count in zip(part.tolist(), counts, strict=True):
        for stratum in count:
            present[stratum].add(p)
    return sum(n_parts - len(parts) for s, parts in present.items() if s in fill and n_groups[s] >= n_parts)


def _assign_once(
    names: Sequence[str],
    counts: Sequence[Counter[int]],
    fractions: Sequence[float],
    *,
    salt: str,
    fill: Container[int],
    forbidden: Sequence[int],
) -> npt.NDArray[np.int64]:
    n_parts = len(fractions)
    total: Counter[int] = Counter()
    n_left: Counter[int] = Counter()  # groups of each stratum that wait for their part
    for count in counts:
        total.update(count)
        n_left.update(count.keys())
    filled = {stratum: [0] * n_parts for stratum in total}
    n_groups_in = {stratum: [0] * n_parts for stratum in total}
    n_rows = [0] * n_parts
    result = np.zeros(len(names), dtype=np.int64)
    digest = [hashlib.sha256(f"{salt}\x1f{name}".encode("utf-8", "surrogatepass")).digest() for name in names]
    for g in sorted(range(len(names)), key=lambda g: (-counts[g].total(), digest[g], names[g])):
        count = counts[g]
        allowed = [p for p in range(n_parts) if p != forbidden[g]]
        in_danger = [n_groups_in[s] for s in count if s in fill and n_left[s] <= n_groups_in[s].count(0)]
        allowed = _parts_in_need(in_danger, allowed)
        keys = []
        for p in allowed:
            # (n + g - T)^2 - (n - T)^2 = g (2 (n - T) + g); sorted, since a sum of floats depends on its order
            terms = sorted(
                n * (2 * (filled[s][p] - fractions[p] * total[s]) + n) / (fractions[p] * total[s])
                for s, n in count.items()
            )
            keys.append((round(sum(terms), _DECIMALS), round(n_rows[p] / fractions[p], _DECIMALS), p))
        chosen = min(keys)[-1]
        result[g] = chosen
        n_rows[chosen] += count.total()
        for stratum, n in count.items():
            filled[stratum][chosen] += n
            n_groups_in[stratum][chosen] += 1
            n_left[stratum] -= 1
    return result


def _parts_in_need(in_danger: Sequence[Sequence[int]], allowed: list[int]) -> list[int]:
    """Of the allowed parts, those that must get this group lest a stratum be absent; all if none is in danger.

    in_danger : groups in each part, of each stratum of which no more groups are left than parts without one.
    """
    n_lacking = {p: sum(n_groups[p] == 0 for n_groups in in_danger) for p in allowed}
    most = max(n_lacking.values())
    return [p for p in allowed if n_lacking[p] == most]
