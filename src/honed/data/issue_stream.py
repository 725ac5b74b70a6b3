"""Findings as they are made, however many: counted, the worst remembered, all of them on their way to a file."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from honed.data.issue_table import MAX_EVIDENCE, Action, Issue, IssueTable, shorten
from honed.data.spill import disk_is_full, temporary_file
from honed.errors import OutputError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

N_WORST = 3
_ROWS_AT_ONCE = 20_000


@dataclass
class FoundByCheck:
    """What one check found.

    n_issues : rows that are issues.    actions : what is done about them.
    worst : the issues with the lowest scores (of equal ones, the first rows), at most `N_WORST`.
    """

    n_issues: int = 0
    actions: list[Action] = field(default_factory=list)
    worst: list[Issue] = field(default_factory=list)


class IssueStream:
    """Takes findings one by one. A context manager: nothing is left of a block that ended early.

    path : Parquet file to be written by `finish`, with the columns of `IssueTable`; None writes none.
    """

    def __init__(self, path: Path | None) -> None:
        self.by_check: dict[str, FoundByCheck] = {}
        self.n_findings = 0
        self._path = path
        self._pending: list[Issue] = []
        self._open = ExitStack()
        # Without a name until it is whole: whatever happens to this process, no half file stays behind.
        self._file = self._open.enter_context(temporary_file()) if path is not None else None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> IssueStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self, issue: Issue) -> None:
        """Count a finding, and keep it if it is among the worst."""
        self.n_findings += 1
        if self._file is not None:
            self._pending.append(issue)
            if len(self._pending) >= _ROWS_AT_ONCE:
                self._write()
        if not issue.is_issue:
            return
        found = self.by_check.setdefault(issue.check, FoundByCheck())
        found.n_issues += 1
        if issue.action not in found.actions:
            found.actions.append(issue.action)
        if len(found.worst) < N_WORST or _order(issue) < _order(found.worst[-1]):
            kept = replace(issue, evidence=shorten(issue.evidence, MAX_EVIDENCE))
            found.worst = sorted([*found.worst, kept], key=_order)[:N_WORST]

    def finish(self) -> None:
        """Write the file, whole.

        Raises OutputError if it cannot be written.
        """
        if self._file is None or self._path is None:
            return
        self._write()
        assert self._writer is not None, "even an empty table was begun"
        self._writer.close()
        partial = self._path.with_name(self._path.name + ".partial")
        try:
            self._file.seek(0)
            with partial.open("wb") as target:
                shutil.copyfileobj(self._file, target)
            partial.replace(self._path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise OutputError(
                f"--out {self._path} cannot be written: {error.strerror}.", remedy="Name a file elsewhere."
            ) from error

    def _write(self) -> None:
        import pyarrow.parquet as pq

        table = IssueTable.from_issues(self._pending).arrow()
        self._pending.clear()
        try:
            self._writer = self._writer or pq.ParquetWriter(self._file, table.schema)
            self._writer.write_table(table)
        except OSError as error:
            raise disk_is_full(error) or error from error


def _order(issue: Issue) -> tuple[float, int]:
    return issue.score, issue.row
