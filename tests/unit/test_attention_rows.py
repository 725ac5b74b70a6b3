"""Which rows are looked at, which regions they have, and how new inputs are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from honed.data.dataset import UNLABELLED, Dataset
from honed.data.image_files import examine_all
from honed.errors import DataError, UsageError
from honed.pipeline.attention_rows import mask_column, read_regions, stratified
from image_files import encoded, picture

IDS = np.array([f"row {i}" for i in range(100)])


def test_rows_are_drawn_in_the_shares_of_the_classes() -> None:
    label = np.array([0] * 80 + [1] * 20)
    for n in (5, 10, 50):
        assert abs((label[stratified(label, IDS, n, 0)] == 1).sum() - n / 5) <= 1
    assert sorted(stratified(label, IDS, 500, 0)) == list(range(100))


def test_the_choice_depends_on_the_rows_and_the_seed_alone() -> None:
    label = np.arange(100) % 3
    order = np.random.default_rng(0).permutation(100)
    chosen = IDS[stratified(label, IDS, 20, 4)]
    assert (IDS[order][stratified(label[order], IDS[order], 20, 4)] == chosen).all()
    assert (IDS[stratified(label, IDS, 7, 4)] == chosen[:7]).all()
    assert set(IDS[stratified(label, IDS, 20, 5)]) != set(chosen)


def rows(folder: Path, masks: list[str]) -> Dataset:
    names = [f"{i}.png" for i in range(len(masks))]
    for i, name in enumerate(names):
        (folder / name).write_bytes(encoded(picture(i, 12)))
    n, ids = len(masks), np.array(names)
    return Dataset(
        ids, list(examine_all(names, folder)), np.full(n, UNLABELLED), ids, (), np.arange(n),
        traits={"mask": np.array(masks, dtype=object), "image size": np.zeros((n, 2))},
    )  # fmt: skip


def test_masks_that_cannot_be_used_leave_the_border(tmp_path: Path) -> None:
    own = np.zeros((12, 12), dtype=np.uint8)
    own[:6] = 5
    (tmp_path / "good.mask.png").write_bytes(encoded(own))
    (tmp_path / "small.mask.png").write_bytes(encoded(own[:6]))
    (tmp_path / "junk.mask.png").write_bytes(b"junk")
    masks = ["good.mask.png", "small.mask.png", "junk.mask.png", "gone.png", "", "../elsewhere.png"]
    found = read_regions(rows(tmp_path, masks), "mask", "values", tmp_path)
    assert sorted(found.faults) == [1, 2, 3, 4, 5]
    assert "12" in found.faults[1] and "Row 2" in found.faults[1]
    assert set(found.regions[0]) == {"value 5", "background", "image border"}
    assert all(set(own) == {"image border"} for own in found.regions[1:])
    cover = found.on_patches(2, 28, "stretch")
    np.testing.assert_allclose(cover["value 5"][0], [[1, 1], [0, 0]])
    assert cover["value 5"][1:].max() == 0 and cover["image border"].min() > 0


def test_no_mask_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"None of the 2 masks of column 'mask' can be used\. Row 1"):
        read_regions(rows(tmp_path, ["a.png", ""]), "mask", "values", tmp_path)


def test_values_that_are_no_chest_are_told(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(encoded(np.arange(144, dtype=np.uint8).reshape(12, 12) % 6))
    with pytest.raises(DataError, match="5 values above 0"):
        read_regions(rows(tmp_path, ["m.png"]), "mask", "chest", tmp_path)


def test_the_column_of_masks(tmp_path: Path) -> None:
    data = rows(tmp_path, ["a", "b"])
    assert mask_column(data, None) == "mask" and mask_column(data, "") == ""
    with pytest.raises(UsageError, match="Did you mean 'mask'"):
        mask_column(data, "maks")
    with pytest.raises(UsageError, match="no such column"):
        mask_column(data, "image size")  # measured, no column of the user's
    texts = Dataset(IDS[:2], ["a", "b"], np.zeros(2, dtype=np.int64), IDS[:2], ("x",), np.arange(2))
    assert mask_column(texts, None) == ""
    with pytest.raises(UsageError, match="classifies texts"):
        mask_column(texts, "mask")
