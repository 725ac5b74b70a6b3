"""`honed check` says the same of a file that fits into memory and of one that is taken to be too large for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from honed.config import make_config
from honed.data import dataset, spill, stored_rows
from honed.events import Event
from honed.pipeline import check as check_module
from honed.pipeline import check_stored as stored_module
from honed.pipeline.check import CheckedFile, check
from stored_tables import faulty_rows, write

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "csv, ids of the content": (".csv", {"id": "", "group": ""}),
    "csv, given ids and groups": (".csv", {}),
    "jsonl, groups": (".jsonl", {"id": ""}),
    "parquet, template": (".parquet", {"template": "{text} of {patient}", "group": "patient"}),
    "csv, too few groups": (".csv", {"label": "label", "group": "label"}),
}


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *, is_large: bool, **settings: Any) -> CheckedFile:
    with monkeypatch.context() as patch:
        patch.setattr(check_module, "STREAM_FROM_BYTES", 0 if is_large else 1 << 60)
        if is_large:
            patch.setattr(spill, "SPILL_BYTES", 100)
            for module in (dataset, stored_rows):
                patch.setattr(module, "BATCH_ROWS", 50)
        return check(make_config(settings), needs_base=False, out=out)


def comparable(found: CheckedFile, out: Path) -> dict[str, Any]:
    return {
        "facts": found.facts,
        "fold sizes": found.fold_sizes,
        "infeasible": found.infeasible and str(found.infeasible),
        "not run": found.not_run,
        "worst": {name: (f.n_issues, sorted(f.actions), f.worst) for name, f in found.issues.by_check.items()},
        "findings": Counter(map(str, pq.read_table(out).to_pylist())),
    }


def with_people() -> list[dict[str, str]]:
    """Rows with columns beside the text that say who wrote them."""
    people = ("Jane Doe", "Zorblax Quux", "Peter Parker", "")
    return [
        {
            **row,
            "name": people[i % 4],
            "email": f"u{i % 9}@example.org",
            "note": "ask Dr. Grayson" if i % 50 == 0 else "",
        }
        for i, row in enumerate(faulty_rows())
    ]


@pytest.mark.parametrize("name", CASES)
def test_both_ways_find_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suffix, settings = CASES[name]
    data = write(tmp_path / f"a{suffix}", with_people())
    test_file = write(tmp_path / "test.csv", faulty_rows()[:80])
    settings = {"data": str(data), "test_file": str(test_file), "max_tokens": 16, **settings}
    small, large = tmp_path / "small.parquet", tmp_path / "large.parquet"
    one = comparable(run(monkeypatch, small, is_large=False, **settings), small)
    other = comparable(run(monkeypatch, large, is_large=True, **settings), large)
    for part in one:
        assert one[part] == other[part], part
    assert one["facts"]["checks"]["counts"].keys() >= {"exact_duplicate", "near_duplicate", "test_contamination"}
    assert set(one["facts"]["checks"]["personal_columns"]) == {"email", "name", "note"}
    assert (one["infeasible"] is not None) == ("too few" in name)


def test_folds_of_too_many_rows_are_judged_but_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_module, "MAX_PLANNED_ROWS", 100)
    monkeypatch.setattr(check_module, "MAX_PLANNED_ROWS", 100)
    data = write(tmp_path / "a.csv", faulty_rows())
    found = run(monkeypatch, tmp_path / "a.parquet", is_large=True, data=str(data), id="", group="")
    assert found.is_usable and found.fold_sizes is None
    assert any("Sizes of the folds: not run" in text and "more than 100" in text for text in found.not_run)
    found = run(monkeypatch, tmp_path / "b.parquet", is_large=True, data=str(data), id="", label="label", group="label")
    assert found.infeasible is not None and "groups" in found.infeasible.problem


def test_progress_is_told_stage_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "STREAM_FROM_BYTES", 0)
    monkeypatch.setattr(dataset, "BATCH_ROWS", 50)
    monkeypatch.setattr(stored_rows, "BATCH_ROWS", 50)
    data = write(tmp_path / "a.csv", faulty_rows())
    events: list[Event] = []
    found = check(make_config({"data": str(data)}), needs_base=False, listeners=[events.append])
    stages = [event.fields["stage"] for event in events if event.kind == "stage.start"]
    assert stages == ["read", "rows", "near", "findings", "sample", "fingerprint"]
    done = [event.fields["done"] for event in events if event.kind == "progress" and event.fields["unit"] == "row"]
    n = found.facts["n_used"]
    assert done == [*range(50, n, 50), n]


KILLED = """
import os, signal, sys
from pathlib import Path
from honed.config import make_config
from honed.data import issue_stream, spill
from honed.pipeline import check as module

def stop(event):
    if event.kind == "stage.start" and event.fields["stage"] == "fingerprint":
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))

spill.SPILL_BYTES = module.STREAM_FROM_BYTES = 0
issue_stream._ROWS_AT_ONCE = 10
module.check(make_config({"data": sys.argv[1]}), needs_base=False, out=Path(sys.argv[2]), listeners=[stop])
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_killed_in_the_middle_it_leaves_nothing_behind(how: str, tmp_path: Path) -> None:
    data = write(tmp_path / "a.csv", faulty_rows())
    (tmp_path / "scratch").mkdir()
    arguments = [sys.executable, "-c", KILLED, str(data), str(tmp_path / "out.parquet"), how]
    ended = subprocess.run(
        arguments, env={**os.environ, "TMPDIR": str(tmp_path / "scratch")}, check=False, capture_output=True
    )
    assert ended.returncode == (-getattr(signal, how)), ended.stderr.decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "scratch"]
    assert list((tmp_path / "scratch").iterdir()) == []
