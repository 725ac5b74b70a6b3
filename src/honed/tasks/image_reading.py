"""How an image becomes the pixels that a base reads: fitted into a square, scaled, normalised as the base was trained.

Pillow alone does the resizing, as it did where these bases were trained and evaluated; no torchvision is needed. The
values are those of the base's own preprocessor_config.json, except for the size and how the image is fitted into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from honed.errors import BaseModelError

if TYPE_CHECKING:
    from PIL import Image

Fit = Literal["letterbox", "stretch", "crop"]
PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class ImageReading:
    """size : of the square, in pixels.    fit : letterbox keeps the shape and pads with the mean colour, stretch fills
    the square whatever the shape, crop keeps the shape and cuts off what overhangs.
    mean, std : of the colours, in [0, 1].    resample : Pillow's number of the filter (3: bicubic).
    """

    size: int
    fit: Fit
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: int

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """The fitted image. -> (size, size, 3)."""
        from PIL import Image, ImageOps

        square, how = (self.size, self.size), Image.Resampling(self.resample)
        if self.fit == "stretch" or image.width == image.height:
            fitted = image.resize(square, how)
        elif self.fit == "crop":
            fitted = ImageOps.fit(image, square, how)
        else:
            background = tuple(round(255 * value) for value in self.mean)
            fitted = ImageOps.pad(image, square, how, color=background)
        return np.asarray(fitted, dtype=np.uint8)

    def normalise(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(rows, size, size, 3) in 0..255 -> (rows, 3, size, size), colours with mean 0 and deviation 1 over photos."""
        scale = (255 * np.array(self.std, dtype=np.float64)).astype(np.float32)
        shift = (255 * np.array(self.mean, dtype=np.float64)).astype(np.float32)
        return np.ascontiguousarray(((pixels - shift) / scale).transpose(0, 3, 1, 2))

    def to_json(self) -> dict[str, Any]:
        """Plain types, for the artifact."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> ImageReading:
        """What `to_json` wrote, whatever else stands there."""
        own = {field.name: values[field.name] for field in fields(ImageReading)}
        return ImageReading(**own | {name: tuple(own[name]) for name in ("mean", "std")})


def base_reading(folder: Path, size: int, fit: Fit) -> ImageReading:
    """The base's own normalisation, at another size.

    Raises BaseModelError if the folder does not say how the base reads images, or says it in a way that is not known.
    """
    path = folder / PREPROCESSOR
    try:
        own = json.loads(path.read_text(encoding="utf-8"))
        mean, std = own["image_mean"], own["image_std"]
        resample, scale = int(own.get("resample", 3)), float(own.get("rescale_factor", 1 / 255))
        reading = ImageReading(size, fit, _three(mean), _three(std), resample)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(
            f"The base model in {folder} does not say how it reads images: {PREPROCESSOR} is missing or incomplete.",
            cause=f"{type(error).__name__}: {error}.",
            remedy="Copy that file of the same model into the folder, or use --base dinov2-small.",
        ) from error
    if abs(scale * 255 - 1) > 1e-6:
        raise BaseModelError(f"{path} has rescale_factor {scale}, where 1/255 is known.")
    return reading


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
