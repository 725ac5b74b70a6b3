"""Findings on their way to a file: all of them there, the worst remembered, nothing left of what did not finish."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from honed.data import issue_stream
from honed.data.issue_stream import N_WORST, IssueStream
from honed.data.issue_table import Issue, IssueTable
from honed.errors import OutputError


def issues(n: int) -> list[Issue]:
    rng = np.random.default_rng(0)
    return [
        Issue(
            f"check_{i % 3}",
            float(rng.integers(9)) / 10,
            "review" if i % 2 else "group",
            f"{i} " * 99,
            f"e{i}",
            i,
            i % 5 > 0,
        )
        for i in rng.permutation(n).tolist()
    ]


def test_file_holds_what_the_table_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issue_stream, "_ROWS_AT_ONCE", 7)
    table = IssueTable.from_issues(issues(50))
    with IssueStream(tmp_path / "a.parquet") as stream:
        for issue in issues(50):
            stream.add(issue)
        assert list(tmp_path.iterdir()) == []
        stream.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert IssueTable.read(tmp_path / "a.parquet").issues() == table.issues()
    assert stream.n_findings == 50
    assert {name: found.n_issues for name, found in stream.by_check.items()} == table.counts()


def test_worst_are_the_lowest_scores_and_of_these_the_first_rows() -> None:
    with IssueStream(None) as stream:
        for issue in issues(60):
            stream.add(issue)
        stream.finish()
    for name, found in stream.by_check.items():
        own = sorted((i.score, i.row) for i in issues(60) if i.check == name and i.is_issue)
        assert [(issue.score, issue.row) for issue in found.worst] == own[:N_WORST]
        assert set(found.actions) == {"review", "group"}
        assert all(len(issue.evidence) <= 240 for issue in found.worst)


def test_no_findings_make_an_empty_table(tmp_path: Path) -> None:
    with IssueStream(tmp_path / "a.parquet") as stream:
        stream.finish()
    assert len(IssueTable.read(tmp_path / "a.parquet")) == 0


def test_a_block_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issue_stream, "_ROWS_AT_ONCE", 7)

    def begin_and_fail() -> None:
        with IssueStream(tmp_path / "a.parquet") as stream:
            for issue in issues(50):
                stream.add(issue)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        begin_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with IssueStream(tmp_path / "gone" / "a.parquet") as stream, pytest.raises(OutputError, match=r"gone/a\.parquet"):
        stream.finish()
