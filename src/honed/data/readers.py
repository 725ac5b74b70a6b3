"""From a source that the user names to a table: CSV, JSON lines, Parquet, or a `datasets` name."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.data.csv_files import csv_batches
from honed.data.json_files import json_batches
from honed.data.table_stream import BATCH_BYTES, BATCH_ROWS, Batch, TableStream, stream_of
from honed.data.text_files import empty_file, look_through, refuse_repeated_columns
from honed.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER_KEY = b"honed.folder"  # of a table's schema: where relative file names in its cells begin
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
_READABLE = "honed reads .csv, .tsv, .jsonl, .json and .parquet files."

# suffix -> what it is, how to turn it into something readable
_REFUSED_SUFFIXES = {
    ".xlsx": ("an Excel workbook", "In Excel choose 'Save as', 'CSV UTF-8', and name that file."),
    ".xls": ("an Excel workbook", "In Excel choose 'Save as', 'CSV UTF-8'."),
    ".ods": ("a spreadsheet", "Save it as CSV with the UTF-8 character set."),
    ".zip": ("an archive", "Unpack it and name the file inside."),
    ".gz": ("compressed", "Unpack it first: gunzip FILE."),
    ".pkl": ("a pickle, which can run any code when it is opened", "Save it as Parquet: DataFrame.to_parquet(...)."),
    ".pickle": ("a pickle, which can run any code when it is opened", "Save it as Parquet: DataFrame.to_parquet(...)."),
    ".pt": ("a torch file, not a table", "Save the table as Parquet or CSV."),
    ".feather": ("an Arrow file", "Save it as Parquet: pyarrow.parquet.write_table(...)."),
    ".arrow": ("an Arrow file", "Save it as Parquet: pyarrow.parquet.write_table(...)."),
    ".pdf": ("a PDF document", "Extract its text into a CSV with a text and a label column."),
}
_MAGIC = {
    b"PK\x03\x04": ".xlsx",
    b"\xd0\xcf\x11\xe0": ".xls",
    b"\x1f\x8b": ".gz",
    b"\x80\x04\x95": ".pkl",
    b"\x80\x05\x95": ".pkl",
    b"%PDF": ".pdf",
}
_HUB_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?::(?P<split>[\w.\[\]%:+-]+))?")
_MARKED_NAME = re.compile(r"datasets:(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<split>[\w.\[\]%:+-]+))?")


def read_table(source: str) -> pa.Table:
    """Read a table as a whole: see `open_table`; it knows its folder (`folder_of`)."""
    stream = open_table(source)
    table = stream.read()
    if stream.folder is None:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), FOLDER_KEY: os.fsencode(stream.folder)})


def folder_of(table: pa.Table) -> Path:
    """The folder in which relative file names of the table begin: the file's own, else where the program runs."""
    stored = (table.schema.metadata or {}).get(FOLDER_KEY)
    return Path(os.fsdecode(stored)) if stored else Path.cwd()


def open_table(source: str) -> TableStream:
    """Open a table, to be read in batches.

    source : path of a .csv, .tsv, .jsonl, .ndjson, .json or .parquet file, a folder with such a file called `metadata`,
        or a `datasets` name: `org/name`, `org/name:split`, `datasets:name`, `datasets:name:split` (split defaults to
        `train`). A file always wins.

    CSV and JSON columns come as strings; see `csv_files` and `json_files`. No code of a dataset and no pickle is
    ever run.

    Raises UsageError if there is no such file (with the most similar neighbour), and DataError if the content
    cannot be read as a table; what is wrong with a single row is found when it is read.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        metadata = [path / f"metadata{suffix}" for suffix in SUFFIXES if (path / f"metadata{suffix}").is_file()]
        if len(metadata) == 1:
            return _open_file(metadata[0])
        inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        raise UsageError(
            f"{source} is a folder, where a file is needed.",
            cause=f"It holds {', '.join(inside[:5])}." if inside else "It holds no table either.",
            remedy=f"Name the file: {path / inside[0]}" if inside else _READABLE,
        )
    if not path.exists():
        dataset = _MARKED_NAME.fullmatch(source) or _hub_name(source, path)
        if dataset:
            return stream_of(_read_hub(dataset["name"], dataset["split"] or "train"), source)
        raise _missing(source, path)
    return _open_file(path)


def _open_file(path: Path) -> TableStream:
    return replace(_open_content(path), folder=path.absolute().parent)


def _open_content(path: Path) -> TableStream:
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            start = file.read(8)
        real = next((found for magic, found in _MAGIC.items() if start.startswith(magic)), None)
        if suffix in _REFUSED_SUFFIXES or real:
            what, remedy = _REFUSED_SUFFIXES[suffix if suffix in _REFUSED_SUFFIXES else str(real)]
            named = "" if suffix in _REFUSED_SUFFIXES else f", whatever its name ends with ({suffix or 'nothing'})"
            raise DataError(f"{path} is {what}{named}.", cause=_READABLE, remedy=remedy)
        if start.startswith(b"PAR1") or suffix == ".parquet":
            return _open_parquet(path, is_empty=not start)
        if suffix in (".jsonl", ".ndjson", ".json"):
            text = look_through(path)
            return TableStream(str(path), text.n_bytes, partial(json_batches, text), has_fixed_columns=False)
        if suffix in (".csv", ".tsv"):
            text = look_through(path)
            return TableStream(str(path), text.n_bytes, partial(csv_batches, text))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read.", cause=str(error), remedy="Check its permissions, or copy it somewhere readable."
        ) from error
    raise DataError(
        f"{path}: files that end with {suffix or 'no suffix'} are not read.",
        cause=_READABLE,
        remedy="Rename it if it is one of these, or export it as CSV.",
    )


def _open_parquet(path: Path, *, is_empty: bool) -> TableStream:
    import pyarrow.parquet as pq

    if is_empty:
        raise empty_file(path, "is empty")
    with _parquet_faults(path), pq.ParquetFile(path) as file:
        names: list[str] = file.schema_arrow.names
        n_rows: int = file.metadata.num_rows
        n_bytes = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    refuse_repeated_columns(names, path)
    names = [name for name in names if not name.startswith("__index_level_")]
    if not names or not n_rows:
        raise empty_file(path, f"has {len(names)} columns but {n_rows} rows")

    def walk(columns: Sequence[str] | None) -> Iterator[Batch]:
        import pyarrow as pa

        # ParquetFile, not read_table: the latter treats a path like `a=b/x.parquet` as a partition and adds columns.
        # Without pre-buffering, a row group of any size is read in pieces.
        with _parquet_faults(path), pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            done = 0
            rows = max(1, min(BATCH_ROWS, BATCH_BYTES * n_rows // max(n_bytes, 1)))
            for part in file.iter_batches(rows, columns=names if columns is None else list(columns)):
                part.validate(full=True)
                done += part.num_rows
                yield Batch(pa.Table.from_batches([part]), n_bytes * done // n_rows)

    return TableStream(str(path), n_bytes, walk)


@contextmanager
def _parquet_faults(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read as Parquet.",
            cause=f"It is damaged, cut off or another format: {str(error).splitlines()[0]}",
            remedy="Write it again, or copy it again and compare the sizes.",
        ) from error


def _hub_name(source: str, path: Path) -> re.Match[str] | None:
    """A match if the source looks like `org/name` and not like a mistyped path."""
    if path.suffix.lower() in (*SUFFIXES, *_REFUSED_SUFFIXES) or path.is_absolute() or path.parent.is_dir():
        return None
    return None if source.startswith((".", "~")) else _HUB_NAME.fullmatch(source)


def _missing(source: str, path: Path) -> UsageError:
    folder = path.parent
    if not folder.is_dir():
        return UsageError(
            f"There is no file {source}.",
            cause=f"The folder {folder} does not exist.",
            remedy="Check the path; a dataset of the hub is named datasets:NAME or ORG/NAME.",
        )
    neighbours = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    similar = difflib.get_close_matches(path.name, neighbours, n=1, cutoff=0.5) or [
        name for name in neighbours if Path(name).stem == path.stem
    ]
    return UsageError(
        f"There is no file {source}.",
        cause=f"The folder {folder.resolve()} holds {', '.join(neighbours[:5]) or 'no table'}.",
        remedy=f"Did you mean {folder / similar[0]}?" if similar else "Check the path and the spelling.",
    )


def _read_hub(name: str, split: str) -> pa.Table:
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            f"There is no file {name!r}, and reading it as a dataset of the hub needs the package `datasets`.",
            remedy="Check the path, or: pip install datasets",
        ) from error
    if int(datasets.__version__.split(".")[0]) < 4:
        raise UsageError(
            f"The installed `datasets` {datasets.__version__} can run code that a dataset brings with it.",
            remedy="pip install 'datasets>=4', which cannot.",
        )
    try:
        dataset: Any = datasets.load_dataset(name, split=split)
    except Exception as error:
        message = str(error).strip() or type(error).__name__
        offline = "offline" in message.lower() or isinstance(error, ConnectionError) or "reach" in message.lower()
        raise DataError(
            f"There is no file {name!r}, and the dataset {name!r} (split {split!r}) could not be loaded.",
            cause=("The hub cannot be reached from here, and no copy is in the local cache: " if offline else "")
            + message.splitlines()[0],
            remedy="Download it once where there is a network, or name a local .csv, .jsonl or .parquet file.",
        ) from error
    return _with_label_names(dataset)


def _with_label_names(dataset: Any) -> pa.Table:
    """The Arrow table of a `datasets.Dataset`, with the integers of `ClassLabel` columns replaced by their names."""
    import pyarrow as pa

    table: pa.Table = dataset.with_format("arrow")[:]
    for column, feature in dataset.features.items():
        names = getattr(feature, "names", None)
        if names:
            values = [None if v is None or v < 0 else names[v] for v in table.column(column).to_pylist()]
            table = table.set_column(table.column_names.index(column), column, pa.array(values, pa.string()))
    if not table.num_rows:
        raise DataError("The dataset has no rows.", remedy="Name another split: datasets:NAME:SPLIT.")
    return table
