"""Tables that a command writes where the user says, as CSV or Parquet: refused before the work, written whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from honed.errors import OutputError

if TYPE_CHECKING:
    import pyarrow as pa

OUTPUT_SUFFIXES = (".csv", ".parquet")


def check_output(path: Path, *, force: bool) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Raises OutputError for an unknown suffix, a missing folder, or a file that exists (without `force`).
    """
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise OutputError(
            f"--output {path}: its suffix {path.suffix!r} is none of {', '.join(OUTPUT_SUFFIXES)}.",
            remedy=f"Use --output {path.with_suffix('.csv')}.",
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"--output {path}: there is no folder {path.parent}.", remedy=f"Make it with `mkdir -p {path.parent}`."
        )
    if path.is_dir():
        raise OutputError(f"--output {path} is a folder.", remedy="Name a file.")
    if path.exists() and not force:
        raise OutputError(
            f"--output {path} exists; nothing was overwritten.", remedy="Name another file, or add --force."
        )


def csv_bytes(table: pa.Table) -> bytes:
    """The table as UTF-8 CSV; every text cell is quoted as needed, floats lose nothing."""
    import pyarrow as pa
    from pyarrow import csv

    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink, csv.WriteOptions(quoting_style="needed"))
    written: bytes = sink.getvalue().to_pybytes()
    return written


def write_output(path: Path, content: pa.Table | bytes) -> None:
    """Write bytes as they are, or a table as Parquet, whole or not at all.

    Raises OutputError if the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = path.with_name(path.name + ".partial")
    try:
        if isinstance(content, bytes):
            partial.write_bytes(content)
        else:
            pq.write_table(content, partial)
        partial.replace(path)
    except (OSError, pa.ArrowException) as error:
        partial.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"{path} could not be written: {reason}.", remedy="Free space or choose another --output."
        ) from error
