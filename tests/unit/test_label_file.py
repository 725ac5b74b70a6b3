"""The file of `honed labels`: it survives a spreadsheet, hostile texts included, and comes back by example id."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from honed.app.label_views import labels_json, labels_table, next_commands, show_labels
from honed.data.dataset import Dataset
from honed.data.decisions import Decision, read_decisions
from honed.data.spreadsheet_cells import guarded, unguarded
from honed.errors import DataError
from honed.evidence.label_table import LabelTable, label_rows
from honed.pipeline.label_file import LARGEST_CELL, JudgedLabels, write_decision_file
from honed.pipeline.run_folder import RunFolder

NAMES = ("=A1", "-1", 'refund, "full"', "'@x")
TEXTS = [
    '=HYPERLINK("http://example.invalid","click")',
    "<script>alert(1)</script> [bold red]x[/] {{ 7*7 }}",
    "\x1b[31mred\x07 \u202egnp.exe \x00 \r end",
    "word " * 20_000,
    "",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    'two\nlines; with "quotes", and\ttabs',
    "caf\u00e9 \u00a3 \u05e9\u05dc\u05d5\u05dd",
]
IDS = ["=1+1", "-5", "plain", "'=quoted", "+49 30", "@home", "e7e0", "007"]


def judged(texts: list[str] | None = TEXTS) -> JudgedLabels:
    n = len(IDS)
    label = np.arange(n) % 4
    table = LabelTable(
        np.array(IDS), np.arange(n) + 10, np.array(NAMES)[label], np.array(NAMES)[(label + 1) % 4],
        np.linspace(0.001, 0.9, n), np.arange(n) < 3, np.full(n, 3), np.arange(n) % 4, np.array([IDS[3]] * n),
    )  # fmt: skip
    kept = None if texts is None else dict(zip(IDS, texts, strict=True))
    return JudgedLabels(RunFolder(Path("runs/x 1")), table, kept, ("specialist", "tfidf_logreg"))


def data() -> Dataset:
    n = len(IDS)
    ids = np.array(IDS)
    return Dataset(ids, TEXTS, np.arange(n) % 4, ids, NAMES, np.arange(n))


def cells_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def save_as_excel_does(path: Path, rows: list[dict[str, str]]) -> None:
    """Semicolons, a byte order mark, CRLF, words in capitals for truth: what a German Excel writes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=";", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({**row, "is_flagged": row["is_flagged"].upper()} for row in rows)
    path.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())


@given(st.text() | st.text(alphabet="'=+-@1.,a\t\uff1d"))
def test_a_guarded_cell_comes_back_and_starts_no_formula(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell
    assert guarded(cell)[:1] not in set("=+@\t\r\n\uff1d\uff0b\uff20")


def test_numbers_are_no_formulas() -> None:
    assert [guarded(cell) for cell in ("-1", "-0,5", "-1+1", "- x", "7")] == ["-1", "-0,5", "'-1+1", "'- x", "7"]


def test_every_row_is_written_worst_first_with_two_columns_to_fill_in(tmp_path: Path) -> None:
    labels = judged()
    for name in ("a.csv", "a.parquet"):
        write_decision_file(tmp_path / name, labels.rows())
    table = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["example_id"] for row in table] == IDS and [row["text"] for row in table] == TEXTS
    assert [row["row"] for row in table] == list(range(11, 19)), "counted from 1"
    assert {row["decision"] + row["new_label"] for row in table} == {""}
    cells = cells_of(tmp_path / "a.csv")
    assert list(cells[0]) == list(table[0])
    assert [float(row["quality"]) for row in cells] == [row["quality"] for row in table]
    assert [unguarded(row["example_id"]) for row in cells] == IDS


def test_no_cell_of_the_csv_runs_steers_or_spills(tmp_path: Path) -> None:
    write_decision_file(tmp_path / "a.csv", judged().rows())
    data = (tmp_path / "a.csv").read_bytes()
    assert b"\x00" not in data and b"\x1b" not in data and "\u202e".encode() not in data
    for row in cells_of(tmp_path / "a.csv"):
        for cell in row.values():
            assert cell[:1] not in tuple("=+@\t\r") and len(cell) <= LARGEST_CELL + 1
            assert cell[:1] != "-" or cell in ("-1", "-5")


def test_a_byte_order_mark_only_where_it_is_needed(tmp_path: Path) -> None:
    write_decision_file(tmp_path / "a.csv", judged().rows())
    write_decision_file(tmp_path / "b.csv", judged(["plain"] * len(IDS)).rows())
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert (tmp_path / "b.csv").read_bytes().startswith(b'"example_id"')


@pytest.mark.parametrize("how", ["csv", "excel", "parquet"])
def test_decisions_come_back(how: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.parquet" if how == "parquet" else "a.csv")
    write_decision_file(path, judged().rows())
    decisions = dict(zip(IDS, ("relabel", "Keep ", "drop", "relabel", "relabel", "", "", "drop"), strict=True))
    new_label = {"'=quoted": "=A1"}
    if how == "parquet":
        import pyarrow as pa

        rows = pq.read_table(path).to_pylist()
        for row in rows:
            row |= {"decision": decisions[row["example_id"]], "new_label": new_label.get(row["example_id"], "")}
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        cells = cells_of(path)
        for cell in cells:
            example = unguarded(cell["example_id"])
            cell |= {"decision": decisions[example], "new_label": new_label.get(example, "")}
        if how == "excel":
            save_as_excel_does(path, cells)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(cells[0]))
                writer.writeheader()
                writer.writerows(cells)
    assert read_decisions(str(path), data()) == {
        "=1+1": Decision("relabel", 1),  # to the suggested "-1"
        "-5": Decision("keep", 1),
        "plain": Decision("drop", 2),
        "'=quoted": Decision("relabel", 0),  # as the user wrote, which is not what was suggested
        "+49 30": Decision("relabel", 1),
        "007": Decision("drop", 3),
    }


def test_an_id_that_a_spreadsheet_made_a_number_of_is_named(tmp_path: Path) -> None:
    write_decision_file(tmp_path / "a.csv", judged().rows())
    cells = cells_of(tmp_path / "a.csv")
    cells[-1] |= {"example_id": "7", "decision": "drop"}
    save_as_excel_does(tmp_path / "a.csv", cells)
    with pytest.raises(DataError, match="row 8: there is no example '7' in the data; did a spreadsheet make a number"):
        read_decisions(str(tmp_path / "a.csv"), data())


def test_why_quotes_its_like_and_counts_those_that_agree() -> None:
    rows = judged().rows()
    assert rows[0]["why"].startswith("over 99% for '-1' rather than the given label; none of the 3 rows most like it")
    assert "1 of the 3 rows most like it carries the given label" in rows[1]["why"]
    assert len(max((row["why"] for row in rows), key=len)) < 400, "a text of 100,000 characters is quoted in part"
    alone = judged(None).rows(1)[0]
    assert alone["text"] is None and alone["why"].endswith(repr(IDS[3])), "without texts the id names its like"


def test_the_terminal_shows_hostile_texts_as_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    Console(file=file, width=120).print(labels_table(judged().rows(), "Text"))
    shown = file.getvalue()
    assert "\x1b" not in shown and "\x07" not in shown and "\u202e" not in shown
    assert "[bold red]x[/]" in shown and "\\x1b[31mred" in shown and len(shown) < 20_000
    show_labels(judged(None), judged(None).rows(2), None, 0)
    said = capsys.readouterr().out
    assert "3 of 8 labels look wrong. Judged by: specialist, tfidf_logreg." in said
    assert "because this run kept none" in said and "honed labels 'runs/x 1' --output labels.csv" in said


def test_nothing_flagged_is_said_and_no_row_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    labels = judged()
    none = LabelTable(*(column[:0] for column in vars(labels.table).values()))
    show_labels(JudgedLabels(labels.run, none, None, ()), [], Path("l.csv"), 0)
    said = capsys.readouterr().out
    assert "None of 0 labels look wrong." in said and "0 labels in l.csv" in said
    assert label_rows(none, None) == []


def test_the_next_command_and_the_json_name_the_file() -> None:
    labels = judged()
    assert next_commands(labels, Path("my labels.csv")) == [
        "honed fit --config 'runs/x 1/config.yaml' --decisions 'my labels.csv'"
    ]
    said = labels_json(labels, labels.rows(2, only_flagged=True), Path("l.csv"), 8)
    assert (said["n_judged"], said["n_flagged"], len(said["rows"]), said["n_written"]) == (8, 3, 2, 8)
