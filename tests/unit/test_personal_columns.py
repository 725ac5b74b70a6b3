"""Personal data in the columns beside the text: told by column, kind and count, and gone from the redacted copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from honed.data.personal.columns import kind_of_cells
from honed.data.personal.find import find_personal_batch
from honed.data.personal_columns import PersonalColumns
from honed.data.redaction import redact_file

PEOPLE = {
    "name": ["Jane Doe", "Zorblax Quux", "Doe, Peter", "unknown", ""],
    "phone": ["5551234567", "5551234567", "", "n/a", "0301234567"],
    "note": ["call Dr. Grayson", "", "write to jane@example.org", "jane@example.org", "-"],
    "price": ["12.50", "4539578763621486.0", "3", "", "7"],
}


def found(columns: dict[str, list[str]], part: int) -> PersonalColumns:
    personal = PersonalColumns(find_personal_batch)
    for first in range(0, 5, part):
        personal.add({name: cells[first : first + part] for name, cells in columns.items()}, {})
    return personal


@pytest.mark.parametrize("part", [1, 2, 5])
def test_columns_kinds_and_counts_but_never_a_cell(part: int) -> None:
    personal = found(PEOPLE, part)
    assert personal.summary() == {"name": {"name": 3}, "note": {"name": 1, "email": 2}, "phone": {"phone": 3}}
    told = {issue.evidence: issue.score for issue in personal.issues()}
    assert told == {
        "Column 'name': names of persons in 3 of 3 filled cells.": 0.0,
        "Column 'note': names of persons in 1 of 3 filled cells.": pytest.approx(2 / 3),
        "Column 'note': e-mail addresses in 2 of 3 filled cells.": pytest.approx(1 / 3),
        "Column 'phone': phone numbers in 3 of 3 filled cells.": 0.0,
    }
    assert {(issue.action, issue.row) for issue in personal.issues()} == {("review", -1)}


def test_names_of_products_make_no_column_of_persons() -> None:
    products = ["Blue Widget", "Aspirin", "Widget of Peter Parker", "Red Widget", "Cable 3 m"]
    assert found({"name": products}, 5).summary() == {"name": {"name": 1}}
    persons = ["Jane Doe", "Zorblax Quux"]
    kinds = {name: kind_of_cells(name, persons, find_personal_batch) for name in ("Customer", "file_name", "e-mail")}
    assert kinds == {"Customer": "name", "file_name": None, "e-mail": "email"}
    assert kind_of_cells("name", ["", "n/a"], find_personal_batch) is None


def test_a_joined_column_counts_by_its_name_alone_and_a_nested_one_not_at_all() -> None:
    personal = PersonalColumns(find_personal_batch)
    personal.add({"meta": ["jane@example.org"]}, {"phone": ["5551234567"], "story": ["jane@example.org"]})
    assert personal.summary() == {"meta": {"email": 1}, "phone": {"phone": 1}}
    assert personal.summary(left_out=["meta"]) == {"phone": {"phone": 1}}


def test_the_copy_has_one_pseudonym_for_one_value_in_all_columns_and_nothing_is_found_in_it(tmp_path: Path) -> None:
    lines = ["name,email,phone,text"]
    lines += [f"{name},u{i % 3}@example.org,555123456{i % 2},mail u{i % 3}@example.org" for i, name in enumerate(NAMES)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    redact_file(str(tmp_path / "a.csv"), tmp_path / "b.csv", find_personal_batch)
    rows = [line.split(",") for line in (tmp_path / "b.csv").read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == ["<NAME_1>", "<NAME_2>", "<NAME_3>", "<NAME_1>"]
    assert [row[3] for row in rows] == [f"mail {row[1]}" for row in rows]
    assert [row[1] for row in rows] == ["<EMAIL_1>", "<EMAIL_2>", "<EMAIL_3>", "<EMAIL_1>"]
    assert [row[2] for row in rows] == ["<PHONE_1>", "<PHONE_2>", "<PHONE_1>", "<PHONE_2>"]
    personal = PersonalColumns(find_personal_batch)
    personal.add(dict(zip(lines[0].split(","), map(list, zip(*rows, strict=True)), strict=True)), {})
    assert personal.summary() == {}


NAMES = ("Jane Doe", "Zorblax Quux", "Peter Parker", "Jane Doe")
