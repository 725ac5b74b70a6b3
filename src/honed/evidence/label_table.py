"""`labels.parquet`: every development row with the quality of its label, the worst first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.tables import write_parquet
from honed.errors import RunFolderError
from honed.evidence.label_errors import Bools, LabelErrors, Strings
from honed.evidence.metrics import Floats, Ints
from honed.evidence.neighbours import nearest
from honed.evidence.report_format import excerpt

N_NEIGHBOURS = 10
N_EXPLAINED = 5000
"""Neighbours are looked up for so many rows, the worst: a person will not read further."""
N_QUOTED = 160
"""Characters of the neighbour that `why` quotes."""


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

    @property
    def agreement(self) -> float:
        """Share of the rows whose given label the judges find the likeliest; 1 of no rows."""
        return float((self.quality >= 0.5).mean()) if len(self) else 1.0

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


SURE_JUDGES = 0.8


def caution(agreement: float) -> str:
    """What a reader must know of flags by judges that are often wrong themselves; '' where they are not.

    agreement : see `LabelTable`.
    """
    if agreement >= SURE_JUDGES:
        return ""
    return (
        f"The judges find the given label the likeliest in only {agreement:.0%} of all rows: many that they flag may be"
        " hard rows, not errors."
    )


def why(table: LabelTable, i: int, texts: Mapping[str, str] | None = None) -> str:
    """What speaks against the label of row i, in words; its like is quoted where `texts` (by example id) has it."""
    n, agree = int(table.n_neighbours[i]), int(table.n_agree[i])
    share = 1 - float(table.quality[i])
    chance = (
        f"{'over 99%' if share > 0.99 else f'{share:.0%}'} for {str(table.suggested[i])!r} rather than the given label"
    )
    if not n:
        return chance
    alike = f"{agree or 'none'} of the {n} rows most like it {'carries' if agree == 1 else 'carry'} the given label"
    neighbour = str(table.neighbour[i])
    if not neighbour:
        return f"{chance}; {alike}"
    told = " ".join(((texts or {}).get(neighbour) or neighbour).split())
    return f"{chance}; {alike}; like it, with that label: {excerpt(told, N_QUOTED)!r}"


def label_rows(table: LabelTable, texts: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """The table row by row, for people: `row` counts from 1 (a header is not counted), `text` is None if not kept."""
    return [
        {
            "example_id": str(table.example_id[i]),
            "row": int(table.row[i]) + 1,
            "text": None if texts is None else texts.get(str(table.example_id[i])),
            "given": str(table.given[i]),
            "suggested": str(table.suggested[i]),
            "quality": float(table.quality[i]),
            "is_flagged": bool(table.is_flagged[i]),
            "n_neighbours": int(table.n_neighbours[i]),
            "n_agree": int(table.n_agree[i]),
            "why": why(table, i, texts),
        }
        for i in range(len(table))
    ]
