"""Small pictures of the images that a report shows, kept in the run folder: the report is made from it alone."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from honed.data.dataset import Dataset
from honed.data.image_files import ImageFile
from honed.data.images import UnreadableImage, decode, read_bytes, sha256_of, strict_pillow
from honed.data.tables import write_parquet

LARGEST_SIDE = 96
_QUALITY = 90


def write_thumbnails(path: Path, dataset: Dataset, example_ids: Iterable[str]) -> None:
    """Write `example_id, jpeg, problem` for these images: a JPEG of at most 96 x 96 pixels, or why there is none."""
    import pyarrow as pa

    wanted = set(example_ids)
    chosen = [i for i, example in enumerate(dataset.example_id.tolist()) if example in wanted]
    with strict_pillow():
        made = [_thumbnail(dataset.inputs[i]) for i in chosen]
    columns = {
        "example_id": pa.array([str(dataset.example_id[i]) for i in chosen], pa.string()),
        "jpeg": pa.array([jpeg for jpeg, _ in made], pa.binary()),
        "problem": pa.array([problem for _, problem in made], pa.string()),
    }
    write_parquet(pa.table(columns), path)


def _thumbnail(file: ImageFile) -> tuple[bytes | None, str]:
    from PIL import Image

    try:
        data = read_bytes(file.path)
        if sha256_of(data) != file.sha256:
            raise UnreadableImage("the file changed since the run began")
        image = decode(data).image
    except UnreadableImage as reason:
        return None, reason.problem
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=_QUALITY, subsampling=0, exif=b"", icc_profile=None)
    return written.getvalue(), ""
