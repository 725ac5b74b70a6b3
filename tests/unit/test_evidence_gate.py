"""Requirements, the verdict and the ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evidence_tables import from_predicted, singles
from honed.errors import RunFolderError, UsageError
from honed.evidence.gate import GateTerms, judge, rows_to_settle
from honed.evidence.ledger import LEDGER_NAME, count_openings, ordinal, record_opening
from honed.evidence.requirement import Requirement
from honed.oof import Predictions

NAMES = ["keep", "refund"]


def with_errors(n: int, n_wrong: int) -> Predictions:
    label = [i % 2 for i in range(n)]
    return from_predicted(label, [1 - k if i < n_wrong else k for i, k in enumerate(label)], 2)


def verdict(n_wrong: int, baseline_wrong: int, *requirements: str, n: int = 200, **terms):
    holdout = with_errors(n, n_wrong)
    asked = GateTerms(tuple(Requirement.parse(text, NAMES) for text in requirements), **terms)
    return judge(holdout, {"majority": with_errors(n, baseline_wrong)}, singles(holdout), NAMES, asked)


@pytest.mark.parametrize(
    ("text", "name", "operator", "bound"),
    [
        ("accuracy >= .9", "accuracy", ">=", 0.9),
        ("recall[refund]>=0.8", "recall[refund]", ">=", 0.8),
        (" f1[a [b] >= c] >= 8e-1 ", "f1[a [b] >= c]", ">=", 0.8),
        ("log_loss <= 1.5", "log_loss", "<=", 1.5),
        ("ece ≤ .05", "ece", "<=", 0.05),
    ],
)
def test_requirements_are_read(text: str, name: str, operator: str, bound: float) -> None:
    found = Requirement.parse(text)
    assert (found.name, found.operator, found.bound) == (name, operator, bound)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("accuracy", r"METRIC >= NUMBER.*for example"),
        ("", "cannot be read"),
        ("acuracy >= .9", "Did you mean 'accuracy'"),
        ("recal[refund] >= .9", "Did you mean 'recall'"),
        ("recall >= .9", r"write recall\[LABEL\]"),
        ("accuracy[refund] >= .9", r"without \[LABEL\]"),
        ("recall[Refunds] >= .9", "there is no label 'Refunds'. Did you mean 'refund'"),
        ("accuracy <= .9", "more is better. Write accuracy >= .9"),
        ("log_loss >= .9", "less is better. Write log_loss <= .9"),
        ("accuracy > .9", "Write accuracy >= .9"),
        ("accuracy >= 90", "Did you mean 0.9"),
        ("accuracy >= 90%", "'90%' is not a number"),
        ("accuracy >= nan", "is not a number"),
        ("log_loss <= -1", "below zero"),
    ],
)
def test_requirements_that_cannot_be_meant_are_explained(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Requirement.parse(text, NAMES)


def test_pass_needs_every_condition_with_confidence() -> None:
    found = verdict(4, 80, "accuracy >= .9", "recall[refund] >= .9", "ece <= .2")
    assert found.verdict == "PASS"
    row = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert row["holdout_openings"] == 1
    assert len(row["reasons"]) == 4
    assert {check["outcome"] for check in row["checks"]} == {"met"}


def test_fail_when_a_requirement_is_confidently_missed_or_a_baseline_better() -> None:
    missed = verdict(60, 120, "accuracy >= .9")
    assert missed.verdict == "FAIL"
    assert missed.reasons[0].startswith(
        "Required accuracy >= .9: missed with confidence; accuracy is 0.700 (95% interval"
    )
    beaten = verdict(60, 10)
    assert beaten.verdict == "FAIL"
    assert "The baseline majority is better than the specialist with confidence" in beaten.reasons[0]


def test_inconclusive_says_how_many_rows_would_settle_it() -> None:
    found = verdict(16, 20)
    assert found.verdict == "INCONCLUSIVE"
    (check,) = found.checks
    assert check["outcome"] == "open"
    assert (
        f"About {check['n_more']} more labelled holdout rows would settle it if the difference stays at +2.0"
        in (found.reasons[0])
    )
    n = 200 + check["n_more"]  # and that number does settle it
    assert verdict(n * 16 // 200, n * 20 // 200, n=n).verdict == "PASS"
    requirement = verdict(16, 120, "accuracy >= .9")
    assert requirement.verdict == "INCONCLUSIVE"
    n = 200 + next(check["n_more"] for check in requirement.checks if check["outcome"] == "open")
    assert verdict(n * 16 // 200, n * 3 // 5, "accuracy >= .9", n=n).verdict == "PASS"


def test_no_difference_is_settled_by_no_number_of_rows() -> None:
    found = verdict(20, 20)
    assert found.verdict == "INCONCLUSIVE"
    assert "No practical number of further holdout rows would settle it" in found.reasons[0]


def test_rows_to_settle_are_rounded_up_to_two_digits() -> None:
    assert rows_to_settle(100, 0.01, 0.0254) == 550  # 645.16 - 100 = 546
    assert rows_to_settle(100, 0.02, 0.0201) == 2
    assert rows_to_settle(100, 0.0, 0.02) is None
    assert rows_to_settle(100, 1e-6, 0.02) is None


def test_log_loss_gains_are_told_the_right_way_round() -> None:
    found = verdict(4, 80, "log_loss <= .6", metric="log_loss")
    assert found.verdict == "PASS"
    assert all(check["low"] > 0 for check in found.checks if check["kind"] == "baseline")


def test_a_requirement_on_a_class_without_holdout_rows_was_not_run() -> None:
    holdout = from_predicted([0] * 50, [0] * 50, 2)
    terms = GateTerms((Requirement.parse("recall[refund] >= .5"),), metric="accuracy")
    found = judge(holdout, {"majority": holdout}, singles(holdout), NAMES, terms)
    assert found.verdict == "INCONCLUSIVE"
    assert any("Not run: recall[refund] >= .5, because no scored row is labelled" in reason for reason in found.reasons)


def test_groups_widen_the_gate() -> None:
    holdout, worse = with_errors(200, 16), with_errors(200, 36)
    asked = GateTerms(metric="accuracy")
    assert judge(holdout, {"majority": worse}, singles(holdout), NAMES, asked).verdict == "PASS"
    by_ten = np.array([f"licence {i // 10}" for i in range(200)])
    assert judge(holdout, {"majority": worse}, by_ten, NAMES, asked).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("n", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (112, "112th"), (22, "22nd")]
)
def test_ordinals(n: int, text: str) -> None:
    assert ordinal(n) == text


def test_the_ledger_counts_across_runs_and_apart_by_dataset(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert count_openings(runs, "aaa") == 0
    assert record_opening(runs, "aaa", "first") == 1
    assert record_opening(runs, "bbb", "other data") == 1
    assert record_opening(runs, "aaa", "sec\u2028ond\n") == 2
    assert count_openings(runs, "aaa") == 2
    rows = [json.loads(line) for line in (runs / LEDGER_NAME).read_text().split("\n")[:-1]]
    assert [row["run"] for row in rows] == ["first", "other data", "sec\u2028ond\n"]


def test_gates_side_by_side_each_count(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from honed.evidence.ledger import record_opening\n"
        "print([record_opening(Path(sys.argv[1]), 'aaa', 'r') for _ in range(20)])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    seen = sorted(n for job in jobs for n in json.loads(job.communicate()[0]))
    assert seen == list(range(1, 41))


@pytest.mark.parametrize("damage", ["not json\n", "{}\n", "[1]\n", '{"dataset_fingerprint": "aaa"}'])
def test_a_damaged_ledger_is_named_and_never_reset(tmp_path: Path, damage: str) -> None:
    record_opening(tmp_path, "aaa", "first")
    path = tmp_path / LEDGER_NAME
    path.write_text(path.read_text() + damage)
    before = path.read_text()
    for act in (lambda: count_openings(tmp_path, "aaa"), lambda: record_opening(tmp_path, "aaa", "second")):
        with pytest.raises(RunFolderError, match=f"Line 2 of .*{LEDGER_NAME} is damaged"):
            act()
    assert path.read_text() == before
