"""The rows that a model finds most alike: what a person wants to see beside a label that looks wrong."""

from __future__ import annotations

import numpy as np

from honed.evidence.metrics import Floats, Ints

_BLOCK_CELLS = 20_000_000


def nearest(features: Floats, rows: Ints, k: int) -> Ints:
    """Positions of the k rows most like each of `rows`, itself left out, the most alike first: (len(rows), k).

    features : (n, d); likeness is the cosine of the centred features. k is cut to n - 1.
    """
    n = len(features)
    k = min(k, n - 1)
    unit = (features - features.mean(axis=0)).astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    found = np.empty((len(rows), k), dtype=np.int64)
    step = max(1, _BLOCK_CELLS // max(n, 1))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        likeness = unit[block] @ unit.T
        likeness[np.arange(len(block)), block] = -np.inf
        top = np.argpartition(-likeness, k - 1, axis=1)[:, :k] if k else np.zeros((len(block), 0), dtype=np.int64)
        order = np.argsort(-np.take_along_axis(likeness, top, axis=1), axis=1, kind="stable")
        found[start : start + step] = np.take_along_axis(top, order, axis=1)
    return found
