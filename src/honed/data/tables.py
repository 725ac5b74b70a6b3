"""How a table reaches the disk: whole, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write Parquet; an interrupted write leaves no half file under this name."""
    import pyarrow.parquet as pq

    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial)
    partial.replace(path)
