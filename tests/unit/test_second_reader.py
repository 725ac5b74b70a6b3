"""The specialist against a second reader: errors of both, their ratio, and a column that nothing learns from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from evidence_tables import draw, from_predicted, singles
from honed.data.dataset import UNLABELLED
from honed.data.loading import LoadedData, load_dataset
from honed.data.roles import Roles
from honed.errors import DataError, EvidenceError, UsageError
from honed.evidence.report_clinical import ratio_words
from honed.evidence.report_format import figure
from honed.evidence.second_reader import NO_BOUND, NO_ERROR, NO_LABEL, against_reader

LABEL = np.arange(200) % 2


def wrong(n: int, offset: int = 0) -> np.ndarray:
    """The labels with n of them turned."""
    said = LABEL.copy()
    said[offset : offset + n] = 1 - said[offset : offset + n]
    return said


def judged(specialist: np.ndarray, reader: np.ndarray) -> dict:
    rows = from_predicted(LABEL.tolist(), specialist.tolist(), 2)
    return against_reader(rows, reader, singles(rows), level=0.95)


def test_a_quarter_of_the_readers_errors() -> None:
    found = judged(wrong(8), wrong(32, 100))
    assert (found["specialist"]["n_errors"], found["reader"]["n_errors"]) == (8, 32)
    ratio = found["error_ratio"]
    assert ratio["value"] == pytest.approx(0.25)
    assert 0.1 < ratio["low"] < 0.25 < ratio["high"] < 0.6
    assert found["error_difference"]["value"] == pytest.approx(-0.12)
    assert found["error_difference"]["high"] < 0
    assert found["specialist"]["kappa"]["value"] > found["reader"]["kappa"]["value"]
    words = ratio_words(ratio, figure(found["error_difference"]))
    assert "0.250" in words and "fewer errors than the reader" in words and "−12.0 points" in words


def test_errors_on_the_same_rows_narrow_the_interval() -> None:
    apart, same = (judged(wrong(16), wrong(32, offset))["error_ratio"] for offset in (100, 0))
    assert apart["value"] == same["value"] == pytest.approx(0.5)
    assert same["low"] > apart["low"] and same["high"] < apart["high"]


def test_rows_without_a_readers_label_are_counted_and_in_no_figure() -> None:
    reader = wrong(32, 100)
    reader[:50] = NO_LABEL
    found = judged(wrong(8), reader)
    assert (found["n"], found["n_without_reader"]) == (150, 50)
    assert found["specialist"]["n_errors"] == 0  # its eight errors lie among the fifty
    with pytest.raises(EvidenceError, match="label of the reader"):
        judged(wrong(8), np.full(200, NO_LABEL))


def test_a_reader_without_errors_gives_no_finite_bound() -> None:
    ratio = judged(wrong(5), wrong(0))["error_ratio"]
    assert ratio["value"] is None and ratio["high"] is None and ratio["note"] == NO_BOUND
    assert ratio["low"] > 1  # but that is known
    assert "no finite bound. At least" in ratio_words(ratio, figure(None))
    none = judged(wrong(0), wrong(5))["error_ratio"]
    assert none["value"] == none["low"] == 0 and 0 < none["high"] < 2
    both = judged(wrong(0), wrong(0))["error_ratio"]
    assert (both["value"], both["low"], both["high"], both["note"]) == (None, 0, None, NO_ERROR)


def test_agreement_throughout_is_no_certainty() -> None:
    kappa = judged(wrong(0), wrong(5))["specialist"]["kappa"]
    assert kappa["value"] == kappa["high"] == 1 and 0.9 < kappa["low"] < 1


def test_many_classes_have_errors_and_kappa_alone() -> None:
    rows, group = draw(120, 5, 1.0, n_folds=3)
    found = against_reader(rows, (rows.label + (np.arange(120) % 4 == 0)) % 5, group, level=0.9)
    assert found["reader"]["n_errors"] == 30
    assert "sensitivity" not in found["reader"] and len(found["reader"]["kappa"]["per_fold"]) == 3


COLUMNS = {
    "text": ["a", "b", "c", "d", "e"],
    "label": ["ill", "well", "ill", "well", "ill"],
    "second": ["ill", "ill", " well", None, "ill "],
}


def load(columns: dict[str, list], **roles: str) -> LoadedData:
    return load_dataset(pa.table(columns), Roles(**roles), require_label=True)


def test_the_column_is_read_and_kept_from_the_checks() -> None:
    dataset = load(COLUMNS, reader="second").dataset
    assert dataset.reader.tolist() == [0, 0, 1, UNLABELLED, 0]
    assert "second" not in dataset.traits and dataset.take([3, 0]).reader.tolist() == [UNLABELLED, 0]
    blind = load_dataset(pa.table({"text": ["a"], "second": ["?"]}), Roles(reader="second"), require_label=False)
    assert blind.dataset.reader is None  # rows to predict are compared with nobody
    plain = load(COLUMNS).dataset
    assert plain.reader is None and "second" in plain.traits
    assert plain.fingerprint == dataset.fingerprint  # the holdout's ledger knows that these are the same rows


def test_a_column_called_like_a_label_stays_the_readers() -> None:
    columns = {"words": COLUMNS["text"], "intent": COLUMNS["label"], "label": COLUMNS["second"]}
    found = load(columns, reader="label", text="words").roles
    assert (found.label, found.reader) == ("intent", "label")


@pytest.mark.parametrize("name", ["text", "label"])
def test_a_column_that_plays_another_part_is_no_reader(name: str) -> None:
    with pytest.raises(UsageError, match=f"--reader {name} is the column of --{name} too"):
        load(COLUMNS, reader=name, text="text", label="label")


def test_a_reader_among_the_models_features_is_refused() -> None:
    with pytest.raises(UsageError, match="--template too") as refused:
        load(COLUMNS, reader="second", template="{text} {second}")
    assert "would read what the other reader said" in str(refused.value)


def test_a_missing_column_and_unknown_labels_are_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean --reader second"):
        load(COLUMNS, reader="secnd")
    with pytest.raises(DataError, match="'healthy' in 1 rows, first in row 2") as refused:
        load(COLUMNS | {"second": ["ill", "healthy", "well", "ill", "ill"]}, reader="second")
    assert "The classes are ill, well" in str(refused.value)
    with pytest.raises(DataError, match="Did you mean 'well'"):
        load(COLUMNS | {"second": ["ill", "Well", "well", "ill", "ill"]}, reader="second")
    with pytest.raises(DataError, match="second"):
        load(COLUMNS | {"second": [["ill"]] * 5}, reader="second")
