"""A bounded part of a dataset for the checks whose cost grows faster than what they can still find."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def sample_groups(group: npt.NDArray[np.str_], max_rows: int, salt: str = "") -> npt.NDArray[np.int64]:
    """Positions, ascending, of whole groups, drawn by a salted hash of their names until the next would exceed
    `max_rows`; all rows if they are fewer. group : (n,).

    Promises: the same rows whatever their order.
    """
    if len(group) <= max_rows:
        return np.arange(len(group))
    names, index, size = np.unique(group, return_inverse=True, return_counts=True)
    digest = [hashlib.sha256((salt + name).encode("utf-8", "surrogatepass")).digest() for name in names.tolist()]
    order = np.array(sorted(range(len(names)), key=lambda g: digest[g]))
    return np.flatnonzero(np.isin(index, order[np.cumsum(size[order]) <= max_rows]))


def drawn(n_seen: int, n_all: int) -> str:
    """How many rows a finding rests on, for its evidence; nothing if it is all of them."""
    return f" ({n_seen:,} of {n_all:,} rows drawn)" if n_seen < n_all else ""
