"""Rows on disk are the rows that `load_dataset` makes of the same table, with the same words where it refuses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from honed.data import dataset as dataset_module
from honed.data import spill, stored_rows
from honed.data.checks import CheckSettings, check_rows
from honed.data.dataset import Dataset
from honed.data.issue_table import Issue
from honed.data.loading import load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles
from honed.data.stored_rows import StoredRows, streamed_fingerprint
from honed.data.token_checks import Tokenizer
from honed.errors import DataError, HonedError
from honed.events import Emitter
from stored_tables import faulty_rows, stored, write
from unit.test_bad_files import CASES, Case

ROLES = {
    "ids of the content": Roles(id="", group=""),
    "given ids": Roles(group=""),
    "ids of the content, groups": Roles(id=""),
    "template": Roles(template="{text} {patient}", group="patient"),
}


@pytest.fixture(autouse=True)
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "SPILL_BYTES", 100)


def same(one: Dataset, other: Dataset) -> bool:
    names = ("example_id", "label", "group", "row")
    return (
        all(getattr(one, name).tolist() == getattr(other, name).tolist() for name in names)
        and list(one.inputs) == list(other.inputs)
        and one.label_names == other.label_names
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("roles", ROLES.values(), ids=ROLES.keys())
def test_rows_are_those_of_the_table(roles: Roles, suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a{suffix}", faulty_rows())
    loaded = load_dataset(read_table(str(path)), roles, require_label=True)
    found = stored(path, roles)
    n = len(loaded.dataset)
    assert (found.n_rows, found.roles, found.notices) == (loaded.n_rows, loaded.roles, loaded.notices)
    assert list(found.left_out()) == loaded.issues.issues()
    assert same(found.rows.take(np.arange(n)), loaded.dataset)
    shuffled = np.random.default_rng(0).permutation(n)
    assert same(found.rows.take(shuffled), loaded.dataset.take(shuffled))
    assert streamed_fingerprint(found.rows.batches(), n) == loaded.dataset.fingerprint


def test_fingerprint_in_parts_is_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = stored(write(tmp_path / "a.csv", faulty_rows())).rows
    monkeypatch.setattr(stored_rows, "_SORTED_ROWS", 50)
    assert streamed_fingerprint(rows.batches(), len(rows)) == rows.take(np.arange(len(rows))).fingerprint


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_refused_in_memory_is_refused_with_the_same_words(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    if callable(case.content):
        case.content(path)
    else:
        path.write_bytes(case.content.encode() if isinstance(case.content, str) else case.content)
    with pytest.raises(HonedError) as in_memory:
        load_dataset(read_table(str(path)), case.roles, require_label=True)
    with pytest.raises(type(in_memory.value)) as streamed:
        stored(path, case.roles)
    assert str(streamed.value) == str(in_memory.value)


def test_a_column_of_countless_labels_is_refused_before_all_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "_MOST_NAMES", 2000)
    path = write(tmp_path / "a.csv", [{"text": f"t{i}", "label": f"l{i}"} for i in range(20_000)])
    with pytest.raises(DataError, match="looks like an id") as caught:
        stored(path)
    assert "20000" not in str(caught.value)


def test_sample_has_whole_merged_groups_and_the_ids_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", faulty_rows())
    rows = stored(path, Roles(id="")).rows
    checked = check_rows(rows, CheckSettings(2, Tokenizer(None, None, None)), lambda issue: None, Emitter())
    whole = rows.take(np.arange(len(rows)))
    whole = replace(whole, group=whole.group[checked.bearer])
    assert len(set(whole.group.tolist())) == checked.summary["n_groups"] < checked.summary["n_groups_before"]
    sample = rows.sample(100, checked.group, checked.bearer)
    assert 50 < len(sample) <= 100
    chosen = np.isin(whole.group, sample.group)
    assert same(sample, whole.take(np.flatnonzero(chosen)))
    assert same(rows.sample(10_000, checked.group, checked.bearer), whole)


class Recorder:
    """Rows that remember how many of them were asked for at once."""

    def __init__(self, rows: StoredRows) -> None:
        self.rows, self.largest = rows, 0
        self.label, self.row, self.label_names = rows.label, rows.row, rows.label_names

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: npt.ArrayLike) -> Dataset:
        self.largest = max(self.largest, len(np.asarray(index)))
        return self.rows.take(index)

    def batches(self) -> Iterator[Dataset]:
        for batch in self.rows.batches():
            self.largest = max(self.largest, len(batch))
            yield batch


def test_never_more_than_a_batch_of_rows_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dataset_module, stored_rows):
        monkeypatch.setattr(module, "BATCH_ROWS", 64)
    monkeypatch.setattr("honed.data.duplicates._BLOCK", 64)
    rows = Recorder(stored(write(tmp_path / "a.csv", faulty_rows(2000))).rows)
    tokenizer = Tokenizer(lambda texts: [[1] * len(text) for text in texts], str, 20)
    test = [["appeal dismissed"]] * 100
    found: list[Issue] = []
    check_rows(rows, CheckSettings(2, tokenizer, test), found.append, Emitter())
    assert len(found) > 1000 and {"split_duplicate", "test_contamination"} <= {issue.check for issue in found}
    assert rows.largest == 64
