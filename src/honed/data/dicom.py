"""DICOM images: modality LUT, window, photometric interpretation; the patient's id only to keep rows together.

The standard's parts are named at each step (https://dicom.nema.org/medical/dicom/current/output/html/part03.html).
Reading the tags and unpacking the pixels is pydicom's work.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import DataError, UsageError

_PREAMBLE_BYTES = 128
# A deflated data set unpacks to any size before a single tag can be read.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_COLOUR = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"))
_GREY = frozenset(("MONOCHROME1", "MONOCHROME2"))


@dataclass(frozen=True)
class DicomImage:
    """pixels : (h, w) or (h, w, 3) uint8, as a person would see them.    patient : the id, "" if there is none."""

    pixels: npt.NDArray[np.uint8]
    photometric: str
    n_frames: int
    patient: str


def is_dicom(data: bytes) -> bool:
    """Whether the file carries DICOM's mark after its preamble (PS3.10, 7.1)."""
    return data[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM"


def decode_dicom(data: bytes, max_pixels: int) -> DicomImage:
    """Decode the first frame.

    Grey values go through the modality LUT or rescale (PS3.3 C.11.1), then through the first window or VOI LUT
    (C.11.2); without one they are stretched from minimum to maximum. MONOCHROME1 is inverted (C.7.6.3.1.2).

    Raises UsageError if pydicom is not installed; DataError for a file without an image, one of more than `max_pixels`,
    or an interpretation of its colours that is not read.
    """
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, pixel_array
    except ImportError as error:
        raise UsageError(
            "There are DICOM images, and reading them needs the package pydicom.",
            remedy="pip install 'honed[dicom]'",
        ) from error

    if _DEFLATED in data:
        raise DataError("its DICOM data set is deflated, which honed does not unpack")
    tags = pydicom.dcmread(io.BytesIO(data))
    height, width = int(tags.get("Rows") or 0), int(tags.get("Columns") or 0)
    if not height or not width or "PixelData" not in tags:
        raise DataError("it is DICOM without an image")
    if height * width * max(int(tags.get("SamplesPerPixel") or 1), 1) > 3 * max_pixels or height * width > max_pixels:
        raise DataError(f"it has {width:,} x {height:,} pixels, more than {max_pixels:,} in all")
    photometric = str(tags.get("PhotometricInterpretation") or "")
    raw = pixel_array(tags, index=0)
    if photometric in _COLOUR and raw.ndim == 3:  # pydicom has converted YBR to RGB
        pixels = raw if raw.dtype == np.uint8 else _to_8_bits(raw / (2.0 ** int(tags.BitsStored) - 1))
    elif photometric in _GREY and raw.ndim == 2:
        shown = _window(apply_modality_lut(raw, tags), tags)
        pixels = _to_8_bits(1 - shown if photometric == "MONOCHROME1" else shown)
    else:
        raise DataError(f"its photometric interpretation {photometric or 'is missing'!r} is not read")
    return DicomImage(
        pixels, photometric, int(tags.get("NumberOfFrames") or 1), str(tags.get("PatientID") or "").strip()
    )


def _window(values: npt.NDArray[Any], tags: Any) -> npt.NDArray[np.float64]:
    """Values through the file's first VOI LUT or window, in [0, 1]."""
    if tags.get("VOILUTSequence"):
        from pydicom.pixels import apply_voi

        depth = int(tags.VOILUTSequence[0].LUTDescriptor[2])
        return np.asarray(apply_voi(values.astype(np.int64), tags) / (2.0**depth - 1), dtype=np.float64)
    x = values.astype(np.float64)
    center, width = _first(tags.get("WindowCenter")), _first(tags.get("WindowWidth"))
    kind = str(tags.get("VOILUTFunction") or "LINEAR").upper()
    if center is None or width is None or width < 1:
        low, top = float(x.min()), float(x.max())
        return (x - low) / max(top - low, 1e-12)
    if kind == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (x - center) / width)))
    if kind == "LINEAR_EXACT":
        return np.clip((x - center) / width + 0.5, 0, 1)
    return np.clip((x - (center - 0.5)) / max(width - 1, 1e-12) + 0.5, 0, 1)


def _first(value: Any) -> float | None:
    """The first of one or several numbers; None if there is none, or it is not finite."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except TypeError:
        number = float(value[0]) if len(value) else float("nan")
    return number if np.isfinite(number) else None


def _to_8_bits(unit: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
