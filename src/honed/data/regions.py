"""Named regions of an image, made of its mask: read, constructed, and laid over the patches that a model sees.

A region is a boolean array (h, w) in the image's own pixels. Regions may overlap. How the regions of a chest X-ray are
constructed stands in `chest_regions`; what each cannot say, in `docs/attention-regions.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Regions = dict[str, Bools]

BACKGROUND = "background"
BORDER = "image border"
PADDING = "padding"


def read_mask(path: Path, image_size: tuple[int, int] | None = None) -> npt.NDArray[np.int64]:
    """The values of a mask file, (h, w) >= 0, upright by its EXIF orientation as its image is.

    image_size : (width, height) of the image that the mask belongs to; None: not compared.
    Grey (1, 8 or 16 bits) and palette files are read, a palette by its indices; so are colour files without colour.

    Raises DataError, with the path and a remedy, for a file that is missing, damaged, hostile, coloured, animated or
    DICOM, for more than 32 different values (a photograph, or a mask that was smoothed or saved as JPEG), and for
    another size than the image's.
    """
    raise NotImplementedError


def border_region(shape: tuple[int, int]) -> Bools:
    """The outer 8 % of each side, at least one pixel. shape : (h, w)."""
    raise NotImplementedError


def generic_regions(mask: npt.NDArray[np.int64]) -> Regions:
    """One region for each value above zero ("value 1", ...), the background (value 0) and the image border."""
    raise NotImplementedError


def coverage(
    regions: Mapping[str, Bools], grid: tuple[int, int], size: int, fit: str
) -> dict[str, npt.NDArray[np.float64]]:
    """Share of each patch's area that lies in each region, (gh, gw) in [0, 1], by exact box averaging.

    regions : name -> (h, w), all of one shape.    grid : (gh, gw) patches of the square that the model reads.
    size : of that square, in pixels.    fit : how the image was fitted into it: stretch, letterbox or crop, as
    `tasks.image_reading.ImageReading.fit`; letterbox adds the region "padding" if any pixel of the square is padding.

    Raises EvidenceError-free: an empty region has coverage 0 everywhere. Raises ValueError for an unknown fit.
    """
    raise NotImplementedError


__all__ = ["Collection"]
