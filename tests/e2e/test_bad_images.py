"""Every kind of bad image, through `honed check`, `honed fit` and `honed predict`: a row or a clear
reason each, and none of them ends the run.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from image_files import dicom, encoded, picture, write_images
from image_runs import LABELS, coloured, save_tiny_image_base

N_GOOD = 45
GREY = np.random.default_rng(0).integers(0, 4096, (20, 20)).astype(np.uint16)
SECRET = "NHS-9434765919"


def bomb() -> bytes:
    """A PNG of a few bytes that claims to be 20,000 x 20,000."""
    body = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    header = struct.pack(">I", len(body)) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    return b"\x89PNG\r\n\x1a\n" + header + encoded(picture(1))[33:]


def frames() -> bytes:
    first, second = (Image.fromarray(picture(i)) for i in (70, 71))
    return encoded(first, "GIF", save_all=True, append_images=[second])


@dataclass(frozen=True)
class Bad:
    """data : of the file; None writes none.    check : the finding it must become; "" if it is read like any other.
    says : a part of the evidence.
    """

    data: bytes | None
    check: str = ""
    says: str = ""


BAD = {
    "corrupted.png": Bad(encoded(picture(90, 64))[:200], "unreadable_image", "damaged"),
    "noise.jpg": Bad(b"\xff\xd8\xff" + b"\x13" * 300, "unreadable_image"),
    "text.png": Bad(b"not an image at all", "unreadable_image", "no image of a known format"),
    "zero.png": Bad(b"", "unreadable_image", "the file is empty (0 bytes)"),
    "missing.png": Bad(None, "unreadable_image", "there is no such file"),
    "../outside.png": Bad(None, "unreadable_image", "leads out of the table's folder"),
    "bomb.png": Bad(bomb(), "unreadable_image", "more than 89,478,485"),
    "script.svg": Bad(b"<svg onload='alert(1)'/>", "unreadable_image", "no image of a known format"),
    "hostile.dcm": Bad(b"\0" * 128 + b"DICM", "unreadable_image"),
    "nopixels.dcm": Bad(dicom(GREY, patient=SECRET, tags={"Rows": 9999}), "unreadable_image"),
    "dot.png": Bad(encoded(picture(91, 1)), "tiny_image", "1 x 1"),
    "strip.png": Bad(encoded(Image.new("RGB", (20_000, 9), "red")), "blank_image"),
    "wrong.png": Bad(encoded(picture(92), "JPEG"), "mislabelled_format", "is a JPEG file"),
    "frames.gif": Bad(frames(), "several_frames", "only the first is read"),
    "cmyk.jpg": Bad(encoded(Image.fromarray(picture(93)).convert("CMYK"), "JPEG")),
    "palette.png": Bad(encoded(Image.fromarray(picture(94)).quantize(16))),
    "deep.png": Bad(encoded(GREY)),
    "clear.png": Bad(encoded(Image.fromarray(picture(95)).convert("RGBA"))),
    "scan.dcm": Bad(dicom(GREY[:, ::-1], patient=SECRET)),
}
UNREADABLE = {name for name, bad in BAD.items() if bad.check == "unreadable_image"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good pictures first, then one bad file of each kind, each of them with a label."""
    folder = write_images(tmp_path_factory.mktemp("bad") / "data", coloured(N_GOOD))
    table = [f"{name},{LABELS[i % 3]}" for i, name in enumerate(coloured(N_GOOD))]
    for i, (name, bad) in enumerate(BAD.items()):
        if bad.data is not None:
            (folder / name).write_bytes(bad.data)
        table.append(f"{name},{LABELS[i % 3]}")
    (folder / "metadata.csv").write_text("file_name,label\n" + "\n".join(table) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    """A run over them, through the command line."""
    from e2e.conftest import run_cli

    base, out = save_tiny_image_base(data.parent / "base"), data.parent / "run"
    short = ("--image-size", 28, "--folds", 3, "--epochs", 1, "--depth", 1, "--device", "cpu")
    said = run_cli("fit", data, "--base", base.path, *short, "--out", out)
    assert said.code in (0, 4), said.stderr  # 4: the gate may fail such a model, which is no concern here
    return out


def found(rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Name of the bad file -> check -> evidence, of the findings about its row."""
    names, result = list(BAD), {name: {} for name in BAD}
    for row in rows:
        if row["row"] >= N_GOOD:
            result[names[row["row"] - N_GOOD]][row["check"]] = row["evidence"]
    return result


def judge(findings: dict[str, dict[str, str]]) -> None:
    for name, bad in BAD.items():
        told = findings[name]
        assert ("unreadable_image" in told) is (name in UNREADABLE), (name, told)
        assert not bad.check or bad.says in told[bad.check], (name, told)
        assert name not in UNREADABLE or name in told["unreadable_image"], "the file is named"


def test_check_tells_each_of_them_and_goes_on(cli: Callable, data: Path, tmp_path: Path) -> None:
    said = cli("check", data, "--out", tmp_path / "issues.parquet")
    assert said.code == 0 and "Usable." in said.stdout, said.stderr
    assert f"{N_GOOD + len(BAD) - len(UNREADABLE)} usable of {N_GOOD + len(BAD)}" in said.stdout
    judge(found(pq.read_table(tmp_path / "issues.parquet").to_pylist()))


def test_fit_leaves_out_what_cannot_be_read_and_trains_on_the_rest(run: Path) -> None:
    judge(found(pq.read_table(run / "issues.parquet").to_pylist()))
    facts = json.loads((run / "dataset.json").read_text())
    assert (facts["n_used"], facts["n_rows"]) == (N_GOOD + len(BAD) - len(UNREADABLE), N_GOOD + len(BAD))
    oof, holdout = (pq.read_table(run / name)["example_id"].to_pylist() for name in ("oof.parquet", "holdout.parquet"))
    assert len({*oof, *holdout}) == facts["n_used"], "nothing else is lost"
    for file in run.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


def test_predict_gives_each_row_an_answer_or_a_reason(cli: Callable, run: Path, data: Path, tmp_path: Path) -> None:
    said = cli("predict", run, data, "--output", tmp_path / "answers.parquet")
    assert said.code == 0, said.stderr
    answers = pq.read_table(tmp_path / "answers.parquet").column("prediction").to_pylist()
    assert {name for name, answer in zip(BAD, answers[N_GOOD:], strict=True) if answer is None} == UNREADABLE
    assert None not in answers[:N_GOOD]


def test_a_table_of_nothing_but_bad_images_is_refused_with_the_first_reason(cli: Callable, tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(9)]
    folder = write_images(tmp_path / "data", dict.fromkeys(names, b""))
    for command in ("check", "fit"):
        said = cli(command, folder, "--base", save_tiny_image_base(tmp_path / command).path)
        assert said.code == 3 and "the file is empty (0 bytes)" in " ".join(said.stderr.split()), said.stderr
        assert "Traceback" not in said.stderr
