"""CSV, read strictly and in batches: every fault is named with its line, nothing is guessed away."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from honed.data.table_stream import BATCH_BYTES, BATCH_ROWS, Batch
from honed.data.text_files import TextFile, empty_file, refuse_repeated_columns
from honed.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_ROWS = 50
_SNIFFED_CHARACTERS = 1 << 23
# A quote that is never closed would else take the rest of the file into one cell.
MAX_CELL_CHARACTERS = 1 << 26

_Record = tuple[int, list[str]]  # the line in which it begins, its fields


def csv_batches(file: TextFile, columns: Sequence[str] | None) -> Iterator[Batch]:
    """Batches whose columns are all strings ("007" stays "007"); an empty cell is "".

    The delimiter is sniffed (comma, semicolon, tab, bar; `.tsv` is tab). Blank lines are skipped.

    Raises DataError, naming the line, for ragged rows, open quotes, repeated or missing columns.
    """
    delimiter = "\t" if file.path.suffix.lower() == ".tsv" else _sniffed(file)
    with file.lines() as (text, raw):
        records = _Records(csv.reader(text, delimiter=delimiter, strict=True), file)
        names = [name.strip() or f"unnamed_{i}" for i, name in enumerate(records.batch(1)[0][1])]
        refuse_repeated_columns(names, file.path)
        n_rows = 0
        while found := records.batch(BATCH_ROWS):
            n_rows += len(found)
            if any(len(fields) != len(names) for _, fields in found):
                raise _ragged(found, records, len(names), delimiter)
            yield Batch(_table(found, names, columns), raw.tell())
        if not n_rows:
            raise empty_file(file.path, f"has a header ({', '.join(names[:5])}) but no rows")


class _Records:
    """The records of a file that are not blank, some at a time."""

    def __init__(self, reader: csv._reader, file: TextFile) -> None:  # type: ignore[name-defined]
        self._reader, self.file = reader, file

    def batch(self, n_rows: int) -> list[_Record]:
        """The next records: about `BATCH_BYTES` characters at most; none at the end of the file."""
        found: list[_Record] = []
        n_characters = 0
        with _long_cells():
            while len(found) < n_rows and n_characters < BATCH_BYTES:
                line = self._reader.line_num + 1
                try:
                    fields = next(self._reader)
                except StopIteration:
                    break
                except csv.Error as error:
                    raise _broken(self.file, line, str(error)) from None
                if fields:
                    found.append((line, fields))
                    n_characters += sum(map(len, fields))
        return found


@contextmanager
def _long_cells() -> Iterator[None]:
    """Cells of up to `MAX_CELL_CHARACTERS` inside the block; the limit belongs to the whole process."""
    before = csv.field_size_limit(MAX_CELL_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _table(records: Sequence[_Record], names: Sequence[str], columns: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    cells = dict(zip(names, zip(*(fields for _, fields in records), strict=True), strict=True))
    wanted = names if columns is None else columns
    return pa.table({name: pa.array(cells[name], pa.string()) for name in wanted})


def _ragged(found: list[_Record], records: _Records, n_columns: int, delimiter: str) -> DataError:
    """The error for the first row of another length; the rest of the file is read for their number."""
    line = n_fields = n_ragged = 0
    while found:
        for begin, fields in found:
            if len(fields) != n_columns:
                if not n_ragged:
                    line, n_fields = begin, len(fields)
                n_ragged += 1
        found = records.batch(BATCH_ROWS)
    more = f" ({n_ragged} such rows in all)" if n_ragged > 1 else ""
    return DataError(
        f"{records.file.path}, line {line}: the row has {n_fields} field{'s' * (n_fields != 1)}, but the header has"
        f" {n_columns}{more}.",
        cause=f"The delimiter is {_name(delimiter)}; a text that holds one must stand in double quotes.",
        remedy=f'Write "a text{delimiter} like this" in double quotes, or export as JSON lines.',
    )


def _broken(file: TextFile, line: int, reason: str) -> DataError:
    if "field larger" in reason:
        what = f"has a cell of over {MAX_CELL_CHARACTERS:,} characters, or opens a double quote that is never closed."
    elif "unexpected end" in reason:
        what = "opens a double quote that is never closed."
    else:
        what = "has text after a closing quote."
    return DataError(
        f"{file.path}, line {line}: the row that starts here {what}",
        cause="Inside a quoted text, a double quote is written twice; a backslash does not protect it."
        f" The CSV reader said: {reason}.",
        remedy='Write "He said ""yes""." for a text with quotes, or export as JSON lines.',
    )


def _sniffed(file: TextFile) -> str:
    with file.lines() as (text, _):
        start = text.read(_SNIFFED_CHARACTERS)
    return sniff_delimiter(start.lstrip("\r\n"), is_whole=len(start) < _SNIFFED_CHARACTERS)


def sniff_delimiter(text: str, *, is_whole: bool = True) -> str:
    """The delimiter that occurs in the header, outside quotes; of several, the one that cuts the first rows evenly.

    is_whole : False if the text is only the beginning of a file, so that its last row may be cut off.
    """
    first = re.match(r'(?:[^"\r\n]|"(?:[^"]|"")*+")*+', text)
    header = re.sub(r'"(?:[^"]|"")*+"', "", first.group() if first else "")
    present = sorted((d for d in DELIMITERS if d in header), key=lambda d: (-header.count(d), DELIMITERS.index(d)))
    for delimiter in present[: len(present) if len(present) > 1 else 0]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            with _long_cells():
                rows = list(islice(reader, _SNIFFED_ROWS))
        except csv.Error:
            continue
        if not is_whole and len(rows) < _SNIFFED_ROWS:
            rows = rows[:-1]
        if len({len(row) for row in rows if row}) == 1:
            return delimiter
    return present[0] if present else ","


def _name(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}[delimiter]
