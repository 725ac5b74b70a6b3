"""Anyone can recompute every figure of metrics.json from the parquet files with scikit-learn alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from tolerances import tolerance

Floats = npt.NDArray[np.float64]


def ece(label: Floats, probs: Floats) -> float:
    """Guo et al. 2017, a naive loop over 15 bins (b/15, (b+1)/15]."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == label
    total = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return total


def figures(table: pd.DataFrame) -> dict[str, float]:
    """The figures of one fold (or of the holdout), by scikit-learn."""
    probs = softmax(table.filter(like="logit_").to_numpy(), axis=1)
    label, prediction = table["label"].to_numpy(), probs.argmax(axis=1)
    classes = range(probs.shape[1])
    return {
        "accuracy": sk.accuracy_score(label, prediction),
        "log_loss": sk.log_loss(label, probs, labels=list(classes)),
        "macro_f1": sk.f1_score(label, prediction, average="macro"),
        "balanced_accuracy": sk.balanced_accuracy_score(label, prediction),
        "auroc": np.mean([sk.roc_auc_score(label == k, probs[:, k]) for k in classes]),
        "ece": ece(label, probs),
    }


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "macro_f1", "balanced_accuracy", "auroc", "ece"])
def test_out_of_fold_and_holdout(name: str, judged_run: Path) -> None:
    said = json.loads((judged_run / "metrics.json").read_text())
    oof = pd.read_parquet(judged_run / "oof.parquet")
    if name in ("accuracy", "log_loss"):
        expected = figures(oof)[name]
    else:
        expected = np.mean([figures(fold)[name] for _, fold in oof.groupby("fold")])
    exact = tolerance("metric", "float64")
    np.testing.assert_allclose(said["out_of_fold"][name]["value"], expected, **exact)
    holdout = pd.read_parquet(judged_run / "holdout.parquet")
    np.testing.assert_allclose(said["holdout"][name]["value"], figures(holdout)[name], **exact)
    assert 0 < said["out_of_fold"][name]["value"] != 1, "a perfect score would test little: make the rows harder"


def test_the_tables_keep_the_rules(judged_run: Path) -> None:
    folds = pd.read_parquet(judged_run / "folds.parquet").set_index("example_id")
    oof, holdout = (pd.read_parquet(judged_run / f"{name}.parquet") for name in ("oof", "holdout"))
    assert sorted(oof["example_id"]) == sorted(folds.index[folds["fold"] >= 0]), "every development row, once"
    assert sorted(holdout["example_id"]) == sorted(folds.index[folds["fold"] == -1]), "and no other is in the holdout"
    assert (oof["fold"].to_numpy() == folds.loc[oof["example_id"], "fold"].to_numpy()).all()
    assert (folds.groupby("group")["fold"].nunique() == 1).all()
    for table in (oof, holdout):
        probs = softmax(table.filter(like="logit_").to_numpy(), axis=1)
        loss = -np.log(probs[np.arange(len(table)), table["label"]])
        np.testing.assert_allclose(table["loss"], loss, **tolerance("metric", "float64"))


def test_predict_gives_what_the_gate_judged(cli: Callable, judged_run: Path, tmp_path: Path) -> None:
    texts = pd.read_parquet(judged_run / "texts.parquet").set_index("example_id")["text"]
    holdout = pd.read_parquet(judged_run / "holdout.parquet")
    # the other way round: an answer must not depend on its neighbours in the batch
    ids = holdout["example_id"].to_numpy()[::-1]
    rows = pd.DataFrame({"id": ids, "text": texts.loc[ids].to_numpy()})
    rows.to_parquet(tmp_path / "new.parquet")
    target = tmp_path / "out.parquet"
    said = cli("predict", judged_run, tmp_path / "new.parquet", "--output", target)
    assert said.code == 0, said.stderr
    answers = pd.read_parquet(target)
    assert answers["example_id"].tolist() == ids.tolist()
    temperature = json.loads((judged_run / "adapter" / "honed.json").read_text())["temperature"]
    expected = softmax(holdout.filter(like="logit_").to_numpy()[::-1] / temperature, axis=1)
    np.testing.assert_allclose(
        answers.filter(like="prob_").to_numpy(), expected, **tolerance("logits_same_weights", "float32")
    )
    names = json.loads((judged_run / "metrics.json").read_text())["label_names"]
    assert answers["prediction"].tolist() == [names[j] for j in expected.argmax(axis=1)]
