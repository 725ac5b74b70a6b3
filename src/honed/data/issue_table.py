"""IssueTable: what is wrong with the data, one row per finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from honed.data.tables import write_parquet
from honed.errors import RunFolderError

if TYPE_CHECKING:
    import pyarrow as pa

Action = Literal["drop", "group", "review", "none"]
ACTIONS = ("drop", "group", "review", "none")
MAX_EVIDENCE = 240


@dataclass(frozen=True)
class Issue:
    """One finding.

    check : name of the check, e.g. `exact_duplicate`.
    score : in [0, 1], low = bad.
    action : what honed does about it: `drop` (the row has no text or label and cannot be scored), `group` (kept in
        one fold with its like), `review` (a person should look), `none`.
    evidence : a short sentence for people.
    example_id, row : of the row; "" and -1 for a finding about the whole table.
    """

    check: str
    score: float
    action: Action
    evidence: str
    example_id: str = ""
    row: int = -1
    is_issue: bool = True


@dataclass(frozen=True)
class IssueTable:
    """m findings; every column is (m,). Build it with `from_issues`."""

    example_id: npt.NDArray[np.str_]
    row: npt.NDArray[np.int64]
    check: npt.NDArray[np.str_]
    score: npt.NDArray[np.float64]
    is_issue: npt.NDArray[np.bool_]
    action: npt.NDArray[np.str_]
    evidence: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.example_id)

    @staticmethod
    def from_issues(issues: Iterable[Issue]) -> IssueTable:
        """The table of these findings, in this order; evidence is cut at 240 characters."""
        rows = list(issues)
        return IssueTable(
            example_id=np.array([r.example_id for r in rows], dtype=np.str_),
            row=np.array([r.row for r in rows], dtype=np.int64),
            check=np.array([r.check for r in rows], dtype=np.str_),
            score=np.array([r.score for r in rows], dtype=np.float64),
            is_issue=np.array([r.is_issue for r in rows], dtype=np.bool_),
            action=np.array([r.action for r in rows], dtype=np.str_),
            evidence=np.array([shorten(r.evidence, MAX_EVIDENCE) for r in rows], dtype=np.str_),
        )

    @staticmethod
    def concat(*tables: IssueTable) -> IssueTable:
        """All rows of the tables, one after another."""
        return IssueTable.from_issues(issue for table in tables for issue in table.issues())

    def issues(self) -> list[Issue]:
        """The rows as objects."""
        return [
            Issue(
                check=str(self.check[i]),
                score=float(self.score[i]),
                action=self.action[i].item(),
                evidence=str(self.evidence[i]),
                example_id=str(self.example_id[i]),
                row=int(self.row[i]),
                is_issue=bool(self.is_issue[i]),
            )
            for i in range(len(self))
        ]

    def where(self, check: str) -> IssueTable:
        """The findings of one check."""
        return IssueTable.from_issues(issue for issue in self.issues() if issue.check == check)

    def counts(self) -> dict[str, int]:
        """How many issues each check found (rows that are no issue do not count), by name."""
        return dict(sorted(Counter(self.check[self.is_issue].tolist()).items()))

    def arrow(self) -> pa.Table:
        """The table as it is written."""
        import pyarrow as pa

        return pa.table(
            {
                "example_id": pa.array(self.example_id.tolist(), pa.string()),
                "row": self.row,
                "check": pa.array(self.check.tolist(), pa.string()),
                "score": self.score,
                "is_issue": self.is_issue,
                "action": pa.array(self.action.tolist(), pa.string()),
                "evidence": pa.array(self.evidence.tolist(), pa.string()),
            }
        )

    def write(self, path: Path) -> None:
        """Write the table as Parquet; an interrupted write leaves no half file under this name."""
        write_parquet(self.arrow(), path)

    @staticmethod
    def read(path: Path) -> IssueTable:
        """Read a table that `write` wrote.

        Raises RunFolderError if the file is missing, truncated or lacks a column.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(path).read()
            return IssueTable(
                example_id=np.array(table.column("example_id").to_pylist(), dtype=np.str_),
                row=np.array(table.column("row").to_pylist(), dtype=np.int64),
                check=np.array(table.column("check").to_pylist(), dtype=np.str_),
                score=np.array(table.column("score").to_pylist(), dtype=np.float64),
                is_issue=np.array(table.column("is_issue").to_pylist(), dtype=np.bool_),
                action=np.array(table.column("action").to_pylist(), dtype=np.str_),
                evidence=np.array(table.column("evidence").to_pylist(), dtype=np.str_),
            )
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise RunFolderError(
                f"{path} cannot be read as a table of data issues.",
                cause=str(error).splitlines()[0] if str(error) else type(error).__name__,
                remedy="Run `honed check` or `honed fit` again on the data.",
            ) from error


def shorten(text: str, limit: int) -> str:
    """The text on one line, at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
