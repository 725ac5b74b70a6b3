"""Which images are nearly the same: copies that were scaled, recompressed, or made a little lighter or noisier.

Two images are compared by the correlation of their 16 x 16 grey thumbnails *after the mean picture of the data set is
taken away*. In medical data all images share most of their picture (a round fundus, a chest), so that plain correlation
and hashes of 64 bits call any two of them alike; what is left over tells them apart. All pairs are compared: no pair is
lost to a hash, and a matrix product is cheap beside the decoding of the files.

The bound was measured (docs/images.md): at 0.99 the copies found among 1,200 fundus photographs of 28 x 28 pixels are
all real, and no pair of 3,495 chest X-rays but their copies comes near it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from honed.data.near_duplicates import NearPair

THRESHOLD = 0.99
# With few images their mean is no typical picture but these very images: it is taken away in part.
_PRIOR_IMAGES = 30
_CHUNK = 2048


def near_image_pairs(thumbnails: Sequence[npt.NDArray[np.uint8]], threshold: float = THRESHOLD) -> list[NearPair]:
    """All pairs of positions `i < j` whose correlation is at least the threshold.

    thumbnails : n arrays of d grey values, of distinct images, in an order that depends on their content alone (then
        the pairs do not depend on the order of the rows). A thumbnail of one grey value is like no other.

    Time grows with n squared: 1.4 s for 10,000, 24 s for 50,000 images on one core.
    """
    if len(thumbnails) < 2:
        return []
    grey = np.stack(thumbnails).astype(np.float64)
    grey -= grey.mean(axis=1, keepdims=True)
    is_blank = np.abs(grey).max(axis=1) < 0.5
    pictures = _unit(grey)
    mean = pictures[~is_blank].mean(axis=0) if not is_blank.all() else 0.0
    own = _unit(pictures - mean * (len(pictures) / (len(pictures) + _PRIOR_IMAGES))).astype(np.float32)
    own[is_blank] = 0
    pairs = []
    for start in range(0, len(own), _CHUNK):
        part = own[start : start + _CHUNK]
        correlation = part @ own[start:].T
        for a, b in np.argwhere(correlation >= threshold).tolist():
            if a < b:
                pairs.append(NearPair(start + a, start + b, min(float(correlation[a, b]), 1.0)))
    return pairs


def _unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
