"""The regions of a chest X-ray, constructed from masks of the lungs and, where there is one, of the heart.

Lengths are shares of W, the width of the box around both lungs. Left and right are those of the picture.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.data.regions import BORDER, Bools, Mask, Regions, border_region
from honed.errors import DataError

LUNGS = "lung fields"
LUNG_BORDERS = "lung borders"
ANGLES = "costophrenic angles"
HEART_CONTOUR = "heart contour"
MEDIASTINUM = "mediastinum"
OUTSIDE = "outside the body"
_BAND_FRAC = 0.03
_ANGLE_FRAC = 0.12
_SPECK_FRAC = 0.02  # of the lungs' area: smaller pieces of a mask are slips of the pen
_DARK_QUANTILE = 0.05
_SIDE_FRAC = 0.05


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
    own = sorted(set(values) - {0})
    if not 1 <= len(own) <= 3:
        shown = ", ".join(map(str, own[:8])) + (", ..." if len(own) > 8 else "")
        raise DataError(
            f"The masks hold {len(own)} values above 0{f' ({shown})' if own else ''}, which are no chest regions.",
            cause="Known are: one value (lungs), two (each lung), three (each lung, and the heart as the largest).",
            remedy="Change the masks' values, or take each value as a region of its own.",
        )
    return ChestValues(tuple(own[:2]), own[2] if len(own) == 3 else None)


def chest_regions(mask: Mask, values: ChestValues, grey: npt.NDArray[np.uint8] | None = None) -> Regions:
    """The named regions of one chest X-ray, each (h, w).

    mask : (h, w).    grey : (h, w) brightness of the image, for what lies outside the body; None: that region is left
    out, as the heart's contour is without a value for the heart.
    An image without two lungs in its mask has all these regions empty, but for the image border.

    - lung fields: both lungs as drawn, without pieces below 2 % of their area.
    - lung borders: all within 0.03 W of the lungs' contour, inside and outside.
    - costophrenic angles: a disc of radius 0.12 W around the lower lateral tip of each lung, which is its pixel
      farthest down and outwards (both counted alike). The disc reaches beyond the lung: an angle that fluid fills is no
      longer drawn as lung.
    - heart contour: all within 0.03 W of the heart's contour.
    - mediastinum: what lies between the lungs in each row that both meet, down to the higher of their medial corners
      (the pixel farthest down and inwards), below which the space between them is the abdomen. It holds most of the
      heart.
    - outside the body: see `outside_body`.
    - image border: see `border_region`.
    """
    from scipy import ndimage

    names = [LUNGS, LUNG_BORDERS, ANGLES, *([HEART_CONTOUR] if values.heart is not None else []), MEDIASTINUM]
    empty = {name: np.zeros(mask.shape, dtype=bool) for name in [*names, *([OUTSIDE] if grey is not None else [])]}
    border = {BORDER: border_region(mask.shape)}
    lungs = two_lungs(mask, values.lungs)
    if lungs is None:
        return empty | border
    left, right = lungs
    both = left | right
    columns = np.flatnonzero(both.any(axis=0))
    width = float(columns[-1] - columns[0] + 1)

    def band(region: Bools) -> Bools:
        """All within 0.03 W of the region's contour: of the pixels on either side of it."""
        reach = _BAND_FRAC * width
        if not region.any():
            return region
        to_outside = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        to_inside = ndimage.distance_transform_edt(~region)
        return np.asarray(np.where(region, to_outside, to_inside) <= reach + 0.5)

    found = empty | {
        LUNGS: both,
        LUNG_BORDERS: band(both),
        ANGLES: _disc(left, -1, _ANGLE_FRAC * width) | _disc(right, 1, _ANGLE_FRAC * width),
        MEDIASTINUM: _between(left, right),
    }
    if values.heart is not None:
        found[HEART_CONTOUR] = band(mask == values.heart)
    if grey is not None:
        found[OUTSIDE] = outside_body(grey, both)
    return found | border


def two_lungs(mask: Mask, values: tuple[int, ...]) -> tuple[Bools, Bools] | None:
    """The lung at the left of the picture and the one at the right, or None if there are not two.

    Two values tell them apart. With one, the connected pieces are dealt out by the side of the centre of both on which
    they lie; lungs that touch are cut at the column of the middle third of their box that holds the least of them.
    """
    from scipy import ndimage

    parts = [_without_specks(mask == value) for value in values]
    if len(parts) == 1:
        both = parts[0]
        labels, n_pieces = ndimage.label(both)
        columns = np.flatnonzero(both.any(axis=0))
        if not len(columns):
            return None
        start, width = int(columns[0]), int(columns[-1] - columns[0] + 1)
        centre = np.array([c[1] for c in ndimage.center_of_mass(both, labels, range(1, n_pieces + 1))])
        sizes = np.bincount(labels.ravel(), minlength=n_pieces + 1)[1:]
        is_left = centre < start + width / 2
        if not is_left.any() or is_left.all() or min(sizes[is_left].sum(), sizes[~is_left].sum()) < 0.1 * sizes.sum():
            third = both[:, start + width // 3 : start + width - width // 3].sum(axis=0)
            cut = start + width // 3 + int(np.flatnonzero(third == third.min()).mean().round()) if len(third) else start
            side = np.arange(both.shape[1]) < cut
            parts = [both & side, both & ~side]
        else:
            parts = [np.isin(labels, np.flatnonzero(is_left) + 1), np.isin(labels, np.flatnonzero(~is_left) + 1)]
    if not all(part.any() for part in parts):
        return None
    first, second = sorted(parts, key=lambda part: float(np.flatnonzero(part.any(axis=0)).mean()))
    return first, second


def outside_body(grey: npt.NDArray[np.uint8], lungs: Bools) -> Bools:
    """What the beam reached without a body in its way, and black frames: (h, w). grey : (h, w), lungs : (h, w).

    No mask of the body is at hand, but the beam loses less on its way past the body than through a lung with ribs and
    muscles in front of it. So: pixels (smoothed by 0.01 W) darker than the darkest twentieth of the lungs, farther than
    0.03 W from them, in pieces that reach the upper or lower edge or the outer 5 % at the left or right (films have
    bright frames); and what such pieces enclose, such as the letter L or R.
    """
    from scipy import ndimage

    columns = np.flatnonzero(lungs.any(axis=0))
    width = float(columns[-1] - columns[0] + 1)
    smooth = ndimage.gaussian_filter(grey.astype(np.float64), 0.01 * width, mode="nearest")
    threshold = np.quantile(smooth[lungs], _DARK_QUANTILE)
    near = ndimage.distance_transform_edt(~lungs) <= _BAND_FRAC * width
    labels, _ = ndimage.label((smooth < threshold) & ~near)
    side = max(1, round(_SIDE_FRAC * labels.shape[1]))
    edge = np.concatenate([labels[0], labels[-1], labels[:, :side].ravel(), labels[:, -side:].ravel()])
    dark = np.isin(labels, np.setdiff1d(edge, 0))
    filled: Bools = np.asarray(ndimage.binary_fill_holes(dark))
    return np.asarray(filled & ~near & ~_holding(filled & ~dark, lungs))


def _holding(holes: Bools, lungs: Bools) -> Bools:
    """The holes in which lungs lie: a body with dark all around it is no hole."""
    from scipy import ndimage

    labels, _ = ndimage.label(holes)
    return np.isin(labels, np.setdiff1d(labels[lungs], 0))


def _without_specks(part: Bools) -> Bools:
    """The part without connected pieces below 2 % of its area."""
    from scipy import ndimage

    labels, n_pieces = ndimage.label(part)
    sizes = np.bincount(labels.ravel(), minlength=n_pieces + 1)
    sizes[0] = 0
    return np.isin(labels, np.flatnonzero(sizes >= max(1.0, _SPECK_FRAC * sizes.sum())))


def _disc(lung: Bools, outwards: int, radius: float) -> Bools:
    """A disc around the lung's lateral corner. outwards : -1 left, 1 right."""
    row, column = _lower_corner(lung, outwards)
    y, x = np.ogrid[: lung.shape[0], : lung.shape[1]]
    return np.asarray((y - row) ** 2 + (x - column) ** 2 <= radius**2)


def _lower_corner(lung: Bools, towards: int) -> tuple[int, int]:
    """(row, column) of the lung's pixel farthest down and to one side. towards : -1 left, 1 right."""
    rows, columns = np.nonzero(lung)
    tip = int(np.argmax(rows + towards * columns))
    return int(rows[tip]), int(columns[tip])


def _between(left: Bools, right: Bools) -> Bools:
    """The mediastinum; see `chest_regions`."""
    y, x = np.ogrid[: left.shape[0], : left.shape[1]]
    lowest = min(_lower_corner(left, 1)[0], _lower_corner(right, -1)[0])
    last = np.where(left.any(axis=1), left.shape[1] - 1 - left[:, ::-1].argmax(axis=1), left.shape[1])
    first = np.where(right.any(axis=1), right.argmax(axis=1), -1)
    return np.asarray((y <= lowest) & (x > last[:, None]) & (x < first[:, None]))
