"""Pictures of attention: overlays of base, specialist and their difference, region drawings, tokens with heat.

Colours run at even steps of perceived difference (OKLab, Ottosson 2020), from one computed table; no plotting library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.evidence.metrics import Floats

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Overlay:
    """Three pictures (h, w, 3): base and specialist on one colour scale, and specialist minus base.

    top : attention, as a multiple of an even spread, at the upper end of the common scale.    top_change : the same of
    the difference, whose scale is symmetric.
    """

    base: Picture
    specialist: Picture
    difference: Picture
    top: float
    top_change: float


@dataclass(frozen=True)
class TokenHeat:
    """A token, and its heat as a step 0 (none) .. 8 (strongest of base and specialist)."""

    text: str
    step: int


def overlay(pixels: Picture, base: Floats, specialist: Floats) -> Overlay:
    """Lay two maps over their image, grey below.

    pixels : (h, w, 3) as the model reads it (fitted into its square).    base, specialist : (gh, gw) >= 0.
    """
    raise NotImplementedError


def overlay_png(pictures: Overlay) -> bytes:
    """base | specialist | difference side by side, with names and colour scales, as a PNG file."""
    raise NotImplementedError


def png(picture: Picture) -> bytes:
    """A picture (h, w, 3) as a PNG file, without any metadata."""
    raise NotImplementedError


def regions_png(pixels: Picture, regions: Mapping[str, npt.NDArray[np.bool_]]) -> bytes:
    """One panel a region, filled over the image and named, as a PNG file. pixels : (h, w, 3), regions : (h, w)."""
    raise NotImplementedError


def token_heat(tokens: Sequence[str], base: Floats, specialist: Floats) -> tuple[list[TokenHeat], list[TokenHeat]]:
    """The tokens of one text with base's and specialist's heat on one scale. base, specialist : (n_tokens,) >= 0."""
    raise NotImplementedError
