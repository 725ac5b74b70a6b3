"""Roles, labels, ids and groups: from a table to a dataset."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from honed.data.dataset import UNLABELLED
from honed.data.loading import LoadedData, load_dataset, sorted_label_names
from honed.data.roles import Roles
from honed.errors import DataError, UsageError


def load(columns: dict[str, object], roles: Roles | None = None, *, require_label: bool = True) -> LoadedData:
    return load_dataset(pa.table(columns), roles or Roles(), require_label=require_label)


FOUR = {"text": ["a", "b", "c", "d"], "label": ["x", "y", "x", "y"]}


@pytest.mark.parametrize("name", ["text", "Sentence", "REVIEW", "message", "abstract"])
def test_obvious_text_column_is_found_whatever_its_case(name: str) -> None:
    found = load({"other": ["q"] * 4, name: FOUR["text"], "intent": FOUR["label"]}).roles
    assert (found.text, found.label) == (name, "intent")


def test_only_column_of_long_strings_is_taken_as_text_and_said_so() -> None:
    loaded = load({"code": ["q"] * 4, "notes": ["a rather long text of a person"] * 4, "y": FOUR["label"]})
    assert loaded.roles.text == "notes"
    assert any("'notes'" in notice and "--text" in notice for notice in loaded.notices)


def test_two_columns_of_long_strings_need_a_choice() -> None:
    long = ["a rather long text of a person"] * 4
    with pytest.raises(UsageError, match="one, two all hold long texts"):
        load({"one": long, "two": long, "label": FOUR["label"]})


def test_probable_group_is_used_with_a_notice_and_can_be_switched_off() -> None:
    columns = FOUR | {"patient_id": ["p", "p", "q", ""]}
    loaded = load(columns)
    assert loaded.dataset.group.tolist() == ["p", "p", "q", loaded.dataset.example_id[3]]
    assert any("'patient_id'" in notice for notice in loaded.notices)
    assert "role_guessed" in loaded.issues.check.tolist()
    off = load(columns, Roles(group=""))
    assert off.dataset.group.tolist() == off.dataset.example_id.tolist()
    assert off.notices == ()


def test_named_group_column_needs_no_notice() -> None:
    assert load(FOUR | {"group": list("ppqq")}).notices == ()


def test_rows_without_text_or_label_are_left_out_and_listed() -> None:
    loaded = load({"text": ["a", " ", "c", "d", None, "f", "g"], "label": ["x", "y", "", "y", "x", "x", " y "]})
    assert loaded.n_rows == 7
    assert loaded.dataset.row.tolist() == [0, 3, 5, 6]
    assert loaded.issues.counts() == {"empty_text": 2, "missing_label": 1}
    assert loaded.issues.row.tolist() == [1, 2, 4]
    assert set(loaded.issues.action.tolist()) == {"drop"}
    assert loaded.dataset.label_names == ("x", "y")


def test_prediction_keeps_every_row_in_order() -> None:
    loaded = load({"text": ["b", "", None, "a", "a"]}, Roles(label="gone", group="gone"), require_label=False)
    assert loaded.dataset.inputs == ["b", "", "", "a", "a"]
    assert loaded.dataset.label.tolist() == [UNLABELLED] * 5
    assert len(set(loaded.dataset.example_id.tolist())) == 5


@pytest.mark.parametrize("values", [[1, 2, 10, 1], [1.0, 2.0, 10.0, 1.0], ["1", "2", "10", "1"]])
def test_numeric_labels_are_the_same_in_every_file_format_and_sort_as_numbers(values: list[object]) -> None:
    columns = {"text": [*"abcdefgh"], "label": values + values}
    assert load(columns).dataset.label_names == ("1", "2", "10")


def test_integers_with_a_gap_stay_integers() -> None:
    loaded = load({"text": [*"abcde"], "label": pa.array([0.0, 1.0, None, 1.0, 0.0])})
    assert loaded.dataset.label_names == ("0", "1")
    assert loaded.issues.counts() == {"missing_label": 1}


def test_label_names_sort_as_text_unless_all_are_integers() -> None:
    assert sorted_label_names(["10", "9", "a", ""]) == ("10", "9", "a")
    assert sorted_label_names(["10", "9", "-1"]) == ("-1", "9", "10")


def test_given_label_names_keep_their_indices() -> None:
    loaded = load_dataset(pa.table(FOUR), Roles(), require_label=True, label_names=("y", "x"))
    assert loaded.dataset.label.tolist() == [1, 0, 1, 0]


def test_ids_and_fingerprint_do_not_depend_on_the_order_of_rows() -> None:
    columns = {
        "text": ["same", "same", "same", "other", "same", "other"],
        "label": ["x", "y", "x", "y", "", "x"],
        "group": ["1", "2", "3", "4", "5", "5"],
    }
    one = load(columns)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(6)
        two = load({name: [values[i] for i in order] for name, values in columns.items()})
        assert two.dataset.fingerprint == one.dataset.fingerprint


def test_leaving_out_an_unlabelled_twin_renames_nobody() -> None:
    twin = load({"text": ["t", "t", "b", "c", "d"], "label": ["", "x", "y", "x", "y"]}).dataset
    alone = load({"text": ["t", "b", "c", "d"], "label": ["x", "y", "x", "y"]}).dataset
    assert twin.example_id.tolist() == alone.example_id.tolist()


def test_named_ids_are_used_and_can_be_switched_off() -> None:
    columns = FOUR | {"id": ["i1", "i2", "i3", "i3"]}
    with pytest.raises(DataError, match="'i3'"):
        load(columns)
    assert len(load(columns, Roles(id="")).dataset) == 4


def test_template_joins_columns_and_missing_cells_are_empty() -> None:
    columns = {"title": ["A", None, "C", None], "the body": ["a", "b", None, " "], "label": FOUR["label"]}
    loaded = load(columns, Roles(template=r"T: {title}\n{the body} {{x}}"), require_label=False)
    assert loaded.dataset.inputs == ["T: A\na {x}", "T: \nb {x}", "T: C\n {x}", ""]
    assert loaded.roles.text is None


def test_template_never_reads_inside_a_cell() -> None:
    loaded = load(
        {"text": ["{label}", "%s", "{0}", "{text.__class__}"], "label": FOUR["label"]}, Roles(template="{text}!")
    )
    assert loaded.dataset.inputs == ["{label}!", "%s!", "{0}!", "{text.__class__}!"]


def test_the_columns_of_a_template_stay_at_hand_for_baselines_that_read_tables() -> None:
    cells = {"age": [31, 40, None, 22, 51], "city": ["Rome", "Oslo", "Rome", None, "Bari"]}
    table = pa.table({**cells, "label": ["a", "b", "a", "b", None]})
    loaded = load_dataset(table, Roles(label="label", template="{age} {city}"), require_label=True)
    assert set(loaded.dataset.columns) == {"age", "city"} and len(loaded.dataset) == 4
    part = loaded.dataset.take([3, 0])
    assert part.columns["age"].tolist() == ["22", "31"] and part.columns["city"].tolist() == ["", "Rome"]
    assert load_dataset(table, Roles(text="city"), require_label=False).dataset.columns == {}
