"""Pictures of attention: overlays of base, specialist and their difference, region drawings, tokens with heat.

Colours run at even steps of perceived difference (OKLab, Ottosson 2020), from one computed table; no plotting library.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.metrics import Floats
from honed.evidence.report_format import decimal, visible

if TYPE_CHECKING:
    from PIL import Image

Picture = npt.NDArray[np.uint8]

MIN_SIDE, MAX_SIDE = 224, 448
N_STEPS = 8
_LUMA = np.array([0.299, 0.587, 0.114])
_ANCHORS = ("2a0a4a", "5a1072", "8f2469", "c43c4e", "ea6a2b", "f9a31b", "f7e27a")  # dark violet to pale yellow
_LESS, _MORE = np.array([38, 132, 255.0]), np.array([255, 122, 0.0])  # colour-blind eyes tell blue and orange apart
_REGION = np.array([0, 200, 170.0])
_ALPHA = 0.85
_DIMMED = 0.85  # so that pale yellow shows on white
_LEAST_TOP, _LEAST_CHANGE = 2.0, 0.5  # multiples of an even spread: below, noise would fill the colour scale
_TO_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


@dataclass(frozen=True)
class Overlay:
    """Three pictures (h, w, 3): base and specialist on one colour scale, and specialist minus base.

    top : attention, as a multiple of an even spread, at the upper end of the common scale; stronger patches have its
    last colour.    top_change : the same of the difference, whose scale is symmetric.
    peaks : in words, where base and specialist have their strongest patch, and where the difference is largest.
    """

    base: Picture
    specialist: Picture
    difference: Picture
    top: float
    top_change: float
    peaks: tuple[str, str, str]


@dataclass(frozen=True)
class TokenHeat:
    """A token, and its heat as a step 0 (none) .. 8 (strongest of base and specialist)."""

    text: str
    step: int


def overlay(pixels: Picture, base: Floats, specialist: Floats) -> Overlay:
    """Lay two maps over their image, grey below.

    pixels : (h, w, 3) as the model reads it (fitted into its square).    base, specialist : (gh, gw) >= 0.
    Both maps are divided by their mean, so 1 is an even spread; the common scale ends at their 99 % quantile, or at 2
    if that is less: a map that prefers nothing must not look as if it did. Between the centres of patches colours are
    interpolated, which adds no detail: a map is as fine as its patches.

    Raises EvidenceError for a map without a finite sum above 0.
    """
    for name, heat in (("base", base), ("specialist", specialist)):
        if not (np.isfinite(heat).all() and heat.sum() > 0):
            raise EvidenceError(f"The {name}'s map cannot be drawn: it is zero throughout, or not finite.")
    grey = _DIMMED * _grey(pixels)
    first, second = base / base.mean(), specialist / specialist.mean()
    change = second - first
    top = max(_LEAST_TOP, float(np.quantile(np.stack([first, second]), 0.99)))
    top_change = max(_LEAST_CHANGE, float(np.quantile(np.abs(change), 0.99)))
    return Overlay(
        _heated(grey, _enlarged(first, grey.shape) / top),
        _heated(grey, _enlarged(second, grey.shape) / top),
        _shifted(grey, _enlarged(change, grey.shape) / top_change),
        top,
        top_change,
        (_peak(first), _peak(second), _peak(np.abs(change))),
    )


def _peak(heat: Floats) -> str:
    """Where the strongest patch lies, by thirds: "upper left" .. "centre" .. "lower right"."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    third = [min(2, int(3 * (at + 0.5) / n)) for at, n in zip((row, column), heat.shape, strict=True)]
    where = " ".join(word for word in (("upper", "", "lower")[third[0]], ("left", "", "right")[third[1]]) if word)
    return {"": "centre", "upper": "upper middle", "lower": "lower middle"}.get(where, where)


def overlay_png(pictures: Overlay) -> bytes:
    """base | specialist | difference side by side, with names and colour scales, as a PNG file."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = pictures.base.shape[:2]
    gap, head, foot = 12, 24, 42
    sheet = Image.new("RGB", (3 * width + 4 * gap, height + head + foot), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    small = ImageFont.load_default(12)
    even = np.full((10, width), 128.0)
    ramp = np.tile(np.linspace(0, 1, width), (10, 1))
    scale, change = _heated(even, ramp), _shifted(even, 2 * ramp - 1)
    ends = (f"{decimal(pictures.top)} x even", f"{decimal(pictures.top_change)}")
    panels = (
        ("base", pictures.base, scale, ("0", ends[0])),
        ("specialist", pictures.specialist, scale, ("0", ends[0])),
        ("difference", pictures.difference, change, (f"-{ends[1]}", f"+{ends[1]} x even")),
    )
    for i, (name, picture, bar, (low, high)) in enumerate(panels):
        left = gap + i * (width + gap)
        draw.text((left, head - 4), name, fill="black", font=font, anchor="ls")
        sheet.paste(Image.fromarray(picture), (left, head))
        sheet.paste(Image.fromarray(bar), (left, head + height + 6))
        draw.text((left, head + height + 20), low, fill="black", font=small)
        draw.text((left + width, head + height + 20), high, fill="black", font=small, anchor="ra")
    return _encoded(sheet, "PNG")


def scale_picture(*, is_change: bool) -> Picture:
    """A colour scale from its low to its high end over mid grey, (12, 240, 3)."""
    ramp, even = np.tile(np.linspace(0, 1, 240), (12, 1)), np.full((12, 240), 128.0)
    return _shifted(even, 2 * ramp - 1) if is_change else _heated(even, ramp)


def region_pictures(pixels: Picture, regions: Mapping[str, npt.NDArray[np.bool_]]) -> dict[str, Picture]:
    """Each region filled and outlined over the image in grey. pixels : (h, w, 3), regions : name -> (h, w)."""
    from PIL import Image

    grey, found = _grey(pixels), {}
    for name, region in regions.items():
        enlarged = Image.fromarray(region).resize(grey.shape[::-1], Image.Resampling.NEAREST)
        inside = np.asarray(enlarged, dtype=bool)
        padded = np.pad(inside, 1, mode="edge")
        is_edge = inside & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
        found[name] = _blended(grey, np.broadcast_to(_REGION, (*grey.shape, 3)), np.where(is_edge, 1.0, 0.4 * inside))
    return found


def regions_png(pixels: Picture, regions: Mapping[str, npt.NDArray[np.bool_]]) -> bytes:
    """One panel a region, filled over the image and named, four beside each other, as a PNG file."""
    from PIL import Image, ImageDraw, ImageFont

    pictures = region_pictures(pixels, regions)
    height, width = next(iter(pictures.values())).shape[:2]
    gap, head = 12, 24
    n_columns = min(4, len(pictures))
    n_rows = -(-len(pictures) // n_columns)
    sheet = Image.new("RGB", (n_columns * (width + gap) + gap, n_rows * (height + head + gap)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for i, (name, picture) in enumerate(pictures.items()):
        left, top = gap + i % n_columns * (width + gap), i // n_columns * (height + head + gap) + head
        draw.text((left, top - 4), visible(name), fill="black", font=font, anchor="ls")
        sheet.paste(Image.fromarray(picture), (left, top))
    return _encoded(sheet, "PNG")


def png(picture: Picture) -> bytes:
    """A picture (h, w, 3) as a PNG file, without any metadata."""
    from PIL import Image

    return _encoded(Image.fromarray(picture), "PNG")


def jpeg(picture: Picture) -> bytes:
    """A picture (h, w, 3) as a JPEG file, a sixth of its PNG's size: for pages that hold many."""
    from PIL import Image

    return _encoded(Image.fromarray(picture), "JPEG")


def token_heat(tokens: Sequence[str], base: Floats, specialist: Floats) -> tuple[list[TokenHeat], list[TokenHeat]]:
    """The tokens of one text with base's and specialist's heat on one scale. base, specialist : (n_tokens,) >= 0.

    Each map is divided by its mean first; the strongest token of both has step 8.
    """
    maps = [heat / heat.mean() if heat.sum() > 0 else np.zeros(len(tokens)) for heat in (base, specialist)]
    top = max(_LEAST_TOP, *(float(own.max(initial=0.0)) for own in maps))
    first, second = (np.rint(N_STEPS * own / top).astype(int).tolist() for own in maps)
    return (
        [TokenHeat(text, step) for text, step in zip(tokens, first, strict=True)],
        [TokenHeat(text, step) for text, step in zip(tokens, second, strict=True)],
    )


def to_oklab(rgb: Floats) -> Floats:
    """sRGB 0..255, (n, 3) -> lightness, green-red, blue-yellow: equal distances look about equal. Ottosson 2020."""
    unit = np.asarray(rgb) / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T)


def _to_srgb(lab: Floats) -> Floats:
    linear = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T
    low, high = linear * 12.92, 1.055 * np.clip(linear, 0, None) ** (1 / 2.4) - 0.055
    return np.asarray(np.clip(255 * np.where(linear <= 0.0031308, low, high), 0, 255))


@cache
def heat_colours() -> Floats:
    """(256, 3) sRGB from none to strongest: lightness always rises, steps look alike."""
    anchors = to_oklab(np.array([[int(text[i : i + 2], 16) for i in (0, 2, 4)] for text in _ANCHORS]))
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(anchors, axis=0), axis=1))])
    at = np.linspace(0, length[-1], 256)
    return _to_srgb(np.stack([np.interp(at, length, anchors[:, i]) for i in range(3)], axis=1))


def _grey(pixels: Picture) -> Floats:
    """Brightness (h, w), enlarged or reduced so that the longer side lies within 224 .. 448 pixels."""
    from PIL import Image

    side = max(pixels.shape[:2])
    factor = min(max(side, MIN_SIDE), MAX_SIDE) / side
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    image = Image.fromarray(np.rint(pixels @ _LUMA).astype(np.uint8))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float64)


def _enlarged(heat: Floats, shape: tuple[int, ...]) -> Floats:
    from PIL import Image

    image = Image.fromarray(heat.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float64)


def _heated(grey: Floats, share: Floats) -> Picture:
    """grey : (h, w) in 0..255.    share : (h, w) of the scale; where there is no heat the image stays as it is."""
    part = np.clip(share, 0, 1)
    return _blended(grey, heat_colours()[np.rint(255 * part).astype(int)], _ALPHA * part)


def _shifted(grey: Floats, share: Floats) -> Picture:
    part = np.clip(share, -1, 1)
    return _blended(grey, np.where(part[..., None] > 0, _MORE, _LESS), _ALPHA * np.abs(part))


def _blended(grey: Floats, colour: Floats, alpha: Floats) -> Picture:
    return np.rint(grey[..., None] * (1 - alpha[..., None]) + colour * alpha[..., None]).astype(np.uint8)


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"optimize": True} if kind == "PNG" else {"quality": 85}))
    return buffer.getvalue()
