"""The table of findings: written whole, read back, refused when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from honed.data.issue_table import Issue, IssueTable
from honed.errors import RunFolderError

ISSUES = [
    Issue("near_duplicate", 0.1, "group", "like 'b'", "a", 3),
    Issue("truncation_share", 0.98, "none", "2 %", is_issue=False),
    Issue("near_duplicate", 0.2, "group", "x" * 1000, "b\U0001f600", 4),
]


def test_written_and_read_back(tmp_path: Path) -> None:
    table = IssueTable.from_issues(ISSUES)
    table.write(tmp_path / "issues.parquet")
    back = IssueTable.read(tmp_path / "issues.parquet")
    assert back.issues() == table.issues()
    assert [p.name for p in tmp_path.iterdir()] == ["issues.parquet"]


def test_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    IssueTable.from_issues([]).write(tmp_path / "issues.parquet")
    back = IssueTable.read(tmp_path / "issues.parquet")
    assert len(back) == 0
    assert back.is_issue.dtype == bool
    assert back.counts() == {}


def test_counts_only_issues() -> None:
    table = IssueTable.concat(IssueTable.from_issues(ISSUES), IssueTable.from_issues(ISSUES[:1]))
    assert table.counts() == {"near_duplicate": 3}
    assert len(table.where("truncation_share")) == 1
    assert max(len(evidence) for evidence in table.evidence.tolist()) <= 240


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_damaged_file_is_a_run_folder_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "issues.parquet"
    IssueTable.from_issues(ISSUES).write(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.write_text("hello")
    with pytest.raises(RunFolderError, match=r"issues\.parquet") as caught:
        IssueTable.read(path)
    assert caught.value.remedy
