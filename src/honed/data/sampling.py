"""A bounded part of a dataset for the checks whose cost grows faster than what they can still find."""

from __future__ import annotations

import hashlib

import numpy as np

from honed.data.dataset import Dataset


def sample_groups(dataset: Dataset, max_rows: int) -> Dataset:
    """Whole groups, drawn by a hash of their names until the next would exceed `max_rows`; in the file's order.

    Promises: the same rows whatever their order.
    """
    order = np.argsort(dataset.row, kind="stable")
    if len(dataset) > max_rows:
        names, index, size = np.unique(dataset.group, return_inverse=True, return_counts=True)
        digest = [hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest() for name in names.tolist()]
        drawn = np.array(sorted(range(len(names)), key=lambda g: digest[g]))
        chosen = np.zeros(len(names), dtype=np.bool_)
        chosen[drawn[np.cumsum(size[drawn]) <= max_rows]] = True
        order = order[chosen[index[order]]]
    return dataset.take(order)


def drawn(n_seen: int, n_all: int) -> str:
    """How many rows a finding rests on, for its evidence; nothing if it is all of them."""
    return f" ({n_seen:,} of {n_all:,} rows drawn)" if n_seen < n_all else ""
