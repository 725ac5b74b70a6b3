"""A table that is read in batches, so that it may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from honed.data.cells import NESTED_ROW_KEY

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 4096
BATCH_BYTES = 8 << 20  # of cells: texts may be long


class Batch(NamedTuple):
    """Neighbouring rows, and how many bytes of the source were read when they were complete."""

    table: pa.Table
    n_bytes_read: int


@dataclass(frozen=True)
class TableStream:
    """A table in batches; every walk begins at the first row and finds the same faults.

    source : its name.    n_bytes : its size, unpacked.
    walk : the columns that are wanted (None: all) -> the batches. A wanted column that a batch lacks is null there.
    folder : where its file lies, None if it is no file.
    has_fixed_columns : whether the first batch has all columns; else (JSON lines) any later row may bring more.
    """

    source: str
    n_bytes: int
    walk: Callable[[Sequence[str] | None], Iterator[Batch]]
    has_fixed_columns: bool = True
    folder: Path | None = None

    def read(self) -> pa.Table:
        """The whole table."""
        return _joined([batch.table for batch in self.walk(None)])

    def head(self, n_rows: int) -> pa.Table:
        """The first rows, with all columns that any row has."""
        import pyarrow as pa

        tables: list[pa.Table] = []
        n_kept = 0
        for batch in self.walk(None):
            kept = batch.table.slice(0, n_rows - n_kept)
            n_kept += kept.num_rows
            tables = [_joined([*tables, kept])]
            if self.has_fixed_columns and n_kept >= n_rows:
                break
        return tables[0] if tables else pa.table({})

    def take(self, rows: npt.NDArray[np.int64]) -> pa.Table:
        """These rows (ascending) with all columns; only they are kept in memory."""
        tables = []
        begin = 0
        for batch in self.walk(None):
            end = begin + batch.table.num_rows
            first, last = np.searchsorted(rows, [begin, end])
            tables.append(batch.table.take(rows[first:last] - begin))
            begin = end
        return _joined(tables)


def stream_of(table: pa.Table, source: str) -> TableStream:
    """The stream of a table that is in memory."""

    def walk(columns: Sequence[str] | None) -> Iterator[Batch]:
        chosen = table if columns is None else table.select(list(columns))
        for first in range(0, table.num_rows, BATCH_ROWS):
            part = chosen.slice(first, BATCH_ROWS)
            yield Batch(part, table.nbytes * (first + part.num_rows) // table.num_rows)

    return TableStream(source, table.nbytes, walk)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """The tables one below another; columns in the order of their first appearance, null where a table lacks them.

    A column that is marked as nested (`NESTED_ROW_KEY`) keeps its first mark.
    """
    import pyarrow as pa

    if len(tables) == 1:
        return tables[0]
    marks: dict[str, dict[bytes, bytes] | None] = {}
    for table in tables:
        for field in table.schema:
            if field.metadata and NESTED_ROW_KEY in field.metadata:
                marks.setdefault(field.name, field.metadata)
    joined = pa.concat_tables([table.replace_schema_metadata(None) for table in tables], promote_options="default")
    fields = [
        field.with_metadata(marks[field.name]) if field.name in marks else field.remove_metadata()
        for field in joined.schema
    ]
    return pa.Table.from_arrays(joined.columns, schema=pa.schema(fields))
