"""Views of an image: the same picture mirrored, turned, tilted or cropped, as it might have been taken just as well.

A view depends on its number and the image alone, so that the frozen layers can be computed once for each, and a served
specialist sees the very views that were judged. View 0 is the image as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from honed.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

KINDS = ("mirror", "flip", "turn", "tilt", "crop")
"""left and right change sides; up and down too; quarter turns; up to 10 degrees; 85 to 100 % of each side."""
_MAX_TILT_DEGREES = 10.0
_MIN_CROP_FRAC = 0.85


def augmentations(text: str) -> tuple[str, ...]:
    """The kinds of a list with commas, sorted.

    Raises UsageError for an unknown kind, or none at all.
    """
    kinds = sorted({kind.strip() for kind in text.split(",")} - {""})
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        what = f"{unknown[0]!r} is not known" if unknown else "no kind is named"
        raise UsageError(f"--augment {text!r}: {what}.", remedy=f"Name some of {', '.join(KINDS)}.")
    return tuple(kinds)


def symmetries(kinds: Collection[str]) -> list[tuple[bool, int]]:
    """(mirrored, quarter turns) of every position that the kinds lead to, the image as it is first."""
    mirror, flip, turn = (kind in kinds for kind in ("mirror", "flip", "turn"))
    if turn:
        return [(mirrored, k) for mirrored in ((False, True) if mirror or flip else (False,)) for k in range(4)]
    found = [(False, 0)]
    if mirror:
        found.append((True, 0))
    if flip:
        found.append((True, 2))  # upside down is a mirror image turned by half
    if mirror and flip:
        found.append((False, 2))
    return found


def view_of(image: Image.Image, number: int, kinds: Collection[str], key: str) -> Image.Image:
    """The view of that number. key : hexadecimal digits that tell images apart.

    The views go through all symmetries in turn; tilt and crop are drawn anew in each but the first.
    """
    from PIL import Image

    if not number:
        return image
    positions = symmetries(kinds)
    mirrored, quarters = positions[number % len(positions)]
    rng = np.random.default_rng([number, int(key[:16], 16)])
    if "tilt" in kinds:
        edge = tuple(int(value) for value in np.asarray(image).reshape(-1, 3).mean(axis=0))
        angle = rng.uniform(-_MAX_TILT_DEGREES, _MAX_TILT_DEGREES)
        image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=edge)
    if "crop" in kinds:
        frac = rng.uniform(_MIN_CROP_FRAC, 1, 2)
        left, top = rng.uniform(0, 1 - frac) * image.size
        width, height = frac * image.size
        image = image.crop((round(left), round(top), round(left + width), round(top + height)))
    if mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turns = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    turned = turns[quarters]
    return image if turned is None else image.transpose(turned)
