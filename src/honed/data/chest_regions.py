"""The regions of a chest X-ray, constructed from masks of the lungs and, where there is one, of the heart."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.data.regions import Regions

LUNGS = "lung fields"
LUNG_BORDERS = "lung borders"
ANGLES = "costophrenic angles"
HEART_CONTOUR = "heart contour"
MEDIASTINUM = "mediastinum"
OUTSIDE = "outside the body"


@dataclass(frozen=True)
class ChestValues:
    """Which values of the masks mean what. lungs : one or two values; two tell the lungs apart.    heart : or None."""

    lungs: tuple[int, ...]
    heart: int | None = None


def chest_values(values: Collection[int]) -> ChestValues:
    """What the values of chest masks mean. values : all that occur in any mask, with or without 0.

    One value above zero: lungs. Two: the two lungs. Three: the two lungs, and the largest is the heart.

    Raises DataError for any other number of values.
    """
    raise NotImplementedError


def chest_regions(
    mask: npt.NDArray[np.int64], values: ChestValues, grey: npt.NDArray[np.uint8] | None = None
) -> Regions:
    """The named regions of one chest X-ray, each (h, w).

    mask : (h, w).    grey : (h, w) brightness of the image, for what lies outside the body; None: that region is left out.
    An image without lungs in its mask has all these regions empty, but for the image border.
    """
    raise NotImplementedError
