"""JSON lines, read strictly and in batches: every fault is named with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from honed.data.cells import NESTED_ROW_KEY, cell_text
from honed.data.table_stream import BATCH_BYTES, BATCH_ROWS, Batch
from honed.data.text_files import TextFile, empty_file
from honed.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_SURROGATE = re.compile("[\ud800-\udfff]")


class _Value(NamedTuple):
    place: str
    value: Any
    n_characters: int
    n_bytes_read: int


def json_batches(file: TextFile, columns: Sequence[str] | None) -> Iterator[Batch]:
    """Batches of strings from JSON lines, or from one JSON array of objects; null, NaN and absent keys are null.

    A batch has the columns of all rows up to its end. Lists and objects are kept as their JSON text and the column is
    marked (`NESTED_ROW_KEY`), so that only a column that is really used is refused. Lone surrogates become U+FFFD,
    which a structural check reports. Only an array is held in memory as a whole.

    Raises DataError naming the line for broken JSON or a value that is not an object.
    """
    values = _elements(file) if file.first_character == "[" else _lines(file)
    known = list(columns or ())
    n_rows = 0
    pending: list[_Value] = []  # objects without any key wait for the first key
    for batch in _batches(values):
        pending += batch
        table = _table(file.path, pending, known, n_rows, is_open=columns is None)
        if table.num_columns:
            yield Batch(table, pending[-1].n_bytes_read)
            known = table.column_names
            n_rows += len(pending)
            pending = []
    if pending:
        raise empty_file(file.path, "holds objects without any key")
    if not n_rows:
        raise empty_file(file.path, "holds an empty list")


def _lines(file: TextFile) -> Iterator[_Value]:
    with file.lines() as (text, raw):
        for number, line in enumerate(text, 1):
            if line.strip():
                value = _loads(line.rstrip("\r\n"), file.path, number)
                yield _Value(f"line {number}", value, len(line), raw.tell())


def _elements(file: TextFile) -> Iterator[_Value]:
    with file.lines() as (text, _):
        whole = _loads(text.read(), file.path, None)
    for i, value in enumerate(whole):
        yield _Value(f"element {i + 1}", value, BATCH_BYTES // BATCH_ROWS, file.n_bytes)


def _batches(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    batch: list[_Value] = []
    n_characters = 0
    for value in values:
        batch.append(value)
        n_characters += value.n_characters
        if len(batch) == BATCH_ROWS or n_characters >= BATCH_BYTES:
            yield batch
            batch, n_characters = [], 0
    if batch:
        yield batch


def _table(
    path: Path, values: Sequence[_Value], known: Sequence[str], n_rows_before: int, *, is_open: bool
) -> pa.Table:
    """The rows' cells in the known columns and, with `is_open`, in those that they bring."""
    import pyarrow as pa

    columns: dict[str, list[str | None]] = {name: [] for name in known}
    nested: dict[str, int] = {}
    for n, (place, value, _, _) in enumerate(values):
        if not isinstance(value, dict):
            raise DataError(
                f"{path}, {place}: a JSON object is needed, but this is a {type(value).__name__}.",
                remedy='Write each example as one object a line, for example {"text": "...", "label": "..."}.',
            )
        for key, cell in value.items():
            name = without_surrogates(key)
            if not is_open and name not in columns:
                continue
            column = columns.setdefault(name, [])
            column.extend([None] * (n - len(column)))
            if isinstance(cell, (dict, list)):
                nested.setdefault(name, n_rows_before + n + 1)
                column.append(without_surrogates(json.dumps(cell, ensure_ascii=False)))
            else:
                text_of_cell = cell_text(cell)
                column.append(None if text_of_cell is None else without_surrogates(text_of_cell))
    fields = [
        pa.field(name, pa.string(), metadata={NESTED_ROW_KEY: str(nested[name])} if name in nested else None)
        for name in columns
    ]
    arrays = [pa.array(column + [None] * (len(values) - len(column)), pa.string()) for column in columns.values()]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _loads(text: str, path: Path, line: int | None) -> Any:
    try:
        return json.loads(text, parse_constant=lambda name: None if name == "NaN" else name)
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}, column {error.colno}"
        cause = error.msg
    except (RecursionError, ValueError) as error:
        place, cause = f"line {line or 1}", str(error)
    raise DataError(
        f"{path}, {place}: this is not valid JSON.",
        cause=f"{cause}." + (" Each line must hold one whole object." if line else ""),
        remedy="Mend or remove the line; a pretty-printed object must be written on one line (jq -c . FILE).",
    ) from None


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for every lone surrogate: nothing can write or tokenize one."""
    return _SURROGATE.sub("\ufffd", text)
