"""The pixels of an image file: which formats are read, what is refused, how each becomes 8-bit RGB.

Nothing a file says about itself is trusted: the format is found from the content, only formats that no other program
has to decode are tried, and sizes are checked before pixels are unpacked.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from honed.data.dicom import decode_dicom, is_dicom
from honed.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
SUFFIXES = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".webp": "WEBP",
    ".gif": "GIF", ".dcm": "DICOM", ".dicom": "DICOM",
}  # fmt: skip
READABLE = "honed reads PNG, JPEG, TIFF, BMP, WebP, GIF and DICOM images."
MAX_BYTES = 1 << 29
MAX_PIXELS = 89_478_485  # Pillow's own limit: beyond it a few kilobytes can unpack to gigabytes
# The depths in which detectors deliver grey values; a 12-bit image in a 16-bit file would else be nearly black.
_GREY_TOPS = (255, 4095, 16383, 65535)
_FILTERS = threading.RLock()


class UnreadableImage(DataError):  # noqa: N818 - an outcome for one row, not a fault of the program
    """A file that is no usable image; `problem` says why."""


@dataclass(frozen=True)
class Pixels:
    """A decoded image.

    image : 8-bit RGB, upright.    format : by content.    mode : of the file, as Pillow or DICOM names it.
    is_animated : whether there are further frames, which are not read.    patient : its DICOM patient id, if any;
    it identifies a person and must not be written anywhere.
    """

    image: Image.Image
    format: str
    mode: str
    is_animated: bool = False
    patient: str = ""


def read_bytes(path: Path) -> bytes:
    """The content of an image file.

    Raises UnreadableImage if it is missing, no regular file, empty, or larger than 512 MB.
    """
    try:
        if not path.is_file():
            raise UnreadableImage("there is no such file" if not path.exists() else "it is not a regular file")
        n_bytes = path.stat().st_size
        if n_bytes == 0:
            raise UnreadableImage("the file is empty (0 bytes)")
        if n_bytes > MAX_BYTES:
            raise UnreadableImage(f"the file has {n_bytes:,} bytes, more than {MAX_BYTES:,}")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise UnreadableImage(f"the file cannot be read: {_first_line(error)}") from error


def decode(data: bytes) -> Pixels:
    """Decode an image: first frame, upright by its EXIF orientation, on white where it is transparent, as 8-bit RGB.

    Grey values of 16 bits are divided by the top of the smallest usual depth (8, 12, 14, 16 bits) that holds
    them; floating-point and 32-bit values are stretched from their minimum to their maximum. DICOM: see `dicom`.

    Raises UnreadableImage for content that is no whole image of a known format, or beyond 89 million pixels;
    UsageError if it is DICOM and pydicom is not installed.
    """
    try:
        return _decode_dicom(data) if is_dicom(data) else _decode(data)
    except (UnreadableImage, UsageError, MemoryError):
        raise
    except DataError as error:
        raise UnreadableImage(error.problem) from error
    except Exception as error:
        # Damaged and hostile files raise whatever the decoder stumbles over: SyntaxError, struct.error, KeyError, ...
        if type(error).__name__.startswith("DecompressionBomb"):
            raise UnreadableImage(f"it unpacks to more than {MAX_PIXELS:,} pixels") from error
        raise UnreadableImage(f"it is damaged: {_first_line(error)}") from error


def check_size(data: bytes, max_pixels: int) -> None:
    """Look at the header alone; content of no known format, and DICOM, is left to `decode`.

    Raises UnreadableImage for an image of more pixels.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            n_pixels = image.width * image.height
    except Exception as error:  # noqa: BLE001 - as in `decode`, which says what is wrong
        if not type(error).__name__.startswith("DecompressionBomb"):
            return
        n_pixels = MAX_PIXELS + 1
    if n_pixels > max_pixels:
        raise UnreadableImage(f"it unpacks to more than {max_pixels:,} pixels")


def _decode(data: bytes) -> Pixels:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"its content is no image of a known format (it begins with {data[:4]!r})") from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            size = f"{image.width:,} x {image.height:,}"
            raise UnreadableImage(f"it has {size} pixels, more than {MAX_PIXELS:,} in all")
        image.load()
        kind, mode = str(image.format), image.mode
        upright = ImageOps.exif_transpose(_rgb(image))
        # asked last: it looks for a second frame. A phone's MPO holds previews of the one picture.
        is_animated = kind != "MPO" and bool(getattr(image, "is_animated", False))
    return Pixels(upright, "JPEG" if kind == "MPO" else kind, mode, is_animated)


def _decode_dicom(data: bytes) -> Pixels:
    from PIL import Image

    found = decode_dicom(data, MAX_PIXELS)
    return Pixels(
        Image.fromarray(found.pixels).convert("RGB"), "DICOM", found.photometric, found.n_frames > 1, found.patient
    )


def _rgb(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB, its EXIF data kept."""
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        rgb = Image.fromarray(grey_to_8_bits(np.asarray(image))).convert("RGB")
    elif image.has_transparency_data:
        on_white = Image.new("RGBA", image.size, "white")
        on_white.alpha_composite(image.convert("RGBA"))
        rgb = on_white.convert("RGB")
    else:
        rgb = image.convert("RGB")
    rgb.info["exif"] = image.info.get("exif", b"")
    return rgb


def grey_to_8_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Grey values (h, w) of any type as 0 .. 255; see `decode`. Values that are not finite become the minimum."""
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    low, top = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if values.dtype.kind in "iu" and low >= 0 and top <= _GREY_TOPS[-1]:
        low, top = 0.0, float(next(limit for limit in _GREY_TOPS if top <= limit))
    scaled = (np.nan_to_num(wide, nan=low, posinf=top, neginf=low) - low) / max(top - low, 1e-12)
    return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Around every decoding: no chatter about odd metadata; what may be a decompression bomb is an error.

    Python's filters of warnings belong to the process: one thread is in it at a time; others wait, or decode for it.
    """
    from PIL import Image

    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__


def sha256_of(data: bytes) -> str:
    """The hash by which an image is known: of the file's bytes, whatever its name."""
    return hashlib.sha256(data).hexdigest()
