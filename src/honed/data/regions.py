"""Named regions of an image, made of its mask: read, constructed, and laid over the patches that a model sees.

A region is a boolean array (h, w) in the image's own pixels. Regions may overlap. How the regions of a chest X-ray are
constructed stands in `chest_regions`; what each cannot say, in `docs/attention-regions.md`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from honed.data.dicom import is_dicom
from honed.data.images import FORMATS, MAX_PIXELS, UnreadableImage, read_bytes, strict_pillow
from honed.errors import DataError

Bools = npt.NDArray[np.bool_]
Mask = npt.NDArray[np.int64]
Regions = dict[str, Bools]

BACKGROUND = "background"
BORDER = "image border"
PADDING = "padding"
MAX_VALUES = 32
_BORDER_FRAC = 0.08
_LOSSLESS = "Save it as a PNG of one channel, whose values are the regions (0 for none), without smoothing."


def read_mask(path: Path, image_size: tuple[int, int] | None = None) -> Mask:
    """The values of a mask file, (h, w) >= 0, upright by its EXIF orientation as its image is.

    image_size : (width, height) of the image that the mask belongs to; None: not compared.
    Grey (1, 8 or 16 bits) and palette files are read, a palette by its indices; so are colour files without colour.

    Raises DataError, with the path and a remedy, for a file that is missing, damaged, hostile, coloured, animated or
    DICOM, for more than 32 different values (a photograph, or a mask that was smoothed or saved as JPEG), and for
    another size than the image's. To be called in one thread, as `strict_pillow`.
    """
    try:
        data = read_bytes(path)
        if is_dicom(data):
            raise UnreadableImage("it is DICOM, which is read for images only")
        with strict_pillow():
            mask = _decode_values(data)
    except UnreadableImage as reason:
        raise DataError(f"Mask {str(path)!r} cannot be used: {reason.problem}.", remedy=_LOSSLESS) from reason
    n_values = len(np.unique(mask))
    if n_values > MAX_VALUES:
        raise DataError(
            f"Mask {str(path)!r} cannot be used: it has {n_values} different values, more than {MAX_VALUES}.",
            cause="It is a picture, or a mask that was smoothed, scaled with interpolation, or saved as JPEG.",
            remedy=_LOSSLESS,
        )
    height, width = mask.shape
    if image_size is not None and image_size != (width, height):
        raise DataError(
            f"Mask {str(path)!r} has {width} x {height} pixels, but its image has {image_size[0]} x {image_size[1]}.",
            cause="It belongs to another image, or one of the two was scaled or cropped.",
            remedy="Give each image a mask of its own size.",
        )
    return mask


def _decode_values(data: bytes) -> Mask:
    """The raw values of an image file; `images.decode` would scale them and look up a palette's colours."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width:,} x {image.height:,}"
                raise UnreadableImage(f"it has {size} pixels, more than {MAX_PIXELS:,} in all")
            image.load()
            if getattr(image, "is_animated", False):
                raise UnreadableImage("it holds more than one picture")
            values = np.asarray(ImageOps.exif_transpose(image))
    except (UnreadableImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"its content is no image of a known format (it begins with {data[:4]!r})") from error
    except Exception as error:  # damaged and hostile files raise whatever the decoder stumbles over
        if type(error).__name__.startswith("DecompressionBomb"):
            raise UnreadableImage(f"it unpacks to more than {MAX_PIXELS:,} pixels") from error
        raise UnreadableImage(f"it is damaged ({type(error).__name__})") from error
    if values.ndim == 3:
        colours = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
        has_alpha = values.shape[2] in (2, 4)
        if (colours != colours[..., :1]).any() or (has_alpha and (values[..., -1] != values[0, 0, -1]).any()):
            raise UnreadableImage("it has colours or transparency, so which value is which region cannot be told")
        values = colours[..., 0]
    if values.dtype.kind == "f" or (values.dtype.kind == "i" and values.min() < 0):
        raise UnreadableImage("its values are not whole numbers of at least 0")
    return values.astype(np.int64)


def border_region(shape: tuple[int, int]) -> Bools:
    """The outer 8 % of each side, at least one pixel. shape : (h, w)."""
    inside = np.zeros(shape, dtype=bool)
    top, left = (max(1, round(_BORDER_FRAC * length)) for length in shape)
    inside[top:-top, left:-left] = True
    return ~inside


def generic_regions(mask: Mask) -> Regions:
    """One region for each value above zero ("value 1", ...), the background (value 0) and the image border."""
    named = {f"value {value}": mask == value for value in np.unique(mask).tolist() if value}
    return named | {BACKGROUND: mask == 0, BORDER: border_region(mask.shape)}


def coverage(
    regions: Mapping[str, Bools], grid: tuple[int, int], size: int, fit: str
) -> dict[str, npt.NDArray[np.float64]]:
    """Share of each patch's area that lies in each region, (gh, gw) in [0, 1], by exact box averaging.

    regions : name -> (h, w), all of one shape; an empty one covers nothing.    grid : (gh, gw) patches of the square
    that the model reads.    size : of that square, in pixels.    fit : how the image was fitted into it, as
    `tasks.image_reading.ImageReading.fit`; letterbox adds the region "padding" if there is any.

    Raises ValueError for another fit than stretch, letterbox and crop.
    """
    shape = next(iter(regions.values())).shape
    (top, bottom), (left, right) = _placement(shape, size, fit)
    rows = _overlaps(shape[0], grid[0], top, bottom)
    columns = _overlaps(shape[1], grid[1], left, right)
    covered = {name: np.clip(rows @ region @ columns.T, 0.0, 1.0) for name, region in regions.items()}
    if fit == "letterbox" and (top, bottom, left, right) != (0.0, 1.0, 0.0, 1.0):
        covered[PADDING] = np.clip(1 - np.outer(rows.sum(axis=1), columns.sum(axis=1)), 0.0, 1.0)
    return covered


def _placement(shape: tuple[int, ...], size: int, fit: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the image's ends lie along the square's height and width, as shares of it, rounded as Pillow does.

    Letterbox lies within [0, 1], crop reaches beyond it: `ImageOps.pad` and `ImageOps.fit`, centred.
    """
    height, width = shape
    if fit not in ("stretch", "letterbox", "crop"):
        raise ValueError(f"unknown fit {fit!r}")
    if fit == "stretch" or height == width:
        return (0.0, 1.0), (0.0, 1.0)
    if fit == "crop":
        over = max(height, width) / min(height, width)
        long = ((1 - over) / 2, (1 + over) / 2)
    else:
        length = max(1, round(min(height, width) / max(height, width) * size))
        start = round((size - length) / 2)
        long = (start / size, (start + length) / size)
    is_wide = width > height
    if fit == "crop":
        return ((0.0, 1.0), long) if is_wide else (long, (0.0, 1.0))
    return (long, (0.0, 1.0)) if is_wide else ((0.0, 1.0), long)


def _overlaps(n_pixels: int, n_cells: int, start: float, end: float) -> npt.NDArray[np.float64]:
    """Share of each cell of [0, 1] that each pixel of an image on [start, end] fills, (n_cells, n_pixels)."""
    edges = start + (end - start) * np.arange(n_pixels + 1) / n_pixels
    cells = np.arange(n_cells + 1) / n_cells
    inside = np.minimum(edges[None, 1:], cells[1:, None]) - np.maximum(edges[None, :-1], cells[:-1, None])
    return np.asarray(np.maximum(inside, 0.0) * n_cells)
