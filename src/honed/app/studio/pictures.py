"""Pictures of rows that are reviewed: read from where the run read them, made small."""

from __future__ import annotations

import io
from pathlib import Path

from honed.config import read_config
from honed.data.image_files import find_image
from honed.data.images import UnreadableImage, decode, read_bytes, strict_pillow
from honed.pipeline.run_folder import RunFolder

LARGEST_SIDE = 640


def picture_of(run: RunFolder, name: str) -> bytes:
    """The image that the run's own table calls `name`, as a JPEG of at most 640 x 640 pixels.

    Raises UnreadableImage if it is not there any more, or no image.
    """
    from PIL import Image

    if not name:
        raise UnreadableImage("this run kept no names of its images")
    source = Path(str(read_config(run.config).get("data") or ""))
    folder = source if source.is_dir() else source.parent
    data = read_bytes(find_image(name, folder))
    with strict_pillow():
        image = decode(data).image
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=88)
    return written.getvalue()
