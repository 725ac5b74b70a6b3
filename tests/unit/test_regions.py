"""Masks: read with every guard, turned into regions of known places, laid over patches as the image reading does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from honed.data.chest_regions import (
    ANGLES,
    HEART_CONTOUR,
    LUNG_BORDERS,
    LUNGS,
    MEDIASTINUM,
    OUTSIDE,
    ChestValues,
    chest_regions,
    chest_values,
    two_lungs,
)
from honed.data.regions import BACKGROUND, BORDER, PADDING, coverage, generic_regions, read_mask
from honed.errors import DataError
from honed.tasks.image_reading import ImageReading
from image_files import dicom, encoded
from image_files import picture as picture_of

H = W = 120


def saved(folder: Path, values: np.ndarray, mode: str | None = None, name: str = "mask.png") -> Path:
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(folder / name)
    return folder / name


def chest(heart: bool = True) -> np.ndarray:
    """Two lungs that widen downwards, 20 columns between them, a heart there, and air left and right of the body."""
    mask = np.zeros((H, W), dtype=np.int64)
    for y in range(20, 81):
        wide = 15 + (y - 20) // 6
        mask[y, 50 - wide : 50] = 2
        mask[y, 70 : 70 + wide] = 1
    for y in range(81, 90):  # each lung's base rises towards the middle
        mask[y, 25 : 45 - (y - 80) * 2] = 2
        mask[y, 75 + (y - 80) * 2 : 95] = 1
    if heart:
        mask[50:75, 52:68] = 3
    return mask


def picture(mask: np.ndarray) -> np.ndarray:
    """Air 10, body 200, lungs 90; a white letter in the air."""
    grey = np.full((H, W), 200, dtype=np.uint8)
    grey[:, :12] = grey[:, -12:] = 10
    grey[30:36, 3:7] = 255
    grey[(mask == 1) | (mask == 2)] = 90
    return grey


def values() -> ChestValues:
    return ChestValues((1, 2), 3)


def test_values_are_read_as_they_are(tmp_path: Path) -> None:
    own = np.array([[0, 1, 3], [2, 2, 0]], dtype=np.uint8)
    assert read_mask(saved(tmp_path, own)).tolist() == own.tolist()
    assert read_mask(saved(tmp_path, own.astype(np.uint16) * 300)).tolist() == (own.astype(int) * 300).tolist()
    assert read_mask(saved(tmp_path, np.repeat(own[..., None], 3, axis=2))).tolist() == own.tolist()
    assert read_mask(saved(tmp_path, own > 0)).tolist() == (own > 0).astype(int).tolist()
    palette = Image.frombytes("P", (3, 2), own.tobytes())
    palette.putpalette([9, 9, 9, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "p.png")
    assert read_mask(tmp_path / "p.png").tolist() == own.tolist(), "the index counts, not the colour"


def test_a_turned_mask_stands_as_its_image(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[1, 0, 0], [2, 0, 0]], dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "m.png", exif=exif)
    assert read_mask(tmp_path / "m.png", (2, 3)).tolist() == [[2, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"no image at all", "no image of a known format"),
        (encoded(np.zeros((40, 40, 3), np.uint8))[:60], "is damaged"),
        (encoded(picture_of(0)), "colours or transparency"),
        (encoded(picture_of(0, channels=1)), "different values, more than 32"),
        (encoded(np.zeros((4, 4), np.float32), "TIFF"), "not whole numbers"),
        (encoded(Image.new("L", (9500, 9500))), "pixels"),
    ],
)
def test_bad_masks_are_named_with_a_remedy(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_mask(tmp_path / "bad.png")
    assert "bad.png" in caught.value.problem and "PNG" in caught.value.remedy


def test_missing_animated_and_dicom_masks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_mask(tmp_path / "absent.png")
    with pytest.raises(DataError, match="not a regular file"):
        read_mask(tmp_path)
    frames = [Image.new("L", (4, 4), value) for value in (0, 200)]
    frames[0].save(tmp_path / "m.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="more than one picture"):
        read_mask(tmp_path / "m.gif")
    pytest.importorskip("pydicom", reason="NOT RUN: needs the extra dicom")
    (tmp_path / "m.dcm").write_bytes(dicom(np.zeros((4, 4), np.uint8)))
    with pytest.raises(DataError, match="DICOM"):
        read_mask(tmp_path / "m.dcm")


def test_another_size_names_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 3 x 2 pixels, but its image has 30 x 20"):
        read_mask(saved(tmp_path, np.zeros((2, 3), np.uint8)), (30, 20))


def test_generic_regions_are_the_values_the_background_and_the_border() -> None:
    mask = np.zeros((50, 100), dtype=np.int64)
    mask[20:30, 20:30] = 7
    regions = generic_regions(mask)
    assert list(regions) == ["value 7", BACKGROUND, BORDER]
    assert regions["value 7"].sum() == 100 and regions[BACKGROUND].sum() == 4900
    assert regions[BORDER][:4].all() and regions[BORDER][:, -8:].all() and not regions[BORDER][4:-4, 8:-8].any()
    assert generic_regions(np.zeros((1, 1), dtype=np.int64))[BORDER].all()


@pytest.mark.parametrize(
    ("own", "want"),
    [({0, 255}, ((255,), None)), ({0, 1, 2}, ((1, 2), None)), ({0, 1, 2, 3}, ((1, 2), 3)), ({1}, ((1,), None))],
)
def test_what_chest_values_mean(own: set[int], want: tuple[tuple[int, ...], int | None]) -> None:
    found = chest_values(own)
    assert (found.lungs, found.heart) == want


@pytest.mark.parametrize("own", [{0}, set(range(6))])
def test_other_values_are_no_chest(own: set[int]) -> None:
    with pytest.raises(DataError, match="no chest regions"):
        chest_values(own)


def test_chest_regions_lie_where_they_should() -> None:
    mask = chest()
    regions = chest_regions(mask, values(), picture(mask))
    assert list(regions) == [LUNGS, LUNG_BORDERS, ANGLES, HEART_CONTOUR, MEDIASTINUM, OUTSIDE, BORDER]
    assert (regions[LUNGS] == ((mask == 1) | (mask == 2))).all()
    assert regions[LUNG_BORDERS][50, 50] and regions[LUNG_BORDERS][50, 49] and not regions[LUNG_BORDERS][50, 40]
    rows, columns = np.nonzero(regions[ANGLES])
    assert rows.min() > 70 and set(np.unique(columns > 60)) == {False, True}
    assert regions[ANGLES][89, 25] and regions[ANGLES][89, 94] and not regions[ANGLES][:, 50:70].any()
    assert regions[HEART_CONTOUR][50, 60] and not regions[HEART_CONTOUR][62, 60]
    assert regions[MEDIASTINUM][60, 50:70].all() and not (regions[MEDIASTINUM] & regions[LUNGS]).any()
    assert not regions[MEDIASTINUM][:20].any() and not regions[MEDIASTINUM][82:].any()
    assert regions[OUTSIDE][:, :10].all(), "with the letter in it"
    assert not (regions[OUTSIDE] & regions[LUNGS]).any() and not regions[OUTSIDE][60, 14:106].any()


def test_a_mirrored_chest_has_mirrored_regions() -> None:
    mask = chest()
    grey = picture(mask)
    one = chest_regions(mask, values(), grey)
    two = chest_regions(mask[:, ::-1].copy(), values(), grey[:, ::-1].copy())
    assert all((one[name] == two[name][:, ::-1]).all() for name in one)


def test_lungs_of_one_value_are_told_apart_by_their_pieces_or_cut() -> None:
    apart = np.where(np.isin(chest(), (1, 2)), 255, 0)
    left, right = two_lungs(apart, (255,)) or (None, None)
    assert left is not None and right is not None and (left == (chest() == 2)).all() and (right == (chest() == 1)).all()
    apart[0, 0] = 255  # a slip of the pen
    assert (two_lungs(apart, (255,)) or (None,))[0] is not None and not (two_lungs(apart, (255,)) or (left,))[0][0, 0]
    touching = apart.copy()
    touching[40:44, 50:70] = 255
    cut_left, cut_right = two_lungs(touching, (255,)) or (None, None)
    assert cut_left is not None and cut_right is not None
    assert not cut_left[:, 61:].any() and not cut_right[:, :59].any() and cut_left[60, 45] and cut_right[60, 75]


def test_without_lungs_only_the_border_is_left() -> None:
    for mask in (np.zeros((H, W), dtype=np.int64), np.where(chest() == 1, 1, 0)):
        regions = chest_regions(mask, values(), picture(mask))
        assert {name for name, region in regions.items() if region.any()} == {BORDER}
    without = chest_regions(chest(heart=False), values(), None)
    assert not without[HEART_CONTOUR].any() and without[LUNGS].any() and OUTSIDE not in without


def test_coverage_is_the_share_of_each_patch() -> None:
    region = np.zeros((6, 6), dtype=bool)
    region[:3, :2] = True
    covered = coverage({"r": region}, (2, 2), 56, "stretch")["r"]
    assert covered.tolist() == pytest.approx(np.array([[2 / 3, 0], [0, 0]]))
    assert coverage({"r": region}, (6, 6), 56, "stretch")["r"].tolist() == region.astype(float).tolist()
    assert coverage({"r": np.ones((7, 5), dtype=bool)}, (4, 4), 56, "stretch")["r"] == pytest.approx(np.ones((4, 4)))
    assert coverage({"r": ~region & region}, (2, 2), 56, "letterbox")["r"].sum() == 0
    with pytest.raises(ValueError, match="unknown fit"):
        coverage({"r": region}, (2, 2), 56, "tile")


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("shape", [(90, 150), (151, 77), (64, 64), (20, 500)])
def test_coverage_lies_where_the_image_reading_puts_the_pixels(fit: str, shape: tuple[int, int]) -> None:
    """A mask read as an image and box-averaged over the patches agrees with the coverage, up to Pillow's smoothing."""
    region = np.zeros(shape, dtype=bool)
    region[shape[0] // 5 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = True
    reading = ImageReading(224, fit, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), resample=0)  # type: ignore[arg-type]
    pixels = reading.pixels(Image.fromarray(region.astype(np.uint8) * 255).convert("RGB"))[..., 0] / 255
    want = pixels.reshape(16, 14, 16, 14).mean(axis=(1, 3))
    found = coverage({"r": region}, (16, 16), 224, fit)
    assert np.abs(found["r"] - want).max() < 0.13 and np.abs(found["r"] - want).mean() < 0.008
    assert (PADDING in found) == (fit == "letterbox" and shape[0] != shape[1])


def test_padding_and_image_fill_the_square() -> None:
    found = coverage({"all": np.ones((30, 90), dtype=bool)}, (4, 4), 60, "letterbox")
    assert found["all"] + found[PADDING] == pytest.approx(np.ones((4, 4)))
    assert found[PADDING][0] == pytest.approx(1) and found["all"][1] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("data", "has_heart"), [("cxr_jsrt", True), ("cxr_shenzhen", False)])
def test_every_real_chest_has_all_its_regions(shared_data: Path, data: str, has_heart: bool) -> None:
    folder = shared_data / data
    names = sorted(path.name for path in (folder / "masks").iterdir())[::40]
    own = ChestValues((1, 2), 3) if has_heart else ChestValues((255,))
    for name in names:
        grey = np.asarray(Image.open(folder / "images" / name).convert("L"))
        regions = chest_regions(read_mask(folder / "masks" / name, grey.shape[::-1]), own, grey)
        share = {region: float(where.mean()) for region, where in regions.items()}
        assert (HEART_CONTOUR in share) == has_heart
        assert all(0.02 < of_area < 0.45 for of_area in share.values()), (name, share)
        angles = np.nonzero(regions[ANGLES])
        assert np.median(angles[0]) > np.median(np.nonzero(regions[LUNGS])[0]), name
