"""CSV and JSON lines, read strictly: every fault is named with its line, nothing is guessed away."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.data.cells import NESTED_ROW_KEY, cell_text
from honed.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = (",", ";", "\t", "|")
_MANY_HIGH_BYTES = 0.3
_SNIFFED_ROWS = 50
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode_utf8(data: bytes, path: Path) -> str:
    """The file's text without a byte order mark.

    Raises DataError for another encoding (naming the first bad byte, its line and the probable encoding) or NUL bytes.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            f"{path} is not UTF-8: line 1, byte 1 is 0x{data[0]:02X}.",
            cause="Its byte order mark says that it is UTF-16 (Excel's 'Unicode text').",
            remedy=_reencode(path, "UTF-16"),
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `error.object` lacks the byte order mark that utf-8-sig removed, so positions refer to it, not to `data`.
        before = bytes(error.object[: error.start])
        start_of_line = before.rfind(b"\n") + 1
        line, place, bad = before.count(b"\n") + 1, error.start - start_of_line + 1, error.object[error.start]
        encoding = _probable_encoding(data)
        raise DataError(
            f"{path} is not UTF-8: line {line}, byte {place} of the line is 0x{bad:02X}.",
            cause="The file ends in the middle of a character, so it is probably cut off."
            if error.reason == "unexpected end of data"
            else f"It is probably encoded as {encoding or 'a non-Latin code page (GB18030, Shift-JIS, CP1251, ...)'}.",
            remedy=_reencode(path, encoding or "ENCODING"),
        ) from None
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise DataError(
            f"{path} holds a NUL byte in line {line} ({text.count(chr(0))} in all).",
            cause="It is UTF-16 without a byte order mark, a binary file, or was damaged while it was written.",
            remedy=f"Export it again as UTF-8 text, or remove them: tr -d '\\000' < {path} > clean{path.suffix}",
        )
    return text


def _probable_encoding(data: bytes) -> str | None:
    """Windows-1252 if the file decodes as such and is mostly ASCII, as Western texts are; None if unclear."""
    n_high = sum(byte >= 0x80 for byte in data[:100_000])
    if n_high > _MANY_HIGH_BYTES * min(len(data), 100_000):
        return None
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    return "WINDOWS-1252"


def _reencode(path: Path, encoding: str) -> str:
    return f"Save it as UTF-8, for example: iconv -f {encoding} -t UTF-8 {path} > utf8{path.suffix}"


def empty_file(path: Path, what: str) -> DataError:
    """The error of a file without rows."""
    return DataError(
        f"{path} {what}.",
        cause="There is no row to learn from or to predict.",
        remedy="Check the export that wrote it; the first line names the columns, each further line is one example.",
    )


def read_csv(path: Path, data: bytes) -> pa.Table:
    """A table whose columns are all strings ("007" stays "007"); an empty cell is "".

    The delimiter is sniffed (comma, semicolon, tab, bar; `.tsv` is tab). Blank lines are skipped.

    Raises DataError, naming the line, for wrong encoding, ragged rows, open quotes, repeated or missing columns.
    """
    import pyarrow as pa

    text = decode_utf8(data, path).lstrip("\r\n")
    if not text.strip():
        raise empty_file(path, "is empty")
    n_skipped_lines = _n_lines(decode_utf8(data, path)) - _n_lines(text)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else sniff_delimiter(text)
    records = _parse(text, delimiter, path, n_skipped_lines)
    header = [name.strip() or f"unnamed_{i}" for i, name in enumerate(records[0][1])]
    refuse_repeated_columns(header, path)
    rows = records[1:]
    if not rows:
        raise empty_file(path, f"has a header ({', '.join(header[:5])}) but no rows")
    ragged = [(line, len(row)) for line, row in rows if len(row) != len(header)]
    if ragged:
        line, n_fields = ragged[0]
        more = f" ({len(ragged)} such rows in all)" if len(ragged) > 1 else ""
        raise DataError(
            f"{path}, line {line}: the row has {n_fields} field{'s' * (n_fields != 1)}, but the header has"
            f" {len(header)}{more}.",
            cause=f"The delimiter is {_name(delimiter)}; a text that holds one must stand in double quotes.",
            remedy=f'Write "a text{delimiter} like this" in double quotes, or export as JSON lines.',
        )
    columns = zip(*(row for _, row in rows), strict=True)
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(header, columns, strict=True)})


def sniff_delimiter(text: str) -> str:
    """The delimiter that occurs in the header, outside quotes; of several, the one that cuts the first rows evenly."""
    first = re.match(r'(?:[^"\r\n]|"(?:[^"]|"")*+")*+', text)
    header = re.sub(r'"(?:[^"]|"")*+"', "", first.group() if first else "")
    present = sorted((d for d in DELIMITERS if d in header), key=lambda d: (-header.count(d), DELIMITERS.index(d)))
    for delimiter in present[: len(present) if len(present) > 1 else 0]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            lengths = {len(row) for row, _ in zip(reader, range(_SNIFFED_ROWS), strict=False) if row}
        except csv.Error:
            continue
        if len(lengths) == 1:
            return delimiter
    return present[0] if present else ","


def _parse(text: str, delimiter: str, path: Path, line_offset: int) -> list[tuple[int, list[str]]]:
    """(line of its start, fields) of every record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[tuple[int, list[str]]] = []
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        while True:
            line = reader.line_num + 1 + line_offset
            try:
                row = next(reader)
            except StopIteration:
                return records
            except csv.Error as error:
                is_open = "unexpected end" in str(error)
                raise DataError(
                    f"{path}, line {line}: the row that starts here "
                    + ("opens a double quote that is never closed." if is_open else "has text after a closing quote."),
                    cause="Inside a quoted text, a double quote is written twice; a backslash does not protect it."
                    f" The CSV reader said: {error}.",
                    remedy='Write "He said ""yes""." for a text with quotes, or export as JSON lines.',
                ) from None
            if row:
                records.append((line, row))
    finally:
        csv.field_size_limit(limit)


def _n_lines(text: str) -> int:
    return len(re.findall(r"\r\n|\n|\r", text))


def _name(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}[delimiter]


def refuse_repeated_columns(names: list[str], path: Path | str) -> None:
    """Raise DataError if two columns have the same name."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        places = "; ".join(f"{r!r} is column {[i + 1 for i, n in enumerate(names) if n == r]}" for r in repeated[:5])
        raise DataError(
            f"{path} has several columns with the same name: {places}.",
            cause="It would be left to chance which of them is read.",
            remedy="Rename or remove all but one.",
        )


def read_json(path: Path, data: bytes) -> pa.Table:
    """A table of strings from JSON lines, or from one JSON array of objects; null, NaN and absent keys are null.

    Lists and objects are kept as their JSON text and the column is marked (`NESTED_ROW_KEY`), so that only a
    column that is really used is refused. Lone surrogates become U+FFFD, which a structural check reports.

    Raises DataError naming the line for broken JSON or a value that is not an object.
    """
    import pyarrow as pa

    text = decode_utf8(data, path)
    if not text.strip():
        raise empty_file(path, "is empty")
    if text.lstrip().startswith("["):
        whole = _loads(text, path, None)
        values = [(f"element {i + 1}", value) for i, value in enumerate(whole)]
    else:
        lines = re.split(r"\r\n|\n|\r", text)
        values = [(f"line {i + 1}", _loads(line, path, i + 1)) for i, line in enumerate(lines) if line.strip()]
    if not values:
        raise empty_file(path, "holds an empty list")
    columns: dict[str, list[str | None]] = {}
    nested: dict[str, int] = {}
    for n, (where, value) in enumerate(values):
        if not isinstance(value, dict):
            raise DataError(
                f"{path}, {where}: a JSON object is needed, but this is a {type(value).__name__}.",
                remedy='Write each example as one object a line, for example {"text": "...", "label": "..."}.',
            )
        for key, cell in value.items():
            column = columns.setdefault(_clean(key), [])
            column.extend([None] * (n - len(column)))
            if isinstance(cell, (dict, list)):
                nested.setdefault(_clean(key), n + 1)
                column.append(_clean(json.dumps(cell, ensure_ascii=False)))
            else:
                text_of_cell = cell_text(cell)
                column.append(None if text_of_cell is None else _clean(text_of_cell))
    if not columns:
        raise empty_file(path, "holds objects without any key")
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


def _clean(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)
