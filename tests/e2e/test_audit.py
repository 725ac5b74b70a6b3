"""`honed audit` from the command line, on tiny data: three files whose figures agree, and clear refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, average_precision_score

import honed
from e2e.conftest import SHORT

ASKED = ["--inject", "0.2", "--mode", "drop", "--rows", "84"]


def test_audit_writes_what_it_says(
    minilm: None, cli: Callable[..., Any], easy_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("audit", easy_csv, *SHORT, *ASKED, "--json")
    assert said.code == 0, said.stderr
    folder = Path(said.json["folder"])
    assert folder == Path("audits/easy-1")
    assert {path.name for path in folder.iterdir()} == {"audit.json", "audit.parquet", "audit.html"}
    figures = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    own = figures["rates"][0]
    rows = pq.read_table(folder / "audit.parquet").to_pandas()
    assert set(rows.arm) == {"clean", "noisy", "drop"} and len(rows) == 3 * figures["n_rows"]
    scores = {"clean": figures["clean"], **{name: arm["score"] for name, arm in own["arms"].items()}}
    for name, score in scores.items():
        part = rows[rows.arm == name]
        assert accuracy_score(part.label, part.prediction) == pytest.approx(score["value"])
    noisy = rows[rows.arm == "noisy"]
    is_planted = noisy.label != noisy.planted_label
    assert int(is_planted.sum()) == own["finder"]["n_planted"] > 0
    area = average_precision_score(is_planted, -noisy.quality.astype(float))
    assert area == pytest.approx(own["finder"]["average_precision"])
    opened = honed.Audit(folder)
    assert opened.figures == figures and opened.summary.splitlines() == said.json["summary"]
    page = (folder / "audit.html").read_text(encoding="utf-8")
    assert said.json["summary"][0].startswith("If 20\u202f% of the labels were wrong") and "What is not said" in page


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--inject", "3"], "did you mean 0.03?"),
        (["--inject", "0"], "--inject must lie in"),
        (["--inject", "many"], "'--inject'"),
        (["--folds", "2"], "needs at least 3 folds"),
        (["--noise", "pink"], "--noise pink"),
        (["--mode", "bleach"], "--mode bleach"),
    ],
)
def test_bad_flags_are_refused_and_leave_no_folder(
    cli: Callable[..., Any],
    easy_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("audit", easy_csv, *flags)
    assert said.code == 2 and says in said.stderr
    assert not any((tmp_path / "audits").glob("*"))


def test_missing_data_and_a_full_folder_are_refused(cli: Callable[..., Any], easy_csv: Path, tmp_path: Path) -> None:
    assert cli("audit").code == 2
    missing = cli("audit", tmp_path / "none.csv", "--out", tmp_path / "new")
    assert missing.code in (2, 3) and not (tmp_path / "new").exists()
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    full = cli("audit", easy_csv, "--out", tmp_path)
    assert full.code == 2 and "not empty" in full.stderr
