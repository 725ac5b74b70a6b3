"""Images as transformers' own processor reads them: same pixels, same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from honed.artifact import write_json
from honed.base_conversion import DINOV2_SMALL_PREPROCESSOR
from honed.errors import BaseModelError
from honed.tasks.image_reading import PREPROCESSOR, ImageReading, base_reading
from image_files import picture
from tolerances import tolerance


def processor_folder(folder: Path, **changes: object) -> Path:
    write_json(folder / PREPROCESSOR, {**DINOV2_SMALL_PREPROCESSOR, **changes})
    return folder


@pytest.mark.parametrize("size", [28, 56, 112])
@pytest.mark.parametrize("shape", [(40, 40), (28, 90)])
def test_stretched_is_what_transformers_gives(tmp_path: Path, size: int, shape: tuple[int, int]) -> None:
    import transformers

    square = {"height": size, "width": size}
    folder = processor_folder(tmp_path, size=square, do_center_crop=False)
    theirs = transformers.AutoImageProcessor.from_pretrained(folder)
    image = Image.fromarray(picture(0, size=max(shape))).crop((0, 0, shape[1], shape[0]))
    reading = base_reading(folder, size, "stretch")
    mine = reading.normalise(reading.pixels(image)[None])
    expected = theirs(images=image, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(mine, expected, **tolerance("logits_same_weights", "float32"))


def test_cropped_is_what_transformers_gives_of_a_wide_image(tmp_path: Path) -> None:
    import transformers

    folder = processor_folder(tmp_path, size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    theirs = transformers.AutoImageProcessor.from_pretrained(folder)
    image = Image.fromarray(picture(1, size=160)).crop((0, 0, 160, 80))
    reading = base_reading(folder, 56, "crop")
    mine = reading.normalise(reading.pixels(image)[None])
    expected = theirs(images=image, return_tensors="np")["pixel_values"]
    assert np.abs(mine - expected).mean() < 0.02  # cut before scaling, not after: the filter sees other neighbours


def test_letterbox_keeps_the_shape_and_pads_with_the_mean() -> None:
    reading = ImageReading(40, "letterbox", (0.5, 0.25, 0.75), (0.5, 0.5, 0.5), 3)
    wide = Image.new("RGB", (100, 50), (255, 0, 0))
    pixels = reading.pixels(wide)
    assert (pixels[10:30] == [255, 0, 0]).all()
    assert (pixels[:10] == [128, 64, 191]).all() and (pixels[30:] == [128, 64, 191]).all()
    padded = reading.normalise(pixels[None])[0, :, 0]
    assert np.abs(padded).max() < 0.01  # nothing, to a base that was trained on normalised photos


def test_a_square_image_is_fitted_alike_in_all_ways() -> None:
    image = Image.fromarray(picture(2, size=33))
    grey = (0.5, 0.5, 0.5)
    one, *others = (ImageReading(56, fit, grey, grey, 3).pixels(image) for fit in ("letterbox", "stretch", "crop"))  # type: ignore[arg-type]
    assert all(np.array_equal(one, other) for other in others)


def test_what_ships_is_read_back() -> None:
    reading = ImageReading(56, "crop", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 2)
    assert ImageReading.from_json(reading.to_json() | {"n_special_tokens": 1}) == reading


@pytest.mark.parametrize(
    "changes", [{"image_mean": None}, {"image_std": [1.0]}, {"rescale_factor": 1 / 127.5}, {"resample": "cubic"}]
)
def test_a_base_that_does_not_say_how_it_reads_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(BaseModelError):
        base_reading(processor_folder(tmp_path, **changes), 56, "letterbox")
    with pytest.raises(BaseModelError, match=PREPROCESSOR):
        base_reading(tmp_path / "nowhere", 56, "letterbox")
