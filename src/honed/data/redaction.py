"""A redacted copy of a table: personal data replaced by pseudonyms, every other byte as it was.

CSV and JSON are edited in place of their cells, not parsed and written anew: delimiters, quotes, line ends, numbers and
the order of keys stay. A file is read and written in parts, so that it may be larger than memory; but for a `.json`
array, which is one value.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.data.cells import cell_text
from honed.data.csv_files import sniff_delimiter
from honed.data.issue_table import shorten
from honed.data.personal.columns import kind_of_column
from honed.data.personal.hit import Finder
from honed.data.personal.pseudonyms import Pseudonyms
from honed.errors import DataError, OutputError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_PART_CHARACTERS = 1 << 20
_PART_ROWS = 10_000
_SNIFFED_CHARACTERS = 1 << 20
_CSV_SUFFIXES, _JSON_SUFFIXES = (".csv", ".tsv"), (".jsonl", ".ndjson", ".json")
_JSON_BETWEEN = re.compile(r"(?:[\s\ufeff]|true|false|null|NaN|-?Infinity)*+")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\]:,]|-?\d[\d.eE+-]*+', re.DOTALL)


@dataclass(frozen=True)
class Redacted:
    """What was written.

    path : the copy.        n_replaced, n_distinct : places and different values of each kind.
    not_scanned : columns that hold neither text nor, by their name, personal data; they were copied.
    """

    path: Path
    n_replaced: dict[str, int]
    n_distinct: dict[str, int]
    not_scanned: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Cell:
    """text[start:end] of a part says `value`: the cell of a column, or what `key` holds in an object that is one."""

    start: int
    end: int
    column: str
    key: str
    value: str


def redact_file(source: str, target: Path, finder: Finder, columns: Sequence[str] | None = None) -> Redacted:
    """Write a redacted copy of a CSV, TSV, JSON or Parquet file.

    columns : names of those to redact; None: all that hold text, and those whose name says that they hold personal
        data. Keys of nested JSON objects are part of their column.

    Promises: `source` is only read; `target` appears whole or not at all; the same file gives the same copy.

    Raises OutputError if the target exists, UsageError for another format, a folder, or columns that do not exist.
    """
    path = Path(source).expanduser()
    check_target(path, target)
    pseudonyms = Pseudonyms(finder)
    partial = target.with_name(target.name + ".partial")
    suffix = path.suffix.lower()
    not_scanned: tuple[str, ...] = ()
    try:
        if suffix == ".parquet":
            not_scanned = _redact_parquet(path, partial, pseudonyms, columns)
        else:
            parts = _csv_parts(path, columns) if suffix in _CSV_SUFFIXES else _json_parts(path, columns)
            encode = _csv_field if suffix in _CSV_SUFFIXES else _json_string
            with partial.open("w", encoding="utf-8", newline="") as file:
                for text, cells in parts:
                    file.write(_with_pseudonyms(text, cells, pseudonyms, encode))
        partial.replace(target)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}.", remedy=f"`honed check {path}` says where.") from None
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror}.", remedy="Choose another --redact."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return Redacted(target, dict(pseudonyms.n_replaced), pseudonyms.n_distinct, not_scanned)


def check_target(source: Path, target: Path) -> None:
    """Raise UsageError or OutputError if no redacted copy of `source` can be written to `target`."""
    if not source.is_file():
        raise UsageError(
            f"--redact needs a file to copy, and {source} is none.", remedy="Save the dataset as a file, and name that."
        )
    if source.suffix.lower() not in (*_CSV_SUFFIXES, *_JSON_SUFFIXES, ".parquet"):
        raise UsageError(
            f"--redact cannot copy {source.suffix or 'such'} files.", remedy="Save it as .csv or .parquet."
        )
    if target.suffix.lower() != source.suffix.lower():
        raise UsageError(
            f"--redact {target} ends with {target.suffix or 'no suffix'}, but {source} with {source.suffix}.",
            cause="The copy has the format of the original.",
            remedy=f"--redact {target.with_suffix(source.suffix)}",
        )
    if target.exists() or target.is_symlink():
        raise OutputError(f"--redact {target} exists; nothing was overwritten.", remedy="Name another file.")
    if not target.absolute().parent.is_dir():
        raise OutputError(f"--redact {target}: there is no folder {target.parent}.", remedy="Make it first.")


def _with_pseudonyms(text: str, cells: Sequence[_Cell], pseudonyms: Pseudonyms, encode: Callable[[str], str]) -> str:
    """The text with the cells that changed written anew, and everything else as it is."""
    replaced = pseudonyms.replace([cell.value for cell in cells], [cell.key for cell in cells])
    pieces, position = [], 0
    for cell, value in zip(cells, replaced, strict=True):
        if value != cell.value:
            pieces += [text[position : cell.start], encode(value)]
            position = cell.end
    return "".join((*pieces, text[position:]))


def _open_text(path: Path) -> io.TextIOWrapper:
    # A byte order mark stays, as the first character, so that it is copied too.
    return path.open(encoding="utf-8", newline="")


def _known(columns: Sequence[str] | None, header: Iterable[str], path: Path) -> None:
    missing = [name for name in columns or () if name not in set(header)]
    if missing:
        raise UsageError(
            f"--redact-columns names {missing[0]!r}, but {path} has no such column.",
            cause=f"Its columns are {', '.join(sorted(header)[:12])}.",
            remedy="Check the spelling.",
        )


def _csv_parts(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[str, list[_Cell]]]:
    """Parts of the file, each with its cells; a part ends with a record."""
    header: list[str] = []
    wanted: frozenset[str] | None = None
    with _open_text(path) as file:
        field = _field_pattern(path, file.read(_SNIFFED_CHARACTERS).lstrip("\ufeff\r\n"))
        file.seek(0)
        if file.read(1) == "\ufeff":
            yield "\ufeff", []
        else:
            file.seek(0)
        rest, size = "", _PART_CHARACTERS
        while True:
            read = file.read(size)
            text = rest + read
            records, end = _csv_records(text, field, is_last=not read)
            size = _PART_CHARACTERS if records else 2 * size  # a record longer than a part
            if not header and (names := next((record for record in records if not _is_blank(record)), None)):
                header = [_csv_value(text[a:b]).strip() or f"unnamed_{i}" for i, (a, b) in enumerate(names)]
                _known(columns, header, path)
                wanted = None if columns is None else frozenset(columns)
                records = records[records.index(names) + 1 :]
            yield (
                text[:end],
                [
                    _Cell(a, b, name, name, _csv_value(text[a:b]))
                    for record in records
                    for name, (a, b) in zip(header, record, strict=False)
                    if b > a and (wanted is None or name in wanted)
                ],
            )
            rest = text[end:]
            if not read:
                break


def _field_pattern(path: Path, start: str) -> re.Pattern[str]:
    """One field and what ends it: the delimiter, a line end or the end of the file."""
    d = re.escape("\t" if path.suffix.lower() == ".tsv" else sniff_delimiter(start))
    return re.compile(rf'("(?:[^"]|"")*+"|[^{d}\r\n"][^{d}\r\n]*+|)({d}|\r\n|\n|\r|\Z)')


def _csv_records(text: str, field: re.Pattern[str], *, is_last: bool) -> tuple[list[list[tuple[int, int]]], int]:
    """(places of the fields of every whole record, where the last one ends)."""
    records: list[list[tuple[int, int]]] = []
    record: list[tuple[int, int]] = []
    end = position = 0
    while position < len(text) and (match := field.match(text, position)):
        position = match.end()
        if not is_last and position == len(text):  # cut off, or the "\r" of a "\r\n"
            break
        record.append(match.span(1))
        if match[2] in ("\n", "\r", "\r\n", ""):
            records.append(record)
            record, end = [], position
    if is_last and position < len(text):
        raise DataError(
            f"A quote in the last {len(text) - end} characters of the file is never closed, or has text after it.",
            remedy="`honed check` names the line; mend it first.",
        )
    if is_last:
        return (records + [record] if record else records), len(text)
    return records, end


def _is_blank(record: Sequence[tuple[int, int]]) -> bool:
    return len(record) == 1 and record[0][0] == record[0][1]


def _csv_value(field: str) -> str:
    return field[1:-1].replace('""', '"') if field.startswith('"') else field


def _csv_field(value: str) -> str:
    """A field in quotes where it needs them; quotes never hurt, so no delimiter is asked for."""
    return '"' + value.replace('"', '""') + '"' if re.search(r'[",;|\t\r\n]', value) else value


def _json_parts(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[str, list[_Cell]]]:
    """Parts of the file, each with its strings and numbers. JSON lines come in parts of lines, an array as a whole."""
    wanted = None if columns is None else frozenset(columns)
    seen: set[str] = set()
    with _open_text(path) as file:
        is_array = file.read(1024).lstrip("\ufeff \r\n\t").startswith("[")
        file.seek(0)
        while text := file.read() if is_array else "".join(file.readlines(_PART_CHARACTERS)):
            cells = list(_json_cells(text, path))
            seen.update(cell.column for cell in cells)
            yield text, [cell for cell in cells if wanted is None or cell.column in wanted]
    _known(columns, seen, path)


def _json_cells(text: str, path: Path) -> Iterator[_Cell]:
    """Every string and number that is a value of an object or in a list in one."""
    open_brackets: list[list[str]] = []  # "{" with the key that is being read, "[" with nothing
    position = 0
    token = next(tokens := _JSON_TOKEN.finditer(text), None)
    while token is not None:
        following = next(tokens, None)
        between, word = text[position : token.start()], token.group()
        position = token.end()
        if not _JSON_BETWEEN.fullmatch(between):
            raise DataError(
                f"{path} holds {shorten(between, 20)!r} where JSON is needed.", remedy="`honed check` names the line."
            )
        objects = [bracket for bracket in open_brackets if bracket[0] == "{"]
        if word in "{[":
            open_brackets.append([word, ""])
        elif word in "}]":
            del open_brackets[-1:]
        elif following is not None and following.group() == ":" and objects:
            objects[-1][1] = json.loads(word)
        elif word not in ":," and objects:
            value = json.loads(word) if word.startswith('"') else word
            yield _Cell(token.start(), token.end(), objects[0][1], objects[-1][1], value)
        token = following


def _json_string(value: str) -> str:
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _redact_parquet(path: Path, target: Path, pseudonyms: Pseudonyms, columns: Sequence[str] | None) -> tuple[str, ...]:
    """Write the redacted table; returns the columns that were copied unread."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    _known(columns, schema.names, path)
    names = [name for name in schema.names if columns is None or name in columns]
    scanned = [name for name in names if _holds_text(schema.field(name).type) or kind_of_column(name)]
    fields = [
        pa.field(field.name, pa.string()) if field.name in scanned and not _holds_text(field.type) else field
        for field in schema
    ]
    with pq.ParquetWriter(target, pa.schema(fields, metadata=schema.metadata)) as writer:
        for batch in file.iter_batches(_PART_ROWS):
            arrays = {field.name: batch.column(i) for i, field in enumerate(schema)}
            arrays |= _redacted_columns({name: arrays[name].to_pylist() for name in scanned}, fields, pseudonyms)
            writer.write_batch(pa.record_batch([arrays[field.name] for field in fields], schema=pa.schema(fields)))
    return tuple(name for name in schema.names if name not in scanned) if columns is None else ()


def _redacted_columns(
    values: dict[str, list[Any]], fields: Sequence[pa.Field], pseudonyms: Pseudonyms
) -> dict[str, pa.Array]:
    """Columns of one batch, redacted row by row, so that pseudonyms are numbered as in a CSV of the same rows."""
    import pyarrow as pa

    leaves: list[tuple[str, str]] = []
    rows = list(zip(*values.values(), strict=True))
    for row in rows:
        for name, value in zip(values, row, strict=True):
            leaves += _texts(name, value)
    replaced = iter(pseudonyms.replace([text for _, text in leaves], [name for name, _ in leaves]))
    new = [[_refilled(value, replaced) for value in row] for row in rows]
    types = {field.name: field.type for field in fields}
    return {name: pa.array([row[j] for row in new], types[name]) for j, name in enumerate(values)}


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """(innermost key, text) of a cell, from left to right."""
    if isinstance(value, list):
        for item in value:
            yield from _texts(key, item)
    elif isinstance(value, dict):
        for inner, item in value.items():
            yield from _texts(inner, item)
    elif (text := cell_text(value)) is not None:
        yield key, text


def _refilled(value: Any, texts: Iterator[str]) -> Any:
    if isinstance(value, list):
        return [_refilled(item, texts) for item in value]
    if isinstance(value, dict):
        return {key: _refilled(item, texts) for key, item in value.items()}
    return None if cell_text(value) is None else next(texts)


def _holds_text(kind: pa.DataType) -> bool:
    """Whether a column's type is text, or lists and structs of nothing but text."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_holds_text(kind.field(i).type) for i in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _holds_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
