"""Tables in batches: the same rows, the same faults, wherever in a long file they stand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from honed.data import csv_files, json_files, readers, text_files
from honed.data.readers import open_table, read_table
from honed.data.table_stream import BATCH_ROWS
from honed.errors import DataError

N = 3 * BATCH_ROWS + 5
QUOTED = '"a text\nof two lines, in quotes",x\n'


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> int:
    for module in (csv_files, json_files, readers):
        monkeypatch.setattr(module, "BATCH_ROWS", 7)
    monkeypatch.setattr(text_files, "_PIECE_BYTES", 16)
    return 7


def csv_text(n: int) -> str:
    return "text,label\n" + "".join(QUOTED if i % 3 == 0 else f"text {i} é,y\n" for i in range(n))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json", ".parquet"])
def test_batches_one_after_another_are_the_table(tmp_path: Path, suffix: str, small_batches: int) -> None:
    rows = [{"text": f"text {i} ß\u20ac", "label": "xy"[i % 2], "n": str(i)} for i in range(50)]
    path = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        path.write_text("text,label,n\n" + "".join(",".join(row.values()) + "\n" for row in rows), encoding="utf-8")
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=20)
    else:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_text("\n".join(lines) if suffix == ".jsonl" else f"[{','.join(lines)}]", encoding="utf-8")
    stream = open_table(str(path))
    batches = list(stream.walk(None))
    assert [row for batch in batches for row in batch.table.to_pylist()] == rows == read_table(str(path)).to_pylist()
    assert max(batch.table.num_rows for batch in batches) <= small_batches
    read = [batch.n_bytes_read for batch in batches]
    assert read == sorted(read) and read[-1] == stream.n_bytes
    assert [batch.table.to_pylist() for batch in stream.walk(["n"])] == [
        [{"n": row["n"]} for row in batch.table.to_pylist()] for batch in batches
    ]
    assert stream.head(10).to_pylist() == rows[:10]
    assert stream.take(np.array([0, 6, 7, 49])).to_pylist() == [rows[i] for i in (0, 6, 7, 49)]
    assert stream.take(np.array([], dtype=np.int64)).num_rows == 0


def test_batches_are_bounded_by_characters_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "BATCH_BYTES", 1000)
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + f"{'x' * 400},y\n" * 20)
    assert max(batch.table.num_rows for batch in open_table(str(path)).walk(None)) == 3


def test_json_columns_that_come_late_are_null_before(tmp_path: Path, small_batches: int) -> None:
    rows: list[dict[str, object]] = [{}] * 10 + [{"text": "a"}] * 10 + [{"label": "x", "deep": [1]}]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    stream = open_table(str(path))
    full = [{"text": row.get("text"), "label": row.get("label"), "deep": None} for row in rows]
    full[-1]["deep"] = "[1]"
    assert stream.read().to_pylist() == full
    head = stream.head(3)
    assert head.column_names == ["text", "label", "deep"] and head.num_rows == 3
    assert (
        head.schema.field("deep").metadata
        == stream.read().schema.field("deep").metadata
        == {b"honed.first_nested_row": b"21"}
    )
    assert [row for batch in stream.walk(["label"]) for row in batch.table.to_pylist()] == [
        {"label": row["label"]} for row in full
    ]


FAULTS = {
    "ragged row": (csv_text(N) + "a,b,c\n" + csv_text(9)[11:] + "d\n", (N, "3 fields", "2 such rows")),
    "open quote": (csv_text(N) + '"open,x\n' + "a,b\n" * 9, (N, "never closed")),
    "text after a quote": (csv_text(N) + '"a" b,x\n', (N, "closing quote")),
    "NUL byte": (csv_text(N) + "a\0,x\nb\0,x\n", (N, "NUL", "2 in all")),
    "no UTF-8": (csv_text(N).encode() + b"caf\xe9,x\n", (N, "byte 4 of the line", "WINDOWS-1252")),
    "cut off": (csv_text(N).encode() + "é".encode()[:1], (N, "byte 1 of the line", "cut off")),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("pieces", [16, 1000, 1 << 22])
def test_fault_deep_in_a_file_is_named_with_its_line(
    name: str, pieces: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "_PIECE_BYTES", pieces)
    content, (n_rows, *names) = FAULTS[name]
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = csv_text(int(n_rows)).count("\n") + 1
    with pytest.raises(DataError) as caught:
        for _ in open_table(str(path)).walk(None):
            pass
    for fact in (f"line {line}", *map(str, names)):
        assert fact in str(caught.value), f"{fact!r} is not in {caught.value}"


@pytest.mark.parametrize("fault", ['{"text": "b"', "[1]", "7"])
def test_fault_deep_in_json_lines_is_named_with_its_line(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n\n' * N + fault + '\n{"text": "c"}\n')
    with pytest.raises(DataError, match=f"line {2 * N + 1}"):
        read_table(str(path))


def test_damage_deep_in_parquet_is_found_when_it_is_reached(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"text {i} {i * i}" for i in range(20_000)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=5000, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    at = content.index(b"text 15001 ")
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    batches = open_table(str(path)).walk(None)
    assert next(batches).table.column("text")[0].as_py() == "text 0 0"
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        list(batches)


def test_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "MAX_CELL_CHARACTERS", 1000)
    path = tmp_path / "a.csv"
    path.write_text('text,label\na,b\n"open,x\n' + "a,b\n" * 1000)
    with pytest.raises(DataError, match=r"line 3: .* over 1,000 characters, or opens a double quote"):
        read_table(str(path))


def test_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,b\n")
    stream = open_table(str(path))
    path.write_bytes(b"text,label\ncaf\xe9,b\n")
    with pytest.raises(DataError, match=r"a\.csv was changed while it was read"):
        stream.read()
