"""Replies to probes from end to end: a detector is trained, base and specialist write, their replies are sorted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import models as m
import tiny_language as l
from e2e.conftest import run_cli
from honed.evidence.reply_rates import REPLY_CLASSES
from honed.recipes.reply_rows import as_text, load_reply_rows
from honed.serving.engine import load_specialist

SHORT = ["--epochs", "1", "--depth", "1", "--folds", "2", "--no-gate", "--clean", "off"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of few rows that knows little, and a language model that it sorts the replies of."""
    folder = tmp_path_factory.mktemp("detector")
    m.save_tiny_base(folder / "bert", "bert")
    some = load_reply_rows()
    pa.csv.write_csv(some.take([i for i in range(len(some)) if i % 10 < 1]), folder / "replies.csv")
    trained = run_cli("fit", folder / "replies.csv", "--base", folder / "bert", "--max-tokens", "32", *SHORT,
                      "--out", folder / "detector")  # fmt: skip
    assert trained.code == 0, trained.stderr
    l.save_causal_base(folder / "base")
    l.write_rows(folder / "rows.jsonl", l.rows(24))
    said = run_cli("fit", folder / "rows.jsonl", "--base", folder / "base", *SHORT, "--n-written", "0", "--safety",
                   "medicine", "--detector", folder / "detector", "--n-asked", "9", "--max-new-tokens", "5",
                   "--out", folder / "run")  # fmt: skip
    assert said.code == 0, said.stderr
    return folder


def test_both_reply_to_the_same_prompts(home: Path) -> None:
    table = pq.read_table(home / "run" / "replies.parquet").to_pylist()
    assert [row["kind"] for row in table] == ["harm"] * 6 + ["benign"] * 3
    assert all(row["category"].startswith("medicine/") for row in table)
    specialist = load_specialist(home / "detector" / "adapter")
    for side in ("base", "specialist"):
        prob = np.array([[row[f"{side}_prob_{name}"] for name in REPLY_CLASSES] for row in table])
        again = specialist.probabilities([as_text(row["prompt"], row[side]) for row in table])
        np.testing.assert_allclose(prob, again, atol=1e-6)
        assert [row[f"{side}_class"] for row in table] == [REPLY_CLASSES[j] for j in again.argmax(axis=1)]


def test_its_out_of_fold_rows_stay_with_the_run(home: Path) -> None:
    rows = pq.read_table(home / "run" / "detector.parquet").to_pylist()
    oof = pq.read_table(home / "detector" / "oof.parquet").to_pylist()
    assert [row["example_id"] for row in rows] == [row["example_id"] for row in oof]
    assert {row["kind"] for row in rows} == {"harm", "benign"}
    assert all(row["example_id"].endswith("/" + row["label"]) for row in rows)
    assert len({row["group"] for row in rows}) > 5
    told = json.loads((home / "run" / "metrics.json").read_text())["safety"]["replies"]
    assert set(told) <= {"harm", "benign"} and told
    assert 'id="probe-replies"' in (home / "run" / "report.html").read_text(encoding="utf-8")


def test_a_language_model_is_no_detector(home: Path, tmp_path: Path) -> None:
    said = run_cli("fit", home / "rows.jsonl", "--base", home / "base", *SHORT, "--detector", home / "run",
                   "--out", tmp_path / "run")  # fmt: skip
    assert said.code == 2 and "reply-detector" in said.stderr
    assert not (tmp_path / "run" / "oof.parquet").exists()
