"""Which rows `honed attention` looks at, and the regions of their images."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from honed.data.chest_regions import chest_regions, chest_values
from honed.data.dataset import Dataset
from honed.data.image_files import ImageFile, find_image
from honed.data.images import UnreadableImage, decode, read_bytes, strict_pillow
from honed.data.regions import BORDER, Regions, border_region, coverage, generic_regions, read_mask
from honed.errors import DataError, UsageError
from honed.pipeline.attention_options import RegionKind

if TYPE_CHECKING:
    from PIL import Image

OBVIOUS_MASK = "mask"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RowRegions:
    """The regions of n images.

    regions : of each image, in its own pixels; at least its border.    faults : why a row has no mask, by position.
    column : of the masks, "" where there are none.
    """

    regions: list[Regions]
    faults: dict[int, str] = field(default_factory=dict)
    column: str = ""

    def on_patches(self, side: int, size: int, fit: str) -> dict[str, Floats]:
        """Share of each patch in each region, (n, side, side); 0 throughout where a row has no such region."""
        found = [coverage(own, (side, side), size, fit) for own in self.regions]
        names = dict.fromkeys(name for own in found for name in own)
        nothing = np.zeros((side, side))
        return {name: np.stack([own.get(name, nothing) for own in found]) for name in names}


def stratified(label: npt.NDArray[np.int64], example_id: npt.NDArray[np.str_], n: int, seed: int) -> list[int]:
    """Positions of n rows, all of them if there are fewer; any first part holds the classes in about their shares.

    Promises: the same rows whatever their order; a smaller n gives the beginning of the same list.
    """
    salted = [f"{seed} {own}".encode("utf-8", "surrogatepass") for own in example_id.tolist()]
    drawn = [hashlib.sha256(own).digest() for own in salted]
    place: dict[int, tuple[float, bytes]] = {}
    for j in np.unique(label):
        own = sorted(np.flatnonzero(label == j).tolist(), key=drawn.__getitem__)
        place |= {i: ((rank + 0.5) / len(own), drawn[i]) for rank, i in enumerate(own)}
    return sorted(place, key=place.__getitem__)[:n]


def mask_column(dataset: Dataset, asked: str | None) -> str:
    """The column of mask files: the one asked for, or `mask` if there is one; "" for none.

    Raises UsageError if there is no such column, or the rows are texts.
    """
    if asked and not isinstance(dataset.inputs[0], ImageFile):
        raise UsageError(
            f"--mask {asked}: this run classifies texts, which have no masks.",
            remedy="Leave --mask out: for texts the table is of tokens.",
        )
    columns = {name for name, values in dataset.traits.items() if values.dtype == object}
    if asked is None:
        return OBVIOUS_MASK if OBVIOUS_MASK in columns else ""
    if asked and asked not in columns:
        near = difflib.get_close_matches(asked, columns, n=1)
        known = f"Columns: {', '.join(sorted(columns))}." if columns else "The data have no further columns."
        raise UsageError(
            f"--mask {asked!r}: the data of this run have no such column.",
            remedy=(f"Did you mean {near[0]!r}? " if near else "") + known,
        )
    return asked


def read_regions(rows: Dataset, column: str, kind: RegionKind, folder: Path) -> RowRegions:
    """The regions of every image. column : of `mask_column`.    folder : where the names in its cells begin.

    A mask that is missing or does not fit leaves its row with the border alone, and is told.

    Raises DataError, with the first reason, if there is no mask that can be used.
    """
    files: list[ImageFile] = rows.inputs
    if not column:
        return RowRegions([_border(file) for file in files])
    masks: list[npt.NDArray[np.int64] | None] = []
    faults = {}
    for i, (file, cell) in enumerate(zip(files, rows.traits[column].tolist(), strict=True)):
        try:
            if not cell.strip():
                raise DataError(f"column {column!r} is empty.")
            masks.append(read_mask(find_image(cell, folder), (file.width, file.height)))
        except DataError as error:
            masks.append(None)
            faults[i] = f"Row {int(rows.row[i]) + 1}, mask {cell!r}: {error}"
    known = [mask for mask in masks if mask is not None]
    if not known:
        raise DataError(
            f"None of the {len(rows)} masks of column {column!r} can be used. {next(iter(faults.values()))}",
            remedy="A mask is an image file of whole numbers, as large as its image. --mask '' does without.",
        )
    values = chest_values({int(v) for mask in known for v in np.unique(mask)}) if kind == "chest" else None
    regions = []
    for file, mask in zip(files, masks, strict=True):
        if mask is None:
            regions.append(_border(file))
        elif values is None:
            regions.append(generic_regions(mask))
        else:
            regions.append(chest_regions(mask, values, np.asarray(shown(file).convert("L"))))
    return RowRegions(regions, faults, column)


def _border(file: ImageFile) -> Regions:
    return {BORDER: border_region((file.height, file.width))}


def shown(file: ImageFile) -> Image.Image:
    """The image as it is, 8-bit RGB.

    Raises DataError if it can no longer be read.
    """
    try:
        with strict_pillow():
            return decode(read_bytes(file.path)).image
    except UnreadableImage as error:
        raise DataError(f"Image {file.name!r} cannot be used: {error.problem}.") from error
