"""`honed audit` of a small file: what it writes can be recomputed; what it cannot do is said before the long work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sklearn import metrics as sk

import honed
from e2e.bad_files import GOOD, csv_file
from e2e.conftest import SHORT, rows, run_cli, write_csv
from honed.evidence.audit_words import not_said
from honed.evidence.ledger import LEDGER_NAME
from honed.pipeline.audit import AuditOptions
from tolerances import tolerance

ARGUMENTS = ("--inject", "0.2", "--inject", "0.1", "--inject", "0.2", "--mode", "drop", "--noise", "uniform")


@pytest.fixture(scope="module")
def audited(minilm: None, easy_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audits") / "easy"
    said = run_cli("audit", easy_csv, *SHORT, "--epochs", "1", *ARGUMENTS, "--out", out)
    assert said.code == 0, said.stderr
    told = " ".join(said.stdout.split())
    notes = not_said(json.loads((out / "audit.json").read_text(encoding="utf-8")))
    for fact in ("If 10% of the labels were wrong", "Worth your afternoon?", "cleaned by drop", str(out), *notes):
        assert fact in told, fact
    return out


def test_every_figure_can_be_recomputed(audited: Path) -> None:
    told = json.loads((audited / "audit.json").read_text(encoding="utf-8"))
    table = pd.read_parquet(audited / "audit.parquet")
    exact = tolerance("metric", "float64")

    def accuracy(arm: str, rate: float) -> float:
        part = table[(table["arm"] == arm) & (table["rate"] == rate)]
        assert len(part) == told["n_rows"] and part["example_id"].is_unique
        return float(sk.accuracy_score(part["label"], part["prediction"]))

    assert told["clean"]["value"] == pytest.approx(accuracy("clean", 0), rel=exact["rtol"])
    assert [one["rate"] for one in told["rates"]] == [0.1, 0.2]
    for one in told["rates"]:
        rate, arms = one["rate"], one["arms"]
        spoilt, dropped = accuracy("noisy", rate), accuracy("drop", rate)
        assert arms["noisy"]["score"]["value"] == pytest.approx(spoilt, abs=exact["atol"])
        assert arms["drop"]["score"]["value"] == pytest.approx(dropped, abs=exact["atol"])
        assert one["cost"]["value"] == pytest.approx(spoilt - told["clean"]["value"], abs=exact["atol"])
        assert arms["drop"]["gain"]["value"] == pytest.approx(dropped - spoilt, abs=exact["atol"])
        if arms["drop"]["won_back"]["value"] is not None:
            share = (dropped - spoilt) / (told["clean"]["value"] - spoilt)
            assert arms["drop"]["won_back"]["value"] == pytest.approx(share)
        noisy, finder = table[(table["arm"] == "noisy") & (table["rate"] == rate)], one["finder"]
        planted = noisy["planted_label"] != noisy["label"]
        flagged = noisy["is_flagged"].astype(bool)
        assert planted.sum() == finder["n_planted"] == round(rate * told["n_rows"])
        assert finder["n_flagged"] == flagged.sum() and finder["n_hits"] == (planted & flagged).sum()
        for name, figure in (("recall", sk.recall_score), ("precision", sk.precision_score)):
            if finder[name]["value"] is not None:
                assert finder[name]["value"] == pytest.approx(figure(planted, flagged))
        area = sk.average_precision_score(planted, -noisy["quality"])
        assert finder["average_precision"]["value"] == pytest.approx(area)
        assert finder["average_precision"]["low"] <= area <= finder["average_precision"]["high"]


def test_what_is_scored_keeps_its_label_and_the_holdout_stays_shut(audited: Path, judged_run: Path) -> None:
    table = pd.read_parquet(audited / "audit.parquet")
    assert (table.groupby("example_id")["label"].nunique() == 1).all(), "no noise reaches a scored label"
    assert (table[table["arm"] == "clean"]["planted_label"] == table[table["arm"] == "clean"]["label"]).all()
    folds = pd.read_parquet(judged_run / "folds.parquet")  # of the same rows, seed and shares
    assert set(table["example_id"]) == set(folds.loc[folds["fold"] >= 0, "example_id"])
    assert not (audited.parent / LEDGER_NAME).exists()


def test_the_page_and_python_say_the_same(audited: Path) -> None:
    audit = honed.Audit(audited)
    html = audit.report.read_text(encoding="utf-8")
    assert "<svg" in html and "aria-label" in html and "://" not in html
    assert str(audited) in repr(audit) and audit.summary.splitlines()[-1].startswith("Worth your afternoon?")
    assert audit.figures["settings"]["epochs"] == 1 and audit.figures["settings"]["depth"] == 1
    assert sorted(path.name for path in audited.iterdir()) == ["audit.html", "audit.json", "audit.parquet"]


def test_json_and_python_write_where_they_are_told(
    cli: Callable, easy_csv: Path, tmp_path: Path, minilm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = {"epochs": 1, "folds": 3, "depth": 1, "max_tokens": 16}
    audit = honed.audit(easy_csv, [0.1], modes=(), rows=60, **short)
    assert audit.path == Path("audits/easy-1") and set(audit.figures["rates"][0]["arms"]) == {"noisy"}
    assert audit.figures["n_rows"] == 60 < audit.figures["n_all_rows"]
    arguments = [word for name, value in short.items() for word in (f"--{name.replace('_', '-')}", value)]
    said = cli("audit", easy_csv, "--json", "--inject", 0.1, "--mode", "weight", "--rows", 60, *arguments)
    assert said.code == 0 and said.json["folder"] == "audits/easy-2" and said.json["rates"][0]["arms"]["weight"]


def test_help_names_the_defaults_and_no_flag_without_effect(cli: Callable) -> None:
    options, page = AuditOptions(), " ".join(cli("audit", "--help").stdout.split())
    assert f"(default: {', '.join(f'{rate:g}' for rate in options.rates)})" in page
    assert f"(default: {', '.join(options.modes)})" in page and f"[default: {options.kind}]" in page
    assert f"[default: {options.max_rows}]" in page and f"[default: {options.n_draws}]" in page
    assert not any(f"{flag} " in page for flag in ("--decisions", "--no-gate", "--trials", "--require", "--metric"))


ROW = "a text about {} number {},{}\n"
TINY = "".join(ROW.format(name, i, name) for i in range(6) for name in ("refund", "invoice"))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--inject", "3"], 2, "3 means 300%; did you mean 0.03?"),
        (["--inject", "0"], 2, "--inject must lie in (0, 0.5]. Got 0 instead."),
        (["--inject", "-0.1"], 2, "Got -0.1 instead."),
        (["--inject", "nan"], 2, "Got nan instead."),
        (["--inject", "much"], 2, "--inject 'much' is no number."),
        (["--inject", "3%"], 2, "--inject '3%' is no number. Remedy It is a share"),
        (["--inject", "0.001"], 2, "--inject 0.001 spoils none of"),
        (["--folds", "2"], 2, "honed audit needs at least 3 folds; --folds is 2."),
        (["--folds", "25"], 2, "300 with --folds 25"),
        (["--mode", "erase"], 2, "--mode erase: it is none of drop, relabel, weight."),
        (["--noise", "white"], 2, "--noise white: it is none of uniform, confusion."),
        (["--draws", "0"], 2, "--draws must be at least 1"),
        (["--rows", "3"], 2, "--rows at least 50"),
        (["--learning-rate", "auto"], 2, "honed audit trains under one setting"),
        (["--clean", "drop"], 2, "No such option"),
        (["--label", "lbl"], 2, "--label label"),
    ],
)
def test_bad_flags_are_refused(
    arguments: list[str], code: int, says: str, cli: Callable, minilm: None, tmp_path: Path
) -> None:
    out = tmp_path / "audit"
    said = cli("audit", csv_file(tmp_path / "data.csv", GOOD), *arguments, "--out", out)
    assert said.code == code and says in " ".join(said.stderr.split()), said.stderr
    assert "Traceback" not in said.stderr and not out.exists(), "what was begun leaves nothing behind"


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("a text,\nanother,\n" * 9, 3, "label"),
        (TINY.replace("invoice", "refund"), 3, "one class"),
        ("one,a\ntwo,b\nthree,a\nfour,b\n", 3, "folds=5 and the holdout need at least 6"),
    ],
)
def test_bad_data_are_refused(body: str, code: int, says: str, cli: Callable, minilm: None, tmp_path: Path) -> None:
    said = cli("audit", csv_file(tmp_path / "data.csv", body), "--out", tmp_path / "audit")
    assert said.code == code and says in said.stderr and "Remedy" in said.stderr, said.stderr
    assert not (tmp_path / "audit").exists()


def test_no_data_and_a_missing_file(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "No data were named" in cli("audit").stderr
    said = cli("audit", "none.csv")
    assert said.code == 2 and "There is no file none.csv" in said.stderr
    assert not list(tmp_path.glob("audits/*"))


def test_a_folder_that_holds_something_is_refused_at_once(cli: Callable, easy_csv: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    said = cli("audit", easy_csv, "--out", tmp_path)
    assert said.code == 2 and "is not empty; nothing was overwritten" in said.stderr and "Reading" not in said.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_fifteen_rows_are_enough(cli: Callable, minilm: None, tmp_path: Path) -> None:
    """Little can be told from them, and that is what is said."""
    arguments = ("--folds", "3", "--epochs", "1", "--inject", "0.2", "--mode", "drop")
    said = cli("audit", write_csv(tmp_path / "data.csv", rows(15)), *arguments, "--out", tmp_path / "audit")
    assert said.code == 0, said.stderr
    assert "Worth your afternoon?" in said.stdout
