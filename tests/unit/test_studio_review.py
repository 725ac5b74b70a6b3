"""The review queue and its journal: what is shown, what is kept, and that nothing acknowledged is ever lost."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from golden.make_run import RunOptions
from honed.app.studio.decision_journal import DecisionJournal, Reviewed
from honed.data.decisions import Decision, read_decisions
from honed.errors import OutputError
from studio_pages import client, make_studio

DROP, KEEP = Reviewed("drop"), Reviewed("keep")


@pytest.fixture
def journal(tmp_path: Path) -> DecisionJournal:
    return DecisionJournal(tmp_path / "review.jsonl")


def test_the_last_word_counts_and_every_step_can_be_taken_back(journal: DecisionJournal) -> None:
    assert journal.current() == {} and journal.undo() is None
    for example, said in (("a", DROP), ("b", KEEP), ("a", Reviewed("relabel", "x"))):
        journal.decide(example, said)
    assert journal.current() == {"a": Reviewed("relabel", "x"), "b": KEEP}
    assert DecisionJournal(journal.path).current() == journal.current()
    assert journal.undo() == "a" and journal.current() == {"a": DROP, "b": KEEP}
    assert DecisionJournal(journal.path).undo() == "b", "another window sees the same history"
    assert journal.undo() == "a" and journal.current() == {} and journal.undo() is None


@pytest.mark.parametrize("cut", range(2, 60, 7))
def test_a_line_that_a_crash_cut_short_loses_nothing_else(journal: DecisionJournal, cut: int) -> None:
    journal.decide("a", DROP)
    whole = journal.path.read_bytes()
    journal.decide("b", KEEP)
    torn = journal.path.read_bytes()[len(whole) :][:-cut]
    journal.path.write_bytes(whole + torn)
    again = DecisionJournal(journal.path)
    assert again.current() == {"a": DROP}
    again.decide("c", KEEP)
    assert again.current() == DecisionJournal(journal.path).current() == {"a": DROP, "c": KEEP}


def test_several_windows_lose_none_of_each_others_decisions(journal: DecisionJournal) -> None:
    windows = [DecisionJournal(journal.path) for _ in range(4)]

    def write(i: int) -> None:
        for j in range(25):
            windows[i].decide(f"{i}-{j}", DROP)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.current()) == 100 and all(window.current() == journal.current() for window in windows)


def test_what_cannot_be_kept_is_said_and_not_shown_as_kept(tmp_path: Path) -> None:
    journal = DecisionJournal(tmp_path / "gone" / "review.jsonl")
    with pytest.raises(OutputError, match="could not be kept"):
        journal.decide("a", DROP)
    assert journal.current() == {}


@pytest.fixture
def asked(tmp_path: Path) -> Any:
    return client(make_studio(tmp_path / "runs", big=RunOptions(n_rows=700), hostile=RunOptions(hostile=True)))


def rows(asked: Any, **query: Any) -> dict[str, Any]:
    answer = asked.get("/runs/big/review/rows", params=query)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def decide(asked: Any, example_id: str, decision: str, label: int = -1) -> Any:
    body = {"example_id": example_id, "decision": decision, "label": label}
    return asked.post("/runs/big/review/decide", json=body)


def test_pages_put_together_are_the_table_and_filters_are_its_parts(asked: Any) -> None:
    parts = [rows(asked, show="all", start=start, n=150)["rows"] for start in range(0, 600, 150)]
    together = [row for part in parts for row in part]
    assert len({row["example_id"] for row in together}) == len(together) == rows(asked, show="all")["total"] == 600
    assert all(a["quality"] <= b["quality"] for a, b in pairwise(together))
    flagged = rows(asked, show="flagged", n=200)
    assert [row["example_id"] for row in flagged["rows"]] == [
        row["example_id"] for row in together if row["is_flagged"]
    ]
    names = asked.get("/runs/big/review/facts").json()["label_names"]
    by_class = [rows(asked, show="all", given=i, n=1) for i in range(len(names))]
    assert sum(found["total"] for found in by_class) == 600
    assert len(rows(asked, show="all", n=100_000)["rows"]) == 200, "a page is bounded"
    assert rows(asked, show="all", start=10_000)["rows"] == [] and rows(asked, show="decided")["total"] == 0


def test_decisions_are_kept_undone_and_exported_for_fit(asked: Any, tmp_path: Path) -> None:
    first, second, third, fourth = rows(asked, show="all", n=4)["rows"]
    labels = json.loads((tmp_path / "runs" / "big" / "metrics.json").read_text())["label_names"]
    assert decide(asked, first["example_id"], "relabel").json()["new_label"] == first["suggested"]
    assert decide(asked, second["example_id"], "keep").json()["decision"] == "keep"
    assert decide(asked, third["example_id"], "drop").json()["n_decided"] == 3
    assert asked.get("/runs/big/review/next", params={"show": "all"}).json() == {"place": 3}
    other = next(i for i in (1, 2) if labels[i] != fourth["given"])
    assert decide(asked, fourth["example_id"], "relabel", other).json()["new_label"] == labels[other]
    assert asked.post("/runs/big/review/undo").json() == {
        "example_id": fourth["example_id"], "decision": "", "new_label": "", "n_decided": 3
    }  # fmt: skip
    assert {row["example_id"] for row in rows(asked, show="decided")["rows"]} == {
        row["example_id"] for row in (first, second, third)
    }
    (tmp_path / "d.csv").write_bytes(asked.get("/runs/big/decisions.csv").content)
    ids = np.array([row["example_id"] for row in (first, second, third, fourth)])
    given = np.array([labels.index(row["given"]) for row in (first, second, third, fourth)])
    dataset: Any = SimpleNamespace(label_names=tuple(labels), example_id=ids, label=given)
    assert read_decisions(str(tmp_path / "d.csv"), dataset) == {
        first["example_id"]: Decision("relabel", labels.index(first["suggested"])),
        second["example_id"]: Decision("keep", given[1]),
        third["example_id"]: Decision("drop", given[2]),
    }


def test_a_run_that_kept_no_texts_is_reviewed_by_its_ids(asked: Any, tmp_path: Path) -> None:
    (tmp_path / "runs" / "big" / "texts.parquet").unlink()
    row = rows(asked, show="all", n=1)["rows"][0]
    assert row["text"] == row["example_id"]
    assert "this run kept none" in asked.get("/runs/big/review").text


def test_relabelling_as_given_is_keeping(asked: Any) -> None:
    row = next(row for row in rows(asked, show="all", n=50)["rows"] if row["given"] in ("copyleft", "commercial"))
    names = asked.get("/runs/big/review/facts").json()["label_names"]
    said = decide(asked, row["example_id"], "relabel", names.index(row["given"])).json()
    assert (said["decision"], said["new_label"]) == ("keep", "")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"example_id": "none", "decision": "drop"}, 400), ({"example_id": "row-0001", "decision": "burn"}, 400),
        ({"example_id": "row-0001", "decision": "relabel", "label": 99}, 400), ({"example_id": "row-0001"}, 422),
        ({"example_id": "row-0001", "decision": "relabel", "label": -2}, 400), ([], 422),
        ({"example_id": "row-0001", "decision": "drop", "path": "/etc/passwd"}, 422),
    ],
)  # fmt: skip
def test_a_senseless_decision_is_refused_and_nothing_is_kept(
    asked: Any, body: object, status: int, tmp_path: Path
) -> None:
    answer = asked.post("/runs/big/review/decide", json=body)
    assert answer.status_code == status and answer.json()["error"]["problem"]
    assert not (tmp_path / "runs" / "big" / "review.jsonl").exists()


def test_hostile_rows_are_shown_and_not_obeyed(asked: Any) -> None:
    asked.headers["accept"] = "text/html"
    for path in ("/", "/runs/hostile", "/runs/hostile/review", "/runs/hostile/play", "/compare?run=hostile&run=big"):
        page = asked.get(path).text
        assert "<script>" not in page and "<img src=x" not in page and "\u202e" not in page, path
        assert page.count("<script") == page.count('<script src="/static/')
    found = asked.get("/runs/hostile/review/rows", params={"show": "all"}).json()["rows"]
    assert "<script>" in found[0]["text"], "it is data: the page sets it as text"
    for row in found:
        assert not any(c in row["text"] + row["why"] + row["given"] for c in "\u202e\x00\x1b\u200b")
