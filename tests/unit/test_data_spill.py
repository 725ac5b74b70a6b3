"""What grows: the same in memory and on disk, and nothing left of it."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from honed.data import spill
from honed.data.spill import GrowingArray, StoredStrings
from honed.errors import HonedError

STRINGS = ["", "one", "zwei ß", "", "\ud83d lone", "x" * 1000, "\U0001f600"]


@pytest.fixture(params=[0, 1 << 20], ids=["on disk", "in memory"])
def budget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(spill, "SPILL_BYTES", request.param)
    return int(request.param)


def test_array_reads_what_was_appended(budget: int) -> None:
    array = GrowingArray(np.int32)
    assert len(array) == 0 and array.view().tolist() == []
    for first in range(0, 50, 10):
        array.append(np.arange(first, first + 10))
        assert array.view().tolist() == list(range(first + 10))
    assert array.is_spilled == (budget == 0)
    assert array.read(5, 25).tolist() == list(range(5, 25))
    assert array.read(50, 50).tolist() == []


def test_strings_are_taken_by_position_in_any_order(budget: int) -> None:
    strings = StoredStrings()
    strings.extend(STRINGS[:3])
    strings.extend([])
    strings.extend(STRINGS[3:])
    for index in ([], [0], [6, 5, 4, 3, 2, 1, 0], [2, 3, 4, 0, 0, 6]):
        assert strings.take(np.array(index, dtype=np.int64)) == [STRINGS[i] for i in index]


def test_batches_of_strings_keep_both_limits(budget: int) -> None:
    strings = StoredStrings()
    strings.extend(["x" * n for n in (3, 3, 3, 50, 1, 1, 1, 1, 1)])
    batches = [batch.tolist() for batch in strings.batches(max_strings=3, max_bytes=7)]
    assert batches == [[0, 1], [2], [3], [4, 5, 6], [7, 8]]


def test_the_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    array = GrowingArray(np.int64, budget_bytes=8)
    array.append(np.arange(1000))
    assert array.is_spilled and list(tmp_path.iterdir()) == []


class FullDisk:
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_is_told_with_the_folder_and_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(spill, "temporary_file", FullDisk)
    with pytest.raises(HonedError, match="disk is full") as caught:
        GrowingArray(np.int64, budget_bytes=0).append(np.arange(3))
    assert str(tmp_path) in caught.value.problem and "TMPDIR" in caught.value.remedy
