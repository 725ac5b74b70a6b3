"""Thumbnails of the images that a report shows: small, without metadata, and a reason where one cannot be made."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from golden.make_run import RunOptions, make_run
from honed.data.loading import load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles
from honed.evidence.report import render_report
from honed.evidence.run_facts import read_run
from honed.pipeline.thumbnails import write_thumbnails
from image_files import encoded, picture, write_images

SECRET = b"jane.doe@example.org"


def test_small_pictures_without_metadata_and_reasons_where_there_is_none(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    images = {"wide.png": encoded(Image.fromarray(picture(0, 300)).resize((300, 60)), exif=exif)}
    images |= {f"{i}.png": encoded(picture(i, 20)) for i in range(1, 5)} | {"deep.png": b""}
    images["deep.png"] = encoded(np.arange(400, dtype=np.uint16).reshape(20, 20))
    folder = write_images(tmp_path / "data", images)
    dataset = load_dataset(read_table(str(folder)), Roles(), require_label=True).dataset
    (folder / "2.png").unlink()
    (folder / "3.png").write_bytes(encoded(picture(9)))
    write_thumbnails(tmp_path / "t.parquet", dataset, dataset.example_id[[0, 1, 2, 3, 5]].tolist())
    assert SECRET not in (tmp_path / "t.parquet").read_bytes()
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["problem"] for row in rows] == [
        "", "", "there is no such file", "the file changed since the run began", ""
    ]  # fmt: skip
    sizes = [Image.open(io.BytesIO(row["jpeg"])).size if row["jpeg"] else None for row in rows]
    assert sizes == [(96, 19), (20, 20), None, None, (20, 20)]


def test_the_report_holds_the_pictures_and_says_which_are_lacking(tmp_path: Path) -> None:
    make_run(tmp_path / "run", RunOptions())
    facts = read_run(tmp_path / "run")
    assert facts.labels is not None and "<img" not in render_report(facts) and "img-src" not in render_report(facts)
    first, second, third = facts.labels.example_id[:3].tolist()
    jpeg = encoded(picture(1), "JPEG")
    table = {
        "example_id": [first, second],
        "jpeg": pa.array([jpeg, None], pa.binary()),
        "problem": ["", "it is <gone>"],
    }
    pq.write_table(pa.table(table), tmp_path / "run" / "thumbnails.parquet")
    page = render_report(read_run(tmp_path / "run"))
    section = page[page.index('<section id="labels"') :].split("</section>")[0]
    cards = {
        example: next(card for card in section.split("<li>") if f"· {example}<" in card)
        for example in table["example_id"]
    }
    held = re.search(r'src="data:image/jpeg;base64,([^"]+)"', cards[first])
    assert held is not None and base64.b64decode(held[1]) == jpeg
    assert "picture not shown, because it is &lt;gone&gt;" in cards[second] and "<img" not in cards[second]
    assert third in section and "img-src data:" in page
