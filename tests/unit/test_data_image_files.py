"""From a table that names files to rows of images: paths, rows that are left out, patients, ids, traits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from honed.data.image_files import ImageFile, examine, examine_all, find_image, image_traits, patient_groups
from honed.data.images import UnreadableImage
from honed.data.loading import LoadedData, load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles
from honed.errors import DataError, UsageError
from image_files import dicom, encoded, picture, write_images

PICTURES = {f"images/{i}.png": encoded(picture(i)) for i in range(8)}


def load(folder: Path, roles: Roles | None = None, *, require_label: bool = True) -> LoadedData:
    return load_dataset(read_table(str(folder)), roles or Roles(), require_label=require_label)


def test_a_folder_with_metadata_is_images(tmp_path: Path) -> None:
    loaded = load(write_images(tmp_path, PICTURES))
    assert (loaded.roles.image, loaded.roles.text, loaded.roles.label) == ("file_name", None, "label")
    assert [str(image) for image in loaded.dataset.inputs] == list(PICTURES)
    assert (loaded.n_rows, len(loaded.issues)) == (8, 0)


def test_paths_are_sought_beside_the_table_not_where_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images(tmp_path / "data", PICTURES)
    monkeypatch.chdir(folder.parent)
    assert len(load(Path("data") / "metadata.csv").dataset) == 8


def test_a_text_column_wins_and_the_images_are_mentioned() -> None:
    table = pa.table({"file_name": ["a.png"] * 4, "text": list("abcd"), "label": list("xyxy")})
    loaded = load_dataset(table, Roles(), require_label=True)
    assert (loaded.roles.text, loaded.roles.image) == ("text", None)
    assert any("--image file_name" in notice for notice in loaded.notices)


def test_a_path_column_of_other_files_is_no_image() -> None:
    table = pa.table({"path": ["src/a.py"] * 4, "note": ["a rather long text about it"] * 4, "label": list("xyxy")})
    assert load_dataset(table, Roles(), require_label=True).roles.image is None


def test_image_and_text_exclude_each_other() -> None:
    table = pa.table({"a": list("abcd"), "b": list("abcd"), "label": list("xyxy")})
    with pytest.raises(UsageError, match=r"--text 'a' and --image 'b'"):
        load_dataset(table, Roles(text="a", image="b"), require_label=True)
    with pytest.raises(UsageError, match="image and the label at once"):
        load_dataset(table, Roles(image="label", label="label"), require_label=True)
    with pytest.raises(UsageError, match="Did you mean --image label"):
        load_dataset(table, Roles(image="labl"), require_label=True)


def test_every_bad_file_is_a_row_and_the_others_are_used(tmp_path: Path) -> None:
    bad = {
        "zero.png": b"",
        "cut.png": encoded(picture(9, size=64))[:100],
        "text.png": b"hello",
        "patient.dcm": b"\0" * 128 + b"DICM",
    }
    folder = write_images(tmp_path, PICTURES | bad)
    with (folder / "metadata.csv").open("a") as file:
        file.write("missing.png,a\n../outside.png,a\n,b\n")
    loaded = load(folder)
    assert len(loaded.dataset) == 8
    found = loaded.issues.where("unreadable_image")
    assert found.row.tolist() == [8, 9, 10, 11, 12, 13, 14]
    assert set(found.action.tolist()) == {"drop"}
    for evidence, reason in zip(
        found.evidence,
        ["0 bytes", "damaged", "no image of a known format", "DICOM|damaged", "no such file", "leads out", "no file"],
        strict=True,
    ):
        assert any(part in evidence for part in reason.split("|")), evidence
    assert len(set(found.example_id.tolist())) == 7


def test_if_no_image_can_be_read_the_first_reason_is_told(tmp_path: Path) -> None:
    folder = write_images(tmp_path, {f"{i}.png": b"junk" for i in range(6)})
    with pytest.raises(DataError, match=r"None of the 6 rows.*'0\.png': its content is no image"):
        load(folder)


def test_rows_to_predict_are_all_kept(tmp_path: Path) -> None:
    loaded = load(write_images(tmp_path, {"0.png": b"junk"} | PICTURES), require_label=False)
    assert len(loaded.dataset) == 9
    assert isinstance(loaded.dataset.inputs[0], UnreadableImage)


def test_a_name_must_stay_in_its_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside.png"
    folder.mkdir()
    outside.write_bytes(encoded(picture(0)))
    (folder / "link.png").symlink_to(outside)
    for name in ("../outside.png", "a/../../outside.png", "link.png"):
        with pytest.raises(UnreadableImage, match="leads out"):
            find_image(name, folder)
    assert find_image("a/../b.png", folder) == (folder / "b.png").resolve()
    assert examine(str(outside), folder).path == outside  # the user's own word


def test_odd_names_are_reasons_not_faults(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("a\0b.png", "x" * 300 + ".png", "pipe.png", "~/x.png", "  "):
        assert isinstance(examine_all([name], tmp_path)[0], UnreadableImage)


def test_windows_separators_are_understood(tmp_path: Path) -> None:
    write_images(tmp_path, PICTURES)
    assert examine("images\\0.png", tmp_path).sha256 == examine("images/0.png", tmp_path).sha256


def test_ids_and_fingerprint_depend_on_content_not_on_names(tmp_path: Path) -> None:
    one = load(write_images(tmp_path / "one", PICTURES)).dataset
    renamed = {f"other/{i}.png": data for i, data in enumerate(PICTURES.values())}
    two = load(write_images(tmp_path / "two", renamed)).dataset
    changed = load(write_images(tmp_path / "three", PICTURES | {"images/0.png": encoded(picture(99))})).dataset
    assert one.example_id.tolist() == two.example_id.tolist()
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != changed.fingerprint


def test_images_of_one_patient_are_one_group_without_the_id(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scans = {
        f"{i}.dcm": dicom(rng.integers(0, 4000, (8, 8), dtype=np.uint16), patient=patient)
        for i, patient in enumerate(["P-7731", "P-7731", "P-8802", "", "P-8802", ""])
    }
    folder = write_images(tmp_path, scans)
    loaded = load(folder)
    group = loaded.dataset.group.tolist()
    assert group[0] == group[1] != group[2] == group[4]
    assert len(set(group)) == 4
    assert "7731" not in "".join(group) + repr(vars(loaded.roles)) + "".join(loaded.notices)
    assert any("patient" in notice for notice in loaded.notices)
    assert len(set(load(folder, Roles(group="")).dataset.group.tolist())) == 6


def test_patient_groups_do_not_depend_on_the_order(tmp_path: Path) -> None:
    files = [examine(name, write_images(tmp_path, PICTURES)) for name in PICTURES]
    patients = [ImageFile(**(vars(file) | {"patient": f"P{i % 3}"})) for i, file in enumerate(files)]
    assert patient_groups(patients) == patient_groups(patients[::-1])[::-1]


def test_traits_hold_what_must_not_tell_the_class(tmp_path: Path) -> None:
    sizes = {"a.png": encoded(picture(0, size=20)), "b.jpg": encoded(picture(1, size=40), "JPEG")}
    white = np.full((30, 60), 255, np.uint8)
    files = [examine(name, write_images(tmp_path, sizes | {"c.png": encoded(white)})) for name in (*sizes, "c.png")]
    traits = image_traits(files)
    assert traits["image size"].tolist() == [[20, 20, 1, 400], [40, 40, 1, 1600], [60, 30, 2, 1800]]
    assert traits["border of the image"][2].tolist() == [255, 0]
    assert traits["file size"][0].tolist() == [len(sizes["a.png"]), len(sizes["a.png"]) / 400]
    assert traits["image format"].shape == (3, 3)
    loaded = load(write_images(tmp_path / "more", PICTURES))
    assert set(loaded.dataset.traits) == {*traits, "file_name"}
    assert loaded.dataset.take([1, 2]).traits["image size"].shape == (2, 4)


def test_a_one_pixel_image_has_a_border(tmp_path: Path) -> None:
    (tmp_path / "dot.png").write_bytes(encoded(np.full((1, 1), 7, np.uint8)))
    dot = examine("dot.png", tmp_path)
    assert (dot.width, dot.height, dot.border_mean, dot.border_std) == (1, 1, 7, 0)
