"""Decisions on labels: what a person wrote is followed to the letter, or refused with the row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from honed.data.dataset import Dataset
from honed.data.decisions import Decision, decided, read_decisions
from honed.data.targets import Targets
from honed.errors import DataError

HEADER = "example_id,text,given,suggested,decision,new_label\n"


@pytest.fixture
def dataset() -> Dataset:
    ids = np.array(["a", "b", "c", "d"])
    return Dataset(ids, ["w", "x", "y", "z"], np.array([0, 1, 0, 1]), ids, ("no", "yes"), np.arange(4))


def write(folder: Path, text: str) -> str:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_keep_relabel_drop_and_undecided(dataset: Dataset, tmp_path: Path) -> None:
    rows = "a,w,no,yes,Relabel,\nb,x,yes,no,keep,\nc,y,no,yes,drop ,\nd,z,yes,no,,\n"
    found = read_decisions(write(tmp_path, HEADER + rows), dataset)
    assert found == {"a": Decision("relabel", 1), "b": Decision("keep", 1), "c": Decision("drop", 0)}
    targets = decided(Targets(dataset.label, np.array([1.0, 0.2, 1.0, 0.5])), found, dataset.example_id)
    assert targets.label.tolist() == [1, 1, 0, 1] and targets.weight.tolist() == [1.0, 1.0, 0.0, 0.5]
    assert dataset.label.tolist() == [0, 1, 0, 1], "the data stay as they are"


def test_new_label_wins_over_the_suggestion(dataset: Dataset, tmp_path: Path) -> None:
    found = read_decisions(write(tmp_path, HEADER + "b,x,yes,yes,relabel,no\n"), dataset)
    assert found["b"] == Decision("relabel", 0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,w,no,yes,maybe,\n", "row 1: the decision 'maybe' is none of keep, relabel, drop"),
        ("q,w,no,yes,keep,\n", "row 1: there is no example 'q' in the data"),
        ("a,w,no,yes,keep,\na,w,no,yes,drop,\n", "row 2: example 'a' was decided before"),
        ("a,w,no,,relabel,\n", "row 1: no class is named in new_label or suggested"),
        ("a,w,no,yes,relabel,yess\n", "row 1: 'yess' is no class; did you mean 'yes'?"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_row(
    dataset: Dataset, tmp_path: Path, rows: str, said: str
) -> None:
    with pytest.raises(DataError) as refused:
        read_decisions(write(tmp_path, HEADER + rows), dataset)
    assert said in refused.value.problem


def test_all_faults_are_told_at_once(dataset: Dataset, tmp_path: Path) -> None:
    rows = "".join(f"q{i},w,no,yes,keep,\n" for i in range(8))
    with pytest.raises(DataError, match=r"8 decisions that cannot be followed.*and 3 more"):
        read_decisions(write(tmp_path, HEADER + rows), dataset)


def test_a_file_without_the_column_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column 'decision'"):
        read_decisions(write(tmp_path, "example_id,text\na,w\n"), dataset)
