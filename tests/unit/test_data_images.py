"""Every kind of image file becomes the same upright 8-bit RGB, or says why it cannot."""

from __future__ import annotations

import builtins
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from honed.data.images import MAX_PIXELS, UnreadableImage, decode, grey_to_8_bits, read_bytes, strict_pillow
from honed.errors import UsageError
from image_files import dicom, encoded, picture


def rgb(data: bytes) -> np.ndarray:
    with strict_pillow():
        return np.asarray(decode(data).image)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_lossless_formats_give_the_very_pixels(kind: str) -> None:
    grey = picture(0, channels=1)
    assert np.array_equal(rgb(encoded(grey, kind)), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_formats_give_nearly_the_pixels(kind: str, options: dict[str, Any]) -> None:
    image = picture(1, size=64)
    found = rgb(encoded(image, kind, **options)).astype(float)
    assert np.abs(found - image).mean() < 4


def test_the_format_is_found_by_content() -> None:
    found = decode(encoded(picture(0), "JPEG"))
    assert (found.format, found.mode, found.is_animated, found.patient) == ("JPEG", "RGB", False, "")


def test_cmyk_and_palette_become_rgb() -> None:
    flat = Image.new("RGB", (9, 9), (200, 40, 40))
    cmyk = rgb(encoded(flat.convert("CMYK"), "TIFF"))
    assert np.abs(cmyk.astype(int) - [200, 40, 40]).max() <= 2
    palette = flat.quantize(4)
    assert np.array_equal(rgb(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(mode: str) -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    options = {"transparency": 0} if mode == "P" else {}
    image = Image.new("P", (4, 4), 0) if mode == "P" else clear.convert(mode)
    assert (rgb(encoded(image, "PNG", **options)) == 255).all()


def test_exif_orientation_is_honoured() -> None:
    image = Image.fromarray(picture(2))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    found = rgb(encoded(image, "PNG", exif=exif))
    assert np.array_equal(found, np.rot90(np.asarray(image), k=-1))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 65535]], np.uint16), [0, 255]),
        (np.array([[0, 4095]], np.uint16), [0, 255]),  # 12 bits in a file of 16
        (np.array([[0, 1024]], np.uint16), [0, 64]),
        (np.array([[0, 200]], np.uint16), [0, 200]),  # 8 bits
        (np.array([[-5.0, np.nan, 5.0, np.inf]], np.float32), [0, 0, 255, 255]),
        (np.array([[70_000, 140_000]], np.int32), [0, 255]),
        (np.zeros((1, 2), np.uint16), [0, 0]),
        (np.full((1, 2), np.nan), [0, 0]),
    ],
)
def test_deep_grey_values_are_scaled(values: np.ndarray, expected: list[int]) -> None:
    assert grey_to_8_bits(values).ravel().tolist() == expected


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_file_of_16_bit_grey_is_scaled(kind: str) -> None:
    wide = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    assert np.array_equal(rgb(encoded(wide, kind))[..., 0], np.rint(wide / 257).astype(np.uint8))


def test_only_the_first_frame_is_read_and_said_so() -> None:
    first, second = (Image.fromarray(picture(seed, channels=1)) for seed in (3, 4))
    found = decode(encoded(first, "GIF", save_all=True, append_images=[second]))
    assert found.is_animated
    assert np.array_equal(np.asarray(found.image)[..., 0], np.asarray(first))


def bomb() -> bytes:
    """A PNG of a few bytes that announces 20,000 x 20,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not an image at all", "no image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no image of a known format"),  # would be handed to another program
        (encoded(picture(0, size=64))[:200], "damaged"),
        (encoded(picture(0, size=64), "JPEG")[:300], "damaged"),
        (bomb(), f"more than {MAX_PIXELS:,}"),
        (b"", "no image"),
    ],
)
def test_unusable_content_says_why(data: bytes, reason: str) -> None:
    with strict_pillow(), pytest.raises(UnreadableImage, match=reason):
        decode(data)


def test_an_image_of_89_million_pixels_is_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("honed.data.images.MAX_PIXELS", 24 * 24)
    decode(encoded(picture(0)))
    monkeypatch.setattr("honed.data.images.MAX_PIXELS", 24 * 24 - 1)
    with pytest.raises(UnreadableImage, match="24 x 24 pixels"):
        decode(encoded(picture(0)))


def test_the_bomb_filter_leaves_no_trace() -> None:
    before = list(warnings.filters)
    with strict_pillow():
        pass
    assert list(warnings.filters) == before


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for name, reason in (("empty.png", "0 bytes"), ("folder.png", "no.* regular file"), ("none.png", "no such file")):
        with pytest.raises(UnreadableImage, match=reason):
            read_bytes(tmp_path / name)
    with pytest.raises(UnreadableImage):
        read_bytes(tmp_path / "a\0b.png")


# DICOM


def ramp() -> np.ndarray:
    return np.arange(0, 1600, 100, dtype=np.uint16).reshape(4, 4)


def test_dicom_without_a_window_is_stretched() -> None:
    assert rgb(dicom(ramp()))[..., 0].ravel().tolist() == np.rint(np.arange(16) / 15 * 255).astype(int).tolist()


def test_monochrome1_is_inverted() -> None:
    plain, inverted = rgb(dicom(ramp())), rgb(dicom(ramp(), photometric="MONOCHROME1"))
    assert np.array_equal(inverted, 255 - plain)


def test_the_window_acts_on_rescaled_values() -> None:
    tags = {"RescaleSlope": "1", "RescaleIntercept": "-1000", "WindowCenter": "0", "WindowWidth": "401"}
    found = rgb(dicom(ramp(), tags=tags))[..., 0].ravel()
    hounsfield = ramp().ravel().astype(float) - 1000
    expected = np.clip((hounsfield + 0.5) / 400 + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1
    assert np.array_equal(found, np.rint(expected * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("LINEAR_EXACT", lambda x: np.clip((x - 800) / 400 + 0.5, 0, 1)),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 800) / 400))),
    ],
)
def test_other_window_functions(kind: str, formula: Any) -> None:
    tags = {"WindowCenter": ["800", "10"], "WindowWidth": ["400", "20"], "VOILUTFunction": kind}
    found = rgb(dicom(ramp(), tags=tags))[..., 0].ravel()
    assert np.array_equal(found, np.rint(formula(ramp().ravel().astype(float)) * 255).astype(np.uint8))


def test_a_voi_lut_wins_over_the_window() -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    table = Dataset()
    table.LUTDescriptor = [1600, 0, 16]
    table.LUTData = (65535 - 40 * np.arange(1600)).astype("<u2").tobytes()
    tags = {"VOILUTSequence": Sequence([table]), "WindowCenter": "0", "WindowWidth": "1"}
    found = rgb(dicom(ramp(), tags=tags))[..., 0].ravel()
    assert np.array_equal(found, np.rint((65535 - 40 * ramp().ravel()) / 65535 * 255).astype(np.uint8))


def test_colour_and_frames_of_dicom() -> None:
    colours = picture(5)
    assert np.array_equal(rgb(dicom(colours, photometric="RGB")), colours)
    several = decode(dicom(np.stack([ramp(), ramp()[::-1]])))
    assert several.is_animated
    assert np.array_equal(np.asarray(several.image), rgb(dicom(ramp())))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (dicom(ramp())[:-20], "damaged"),
        (b"\0" * 128 + b"DICM", "without an image|damaged"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 400, "without an image|damaged"),
        (dicom(ramp(), photometric="PALETTE COLOR"), "PALETTE COLOR"),
        (dicom(ramp(), tags={"Rows": 60_000, "Columns": 60_000}), "more than"),
        (dicom(ramp(), tags={"ImageComments": "1.2.840.10008.1.2.1.99"}), "deflated"),
    ],
)
def test_hostile_dicom_says_why(data: bytes, reason: str) -> None:
    with strict_pillow(), pytest.raises(UnreadableImage, match=reason):
        decode(data)


def test_without_pydicom_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data, real = dicom(ramp()), builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("pydicom"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"honed\[dicom\]"):
        decode(data)
