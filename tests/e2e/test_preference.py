"""Preferences through the command line, with a tiny model of random weights: folds, gate, report, and use after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import tiny_language as l
from honed.artifact import load_artifact
from honed.evidence.run_facts import read_run
from honed.oof import Predictions

Cli = Callable[..., Any]
SHORT = (
    "--task", "preference", "--folds", "3", "--epochs", "6", "--max-tokens", "96", "--learning-rate", "5e-3",
    "--safety", "law", "--n-written", "4", "--max-new-tokens", "6", "--device", "cpu", "--beta", "0.2",
)  # fmt: skip


def pairs(n: int = 60) -> list[dict[str, Any]]:
    """The short statement was chosen, the evasive one rejected; the last three rows are no pairs."""
    found: list[dict[str, Any]] = [
        {"prompt": row["instruction"], "chosen": row["output"], "rejected": f"I never know, {row['output'][4:8]}"}
        for row in l.rows(n)
    ]
    equal, empty = {"prompt": "a", "chosen": "x", "rejected": "x"}, {"prompt": "b", "chosen": "", "rejected": "y"}
    return [*found, equal, empty, {"prompt": "c", "chosen": "<script>alert(1)</script>", "rejected": None}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("preference")
    base = l.save_causal_base(folder / "base")
    data = l.write_rows(folder / "pairs.jsonl", pairs())
    said = cli("fit", data, "--base", base.path, *SHORT, "--out", folder / "run")
    assert said.code in {0, 4}, said.stderr
    (folder / "said.txt").write_text(said.stdout)
    return folder / "run"


def test_a_planted_preference_is_learned_out_of_fold_and_on_the_holdout(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["task"] == "preference"
    for part in ("out_of_fold", "holdout"):
        found = metrics[part]
        assert found["preference_loss"]["high"] < np.log(2)
        assert found["reward_accuracy"]["value"] > 0.9
        change = metrics["baselines"]["base"]["difference"][part]
        assert change["preference_loss"]["high"] < 0
        assert {"preference_accuracy", "chosen_loss"} <= change.keys()
    base = metrics["baselines"]["base"]
    assert base["preference_loss"]["value"] == pytest.approx(np.log(2))
    assert "not run" in base["reward_accuracy"]["not_run"]
    checks = {check["name"]: check for check in json.loads((run / "verdict.json").read_text())["checks"]}
    assert checks["the frozen base"]["outcome"] == "met"
    assert "nats per pair" in checks["the frozen base"]["sentence"]
    assert {"safety: margin", "forgetting: general text"} <= checks.keys()
    said = (run.parent / "said.txt").read_text()
    assert f"{metrics['holdout']['preference_loss']['value']:.3f}" in said
    assert "Chosen wins" in said


def test_every_figure_can_be_computed_again_from_the_tables(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    table = pq.read_table(run / "preferences.parquet").to_pylist()
    for part, file in (("out_of_fold", "oof.parquet"), ("holdout", "holdout.parquet")):
        rows = Predictions.read(run / file)
        assert rows.logits is not None
        own = {row["example_id"]: row for row in table if row["part"] == part}
        assert own.keys() == set(rows.example_id.tolist())
        for i, name in enumerate(rows.example_id.tolist()):
            for j, reply in enumerate(("chosen", "rejected")):
                reward = 0.2 * (own[name][f"specialist_{reply}"] - own[name][f"base_{reply}"])
                assert rows.logits[i, j] == pytest.approx(reward, abs=1e-5)
        loss = np.log1p(np.exp(rows.logits[:, 1] - rows.logits[:, 0]))
        np.testing.assert_allclose(rows.loss, loss, rtol=1e-5)
        assert metrics[part]["preference_loss"]["value"] == pytest.approx(loss.mean(), rel=1e-5)
        preferred = [
            row["specialist_chosen"] / row["n_chosen"] > row["specialist_rejected"] / row["n_rejected"]
            for row in own.values()
        ]
        assert metrics[part]["preference_accuracy"]["value"] == pytest.approx(np.mean(preferred))


def test_rows_that_are_no_pairs_are_told_and_nothing_is_lost(run: Path) -> None:
    facts = json.loads((run / "dataset.json").read_text())
    assert (facts["n_rows"], facts["n_used"]) == (63, 60)
    assert facts["conversations"]["format"] == "preference"
    issues = pq.read_table(run / "issues.parquet").to_pylist()
    dropped = {row["row"]: row["check"] for row in issues if row["action"] == "drop"}
    assert dropped == {60: "equal_replies", 61: "empty_reply", 62: "empty_reply"}


def test_the_report_and_the_card_speak_of_preferences(run: Path) -> None:
    page, card = (run / "report.html").read_text(), (run / "README.md").read_text()
    for text in (page, card):
        assert "Preference loss" in text
        assert "Chosen reply preferred" in text
    assert "DPO, beta 0.2" in page
    assert "Loss by length" not in page
    assert "The pairs it gets wrong" in page
    assert read_run(run).metrics["label_names"] == ["chosen", "rejected"]


def test_what_ships_is_used_as_any_model_of_instructions(run: Path, cli: Cli, tmp_path: Path) -> None:
    info = load_artifact(run / "adapter").info
    assert (info.task, info.head, info.reading["beta"]) == ("instruction", "language", 0.2)
    asked = l.write_rows(tmp_path / "new.jsonl", [{"prompt": "Where is the red door?"}, {"prompt": "And the cup?"}])
    said = cli("predict", run, asked, "--max-new-tokens", "4", "--output", tmp_path / "replies.csv")
    assert said.code == 0, said.stderr
    assert (tmp_path / "replies.csv").read_text().startswith('"example_id","reply"')


def test_a_holdout_that_stayed_shut_is_opened_later(run: Path, cli: Cli, tmp_path: Path) -> None:
    data, base = run.parent / "pairs.jsonl", run.parent / "base"
    short = [*SHORT[:4], "--epochs", "1", *SHORT[6:10], "--safety", "off", *SHORT[12:]]
    said = cli("fit", data, "--base", base, *short, "--no-gate", "--out", tmp_path / "run")
    assert said.code == 0, said.stderr
    assert not (tmp_path / "run" / "holdout.parquet").exists()
    assert cli("gate", tmp_path / "run").code in {0, 4}
    parts = pq.read_table(tmp_path / "run" / "preferences.parquet").column("part").to_pylist()
    assert set(parts) == {"out_of_fold", "holdout"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--train-on", "all"), "--train-on all does not fit preferences"),
        (("--replay", "0.5"), "--replay does not fit preferences"),
        (("--chosen", "nothing"), "--chosen nothing: there is no such column"),
        (("--beta", "0"), "--beta"),
        (("--balance", "1"), "--balance does not fit preferences"),
        (("--require", "perplexity <= 3"), "the task preference has no perplexity"),
        (("--trials", "beta=0.1,0.3"), "it scales the loss"),
        (("--trials", "max_tokens=64,96"), "--trials max_tokens does not fit preferences"),
        (("--text", "prompt"), "--text prompt does not fit --task preference"),
    ],
)
def test_settings_that_do_not_fit_are_refused(run: Path, cli: Cli, flags: tuple[str, str], words: str) -> None:
    data, base = run.parent / "pairs.jsonl", run.parent / "base"
    said = cli("fit", data, "--base", base, "--task", "preference", *flags, "--out", run.parent / "refused")
    assert said.code in {2, 3}
    assert words in " ".join(said.stderr.split())
    assert not (run.parent / "refused").exists()


def test_check_finds_pairs_by_their_columns(run: Path, cli: Cli) -> None:
    said = cli("check", run.parent / "pairs.jsonl", "--base", run.parent / "base", "--json")
    assert said.code == 0, said.stderr
    assert "Format preference" in json.dumps(said.json)


def test_personal_data_in_a_rejected_reply_are_found(run: Path, cli: Cli, tmp_path: Path) -> None:
    rows = pairs(8)[:8]
    rows[3]["rejected"] = "Write to jane.doe@example.org and ask."
    twice = [*rows, {**rows[5], "rejected": "Who knows?"}]  # no duplicate: another reply was rejected
    said = cli("check", l.write_rows(tmp_path / "pairs.jsonl", twice), "--base", run.parent / "base", "--json")
    counts = said.json["checks"]["counts"] if "checks" in said.json else said.json["counts"]
    assert any(name.startswith("personal") for name in counts)
    assert "exact_duplicate" not in counts
