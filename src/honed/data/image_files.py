"""The image files that a table names: found beside the table, decoded once, and described by what the checks need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from honed.data.images import SUFFIXES, UnreadableImage, decode, read_bytes, sha256_of, strict_pillow
from honed.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL = 16
_BORDER_FRAC = 0.03
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as Pillow
_THREADS = 4  # decoding leaves Python's lock alone


@dataclass(frozen=True)
class ImageFile:
    """One image, as an input of a dataset; its pixels stay in the file.

    name : as the user's table gives it.    path : where it was found.    sha256 : of the file's bytes.
    width, height : pixels, upright.    mode : colour mode of the file.    format : by content, e.g. `PNG`.
    thumbnail : 16 x 16 colours, row by row.    border_mean, border_std : grey values of its outermost 3 %.
    patient : DICOM patient id, "" without one; it identifies a person and must not be written anywhere.
    """

    name: str
    path: Path
    sha256: str
    width: int
    height: int
    mode: str
    format: str
    n_bytes: int
    is_animated: bool
    thumbnail: bytes
    border_mean: float
    border_std: float
    patient: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def is_mislabelled(self) -> bool:
        """Whether the name ends like another image format than the content is."""
        return SUFFIXES.get(Path(self.name).suffix.lower(), self.format) != self.format

    @property
    def colours(self) -> npt.NDArray[np.uint8]:
        """The thumbnail as an array, (16 * 16, 3)."""
        return np.frombuffer(self.thumbnail, dtype=np.uint8).reshape(-1, 3)

    @property
    def grey(self) -> npt.NDArray[np.uint8]:
        """The brightness of the thumbnail, (16 * 16,)."""
        return np.asarray(np.rint(self.colours @ _LUMA), dtype=np.uint8)


def find_image(name: str, folder: Path) -> Path:
    r"""Where the image lies that a table in `folder` calls `name`.

    A relative name must stay below the folder, also after links are followed: a table that someone sent must not make
    the program read elsewhere. An absolute path is the user's own word. `\` is read as `/` where only that is found.

    Raises UnreadableImage for a name that leads outside.
    """
    path = Path(name)
    if path.is_absolute():
        return path
    try:
        root, found = folder.resolve(), (folder / name).resolve()
        if not found.exists() and "\\" in name:
            found = (folder / name.replace("\\", "/")).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL character, a loop of links
        raise UnreadableImage(f"its name cannot be a path: {error}") from error
    if not found.is_relative_to(root):
        raise UnreadableImage("its path leads out of the table's folder; write an absolute path if that is meant")
    return found


def examine(name: str, folder: Path) -> ImageFile:
    """Find, read and decode one image.

    Raises UnreadableImage, with the reason, if that fails.
    """
    if not name.strip():
        raise UnreadableImage("no file is named")
    path = find_image(name, folder)
    data = read_bytes(path)
    pixels = decode(data)
    border = _border(np.asarray(pixels.image.convert("L")))
    return ImageFile(
        name=name,
        path=path,
        sha256=sha256_of(data),
        width=pixels.image.width,
        height=pixels.image.height,
        mode=pixels.mode,
        format=pixels.format,
        n_bytes=len(data),
        is_animated=pixels.is_animated,
        thumbnail=_thumbnail(pixels.image),
        border_mean=float(border.mean()),
        border_std=float(border.std()),
        patient=pixels.patient,
    )


def examine_all(names: Sequence[str], folder: Path) -> list[ImageFile | UnreadableImage]:
    """Each image examined, or why it could not be, in the order of the names."""

    def attempt(name: str) -> ImageFile | UnreadableImage:
        try:
            return examine(name, folder)
        except UnreadableImage as reason:
            return reason

    with strict_pillow(), ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(attempt, names))


def patient_groups(files: Sequence[object]) -> list[str]:
    """A name for each image that is the same for all images of one DICOM patient; "" where there is no patient id.

    It is made of the patient's images, not of the id: a hash of a hospital's running numbers is soon guessed.
    """
    smallest: dict[str, str] = {}
    for file in files:
        if isinstance(file, ImageFile) and file.patient:
            smallest[file.patient] = min(smallest.get(file.patient, file.sha256), file.sha256)
    return [
        f"patient-{smallest[file.patient][:16]}" if isinstance(file, ImageFile) and file.patient else ""
        for file in files
    ]


def checked_images(names: Sequence[str | Path]) -> list[ImageFile]:
    """The images that a Python caller names, relative to where the program runs.

    Raises DataError for one that cannot be read (with its position).
    """
    if isinstance(names, str | bytes | Path):
        raise UsageError("One image was given where a list of images is expected.", remedy="Write [path].")
    found = examine_all([str(name) for name in names], Path.cwd())
    files = []
    for i, file in enumerate(found):
        if isinstance(file, UnreadableImage):
            raise DataError(f"Image {i}, {str(names[i])!r}, cannot be used: {file.problem}.")
        files.append(file)
    return files


def image_traits(files: Sequence[ImageFile]) -> dict[str, npt.NDArray[np.float64]]:
    """What is known of images besides what they show, (n, d) each: it must not tell the class.

    A hospital or a camera leaves its mark here: if the sick come from one and the healthy from another, a model that
    sees only the size of the image, or the colour of its border, looks clever.
    """
    kinds = sorted({(file.format, file.mode) for file in files})
    rows = [(file, max(file.width * file.height, 1)) for file in files]
    return {
        "image size": np.array([[f.width, f.height, f.width / f.height, n] for f, n in rows], dtype=np.float64),
        "file size": np.array([[f.n_bytes, f.n_bytes / n] for f, n in rows], dtype=np.float64),
        "border of the image": np.array([[f.border_mean, f.border_std] for f, _ in rows]),
        "image format": np.array([[(f.format, f.mode) == kind for kind in kinds] for f, _ in rows], dtype=np.float64),
    }


def _thumbnail(image: Image.Image) -> bytes:
    from PIL import Image

    return image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR).tobytes()


def _border(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The values of the frame around an image (h, w): 3 % of the shorter side, at least one pixel."""
    width = max(1, round(_BORDER_FRAC * min(grey.shape)))
    inside = np.zeros(grey.shape, dtype=bool)
    inside[width:-width, width:-width] = True
    return grey[~inside]
