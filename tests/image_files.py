"""Image files for tests: small pictures, and files that are wrong in one way each."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def picture(seed: int, size: int = 24, channels: int = 3) -> npt.NDArray[np.uint8]:
    """A smooth random picture (size, size, channels), or (size, size) of one channel: no two are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth if channels == 3 else smooth.convert("L"))


def encoded(image: npt.NDArray[Any] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def dicom(
    values: npt.NDArray[Any], *, patient: str = "", photometric: str = "MONOCHROME2", tags: dict[str, Any] | None = None
) -> bytes:
    """The bytes of an uncompressed DICOM file; values: (h, w) or (frames, h, w) uint16, or (h, w, 3) uint8."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    is_colour = photometric == "RGB"
    data.PatientID = patient
    data.PatientName = "Doe^Jane"
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PhotometricInterpretation = photometric
    data.SamplesPerPixel = 3 if is_colour else 1
    if is_colour:
        data.PlanarConfiguration = 0
    elif values.ndim == 3:
        data.NumberOfFrames = len(values)
    data.Rows, data.Columns = values.shape[:2] if is_colour else values.shape[-2:]
    data.BitsAllocated = data.BitsStored = 8 * values.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    data.PixelData = values.tobytes()
    for name, value in (tags or {}).items():
        setattr(data, name, value)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_images(folder: Path, images: dict[str, bytes], labels: list[str] | None = None) -> Path:
    """A folder with images and their `metadata.csv`; labels default to a, b, a, b, ..."""
    for name, data in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    names = labels or ["ab"[i % 2] for i in range(len(images))]
    rows = "".join(f"{name},{label}\n" for name, label in zip(images, names, strict=True))
    (folder / "metadata.csv").write_text("file_name,label\n" + rows)
    return folder
