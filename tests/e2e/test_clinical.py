"""The clinical reading from end to end, on images of three classes and on texts: every figure computed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

import honed
from honed.evidence.report_clinical import clinical_lines
from honed.evidence.run_facts import read_run
from image_files import write_images
from image_runs import LABELS, coloured, save_tiny_image_base
from tolerances import tolerance

EXACT = tolerance("metric", "float64")
POSITIVE = ("green", "red")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured pictures of which every fifth has a wrong label, so that no figure is 1; the second reader errs more."""
    folder = tmp_path_factory.mktemp("clinical")
    n, rng = 120, np.random.default_rng(0)
    images = coloured(n)
    truth = np.arange(n) % 3
    label = np.where(np.arange(n) % 5 == 0, (truth + rng.integers(1, 3, n)) % 3, truth)
    second = np.where(rng.random(n) < 0.5, label, rng.integers(0, 3, n))
    write_images(folder / "data", images, [LABELS[j] for j in label])
    table = pd.read_csv(folder / "data" / "metadata.csv")
    table["second"] = [LABELS[j] if i % 7 else "" for i, j in enumerate(second)]
    table.to_csv(folder / "data" / "metadata.csv", index=False)
    save_tiny_image_base(folder / "base")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> honed.api.Run:
    return honed.fit(
        place / "data", base=str(place / "base"), image_size=28, folds=3, epochs=2, depth=1, learning_rate=1e-2,
        holdout_frac=0.3, device="cpu", out=place / "run",
        positive=",".join(POSITIVE), prevalence=0.02, reader="second",
    )  # fmt: skip


def read(run: honed.api.Run, name: str, temperature: float | dict[int, float]) -> pd.DataFrame:
    """label, fold, is_ill, p (calibrated), likeliest, reader of every row."""
    rows = pd.read_parquet(run.path / f"{name}.parquet")
    by_row = rows["fold"].map(temperature).to_numpy() if isinstance(temperature, dict) else temperature
    probs = softmax(rows.filter(like="logit_").to_numpy() / np.reshape(by_row, (-1, 1)), axis=1)
    ill = [run.label_names.index(label) for label in POSITIVE]
    reader = pd.read_parquet(run.path / "reader.parquet").set_index("example_id")["reader"].loc[rows["example_id"]]
    return rows[["example_id", "label", "fold"]].assign(
        is_ill=rows["label"].isin(ill), p=probs[:, ill].sum(axis=1), likeliest=probs.argmax(axis=1),
        reader=reader.to_numpy(), reader_ill=reader.isin(ill).to_numpy(),
    )  # fmt: skip


def by_scikit_learn(table: pd.DataFrame, called: np.ndarray) -> dict[str, float]:
    """The figures that have one number."""
    found, spared = sk.recall_score(table["is_ill"], called), sk.recall_score(~table["is_ill"], ~called)
    read = table["reader"].notna().to_numpy()
    part, mine = table[read], called[read]

    def kappa(said: pd.Series) -> float:
        return float(np.mean([sk.cohen_kappa_score(f["is_ill"], said.loc[f.index]) for _, f in part.groupby("fold")]))

    errors = {"specialist": (mine != part["is_ill"]).sum(), "reader": (part["reader_ill"] != part["is_ill"]).sum()}
    return {
        "sensitivity": found,
        "specificity": spared,
        "ppv": 0.02 * found / (0.02 * found + 0.98 * (1 - spared)),
        "npv": 0.98 * spared / (0.98 * spared + 0.02 * (1 - found)),
        "auroc": np.mean([sk.roc_auc_score(fold["is_ill"], fold["p"]) for _, fold in table.groupby("fold")]),
        "n_without_reader": (~read).sum(),
        "specialist errors": errors["specialist"],
        "reader errors": errors["reader"],
        "error_ratio": errors["specialist"] / errors["reader"],
        "specialist kappa": kappa(pd.Series(mine, part.index)),
        "reader kappa": kappa(part["reader_ill"]),
    }


def said(clinical: dict[str, Any]) -> dict[str, float]:
    against = clinical["reader"]["at_point"]
    return {
        **{name: clinical[name]["value"] for name in ("sensitivity", "specificity", "ppv", "npv", "auroc")},
        "n_without_reader": against["n_without_reader"],
        "error_ratio": against["error_ratio"]["value"],
        **{f"{who} errors": against[who]["n_errors"] for who in ("specialist", "reader")},
        **{f"{who} kappa": against[who]["kappa"]["value"] for who in ("specialist", "reader")},
    }


def assert_same(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, **EXACT, err_msg=name)
    assert all(0 < found[name] < 1 for name in ("sensitivity", "specificity", "auroc")), "too easy to test anything"


def test_out_of_fold_figures_are_scikit_learns_at_thresholds_of_the_other_folds(run: honed.api.Run) -> None:
    clinical = run.metrics["out_of_fold"]["clinical"]
    temperatures = {row["fold"]: row["temperature"] for row in run.metrics["calibration"]["per_fold"]}
    table = read(run, "oof", temperatures)
    called = np.zeros(len(table), dtype=bool)
    for row in clinical["per_fold"]:
        assert row["temperature"] == temperatures[row["fold"]]
        own = (table["fold"] == row["fold"]).to_numpy()
        others = read(run, "oof", row["temperature"])[~own]
        false_positive, found, _ = sk.roc_curve(others["is_ill"], others["p"], drop_intermediate=False)
        chosen = sk.balanced_accuracy_score(others["is_ill"], others["p"] >= row["threshold"])
        np.testing.assert_allclose(2 * chosen - 1, (found - false_positive).max(), **EXACT)
        called[own] = table["p"][own] >= row["threshold"]
    assert_same(said(clinical), by_scikit_learn(table, called))


def test_holdout_figures_are_scikit_learns_at_the_point_that_ships(run: honed.api.Run) -> None:
    shipped = json.loads((run.path / "adapter" / "honed.json").read_text())
    assert shipped["positive"] == list(POSITIVE)
    table = read(run, "holdout", shipped["temperature"])
    called = (table["p"] >= shipped["threshold"]).to_numpy()
    clinical = run.metrics["holdout"]["clinical"]
    assert clinical["threshold"] == shipped["threshold"] == run.metrics["out_of_fold"]["clinical"]["threshold"]
    assert_same(said(clinical), by_scikit_learn(table, called))
    pooled = read(run, "oof", shipped["temperature"])
    false_positive, found, _ = sk.roc_curve(pooled["is_ill"], pooled["p"], drop_intermediate=False)
    chosen = sk.balanced_accuracy_score(pooled["is_ill"], pooled["p"] >= shipped["threshold"])
    np.testing.assert_allclose(2 * chosen - 1, (found - false_positive).max(), **EXACT)
    named = clinical["reader"]["most_probable"]
    has_reader = table["reader"].notna()
    assert named["specialist"]["n_errors"] == (table["likeliest"] != table["label"])[has_reader].sum()
    assert named["reader"]["n_errors"] == (table["reader"] != table["label"])[has_reader].sum()


def test_predictions_say_who_is_called_ill(run: honed.api.Run, place: Path, cli: Callable, tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    assert cli("predict", run.path, place / "data", "--output", output).code == 0
    answers = pd.read_csv(output).set_index("example_id")
    shipped = json.loads((run.path / "adapter" / "honed.json").read_text())
    ill = [f"prob_{run.label_names.index(label)}" for label in POSITIVE]
    assert (answers["positive"] == (answers[ill].sum(axis=1) >= shipped["threshold"])).all()
    assert 0 < answers["positive"].mean() < 1
    holdout = read(run, "holdout", shipped["temperature"]).set_index("example_id")
    assert (answers["positive"].loc[holdout.index] == (holdout["p"] >= shipped["threshold"])).all()


def test_report_card_and_terminal_say_it(run: honed.api.Run) -> None:
    page, card = run.report.read_text(), (run.path / "README.md").read_text()
    assert "Of 1\u202f000 people of whom 20 are ill" in page and "Of 1 000 people of whom 20 are ill" in card
    assert 'aria-label="ROC curve, Locked holdout; operating point' in page
    assert "Against the second reader" in page and "against the second reader second" in card
    told = " ".join(clinical_lines(read_run(run.path)))
    assert "Locked holdout: Sensitivity" in told and "Against second, ill or healthy, at the operating point" in told


def test_a_second_reader_leaves_the_model_as_it_is(run: honed.api.Run, place: Path) -> None:
    """Nothing learns from the reader's column: without it, every logit is the same."""
    folder = place / "data"
    table = pd.read_csv(folder / "metadata.csv").drop(columns="second")
    table.to_csv(folder / "plain.csv", index=False)
    config = {"out": place / "plain", "positive": "", "prevalence": None, "reader": None}
    import yaml

    settings = yaml.safe_load((run.path / "config.yaml").read_text()) | config
    plain = honed.fit(folder / "plain.csv", {name: value for name, value in settings.items() if name != "data"})
    for name in ("oof", "holdout"):
        mine, theirs = (pd.read_parquet(r.path / f"{name}.parquet") for r in (run, plain))
        pd.testing.assert_frame_equal(mine, theirs)
    assert "clinical" not in plain.metrics["out_of_fold"] and "Clinical reading" not in plain.report.read_text()
    assert not (plain.path / "reader.parquet").exists()


def test_texts_by_the_command_line_and_a_holdout_opened_later(
    minilm: None, easy_csv: Path, cli: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "texts"
    short = ("--epochs", 2, "--depth", 1, "--folds", 2, "--max-tokens", 32, "--no-gate", "--out", out)
    started = cli("fit", easy_csv, "--positive", "fruit", "--sensitivity", 0.9, *short)
    assert started.code == 0, started.stderr
    assert "Ill: fruit. Out of fold" in started.stdout and "for want of a --prevalence" in started.stdout
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["out_of_fold"]["clinical"]["rule"].endswith("at least 0.9")
    assert "reader" not in metrics["out_of_fold"]["clinical"]
    assert cli("gate", out).code in (0, 4)
    clinical = json.loads((out / "metrics.json").read_text())["holdout"]["clinical"]
    assert clinical["threshold"] == metrics["out_of_fold"]["clinical"]["threshold"]
    assert clinical["prevalence"] == metrics["out_of_fold"]["clinical"]["prevalence"]
    assert clinical["sensitivity"]["value"] is not None


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--positive", "friut"), "Did you mean 'fruit'"),
        (("--positive", "fruit,vehicle,weather"), "names all 3 classes"),
        (("--prevalence", "0.1"), "--positive"),
        (("--positive", "fruit", "--prevalence", "5"), "--prevalence"),
        (("--positive", "fruit", "--reader", "labl"), "Did you mean --reader label"),
        (("--positive", "fruit", "--reader", "label"), "column of --label too"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    flags: tuple[str, ...], says: str, minilm: None, easy_csv: Path, cli: Callable, tmp_path: Path
) -> None:
    refused = cli("fit", easy_csv, *flags, "--out", tmp_path / "run")
    assert refused.code == 2
    assert says in refused.stderr
    assert not (tmp_path / "run").exists()
