"""`labels.parquet`: every development row with the quality of its label, the worst first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from honed.data.tables import write_parquet
from honed.errors import RunFolderError
from honed.evidence.label_errors import Bools, LabelErrors, Strings
from honed.evidence.metrics import Floats, Ints
from honed.evidence.neighbours import nearest

N_NEIGHBOURS = 10
N_EXPLAINED = 5000
"""Neighbours are looked up for so many rows, the worst: a person will not read further."""


@dataclass(frozen=True)
class LabelTable:
    """m rows, the worst label first.

    example_id, given, suggested : (m,) strings, the labels as class names.    row : (m,) 0-based in the user's file.
    quality : (m,) in [0, 1], low = probably wrong.    is_flagged : (m,).
    n_neighbours, n_agree : (m,) of the rows most like it, how many were looked at, and have the given label.
    neighbour : (m,) the most alike row that carries the suggested label, else "".
    """

    example_id: Strings
    row: Ints
    given: Strings
    suggested: Strings
    quality: Floats
    is_flagged: Bools
    n_neighbours: Ints
    n_agree: Ints
    neighbour: Strings

    def __len__(self) -> int:
        return len(self.example_id)

    def take(self, index: npt.ArrayLike) -> LabelTable:
        """The rows at the positions (or where the mask is true), in that order."""
        return LabelTable(*(column[np.asarray(index)] for column in vars(self).values()))

    def write(self, path: Path) -> None:
        """Write the table as Parquet; an interrupted write leaves no half file under this name."""
        import pyarrow as pa

        columns = {
            name: pa.array(column.tolist(), pa.string()) if column.dtype.kind == "U" else column
            for name, column in vars(self).items()
        }
        write_parquet(pa.table(columns), path)

    @staticmethod
    def read(path: Path) -> LabelTable:
        """Read a table that `write` wrote.

        Raises RunFolderError if the file is missing, truncated or lacks a column.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(path).read()

            def text(name: str) -> Strings:
                return np.array(table.column(name).to_pylist(), dtype=np.str_)

            def count(name: str) -> Ints:
                return np.asarray(table.column(name).to_numpy(), dtype=np.int64)

            return LabelTable(
                text("example_id"), count("row"), text("given"), text("suggested"),
                np.asarray(table.column("quality").to_numpy(), dtype=np.float64),
                np.asarray(table.column("is_flagged").to_pylist(), dtype=np.bool_),
                count("n_neighbours"), count("n_agree"), text("neighbour"),
            )  # fmt: skip
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise RunFolderError(
                f"{path} cannot be read as a table of label qualities.",
                cause=str(error).splitlines()[0] if str(error) else type(error).__name__,
                remedy="Runs of `honed fit` write it, unless they were started with --clean off.",
            ) from error


def label_table(errors: LabelErrors, row: Ints, label_names: tuple[str, ...], features: Floats | None) -> LabelTable:
    """The table. row : (m,) of each judged row in the user's file.    features : (m, d) of the frozen base, or None."""
    m = len(errors)
    order = np.argsort(errors.quality, kind="stable")
    n_neighbours, n_agree = np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
    neighbour = [""] * m
    explained = order[:N_EXPLAINED]
    if features is not None and m > 1:
        for i, near in zip(explained.tolist(), nearest(features, explained, N_NEIGHBOURS), strict=True):
            n_neighbours[i] = len(near)
            n_agree[i] = int((errors.given[near] == errors.given[i]).sum())
            like = near[errors.given[near] == errors.suggested[i]]
            neighbour[i] = str(errors.example_id[like[0]]) if len(like) else ""
    names = np.array(label_names, dtype=np.str_)
    return LabelTable(
        errors.example_id, row, names[errors.given], names[errors.suggested], errors.quality, errors.is_flagged,
        n_neighbours, n_agree, np.array(neighbour, dtype=np.str_),
    ).take(order)  # fmt: skip


def why(table: LabelTable, i: int) -> str:
    """What speaks against the label of row i, in words."""
    n, agree = int(table.n_neighbours[i]), int(table.n_agree[i])
    chance = f"{1 - table.quality[i]:.0%} for {str(table.suggested[i])!r} against the given one"
    if not n:
        return chance
    alike = f"{agree} of the {n} rows most like it carry the given label"
    return f"{chance}; {alike}" + (f"; {str(table.neighbour[i])!r} is like it" if table.neighbour[i] else "")
