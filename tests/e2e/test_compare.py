"""`honed compare` from the command line: methods in processes of their own, one table, one look at the holdout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from e2e.conftest import SHORT, run_cli
from honed.data.folds import FoldPlan
from honed.errors import HonedError
from honed.events import Emitter
from honed.evidence.ledger import LEDGER_NAME
from honed.oof import Predictions
from honed.pipeline import compare as comparing
from honed.pipeline.run_folder import RunFolder
from honed.pipeline.worker import WorkerError, fit_elsewhere

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compared(minilm: None, easy_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """full and lora on the easy rows, and a recipe of the user's own."""
    folder = tmp_path_factory.mktemp("compared")
    recipe = folder / "tiny.yaml"
    recipe.write_text("method: lora\nmethod_options: {rank: 1}\nlearning_rate: 1.0e-6\nhead_learning_rate: 1.0e-6\n")
    out = folder / "runs" / "both"
    said = run_cli(
        "compare", easy_csv, "--methods", "full,lora", "--recipe", recipe, *SHORT, "--metric", "accuracy", "--out", out
    )
    assert said.code == 0, said.stderr
    assert "Take " in said.stdout and "recipe-tiny" in said.stdout and "honed predict" in said.stdout
    return out


def test_one_fold_plan_one_table(compared: Path) -> None:
    told = json.loads((compared / "comparison.json").read_text())
    names = {row["name"] for row in told["entries"] if not row["is_baseline"]}
    assert names == {"full", "lora", "recipe-tiny"}
    assert {row["name"] for row in told["entries"] if row["is_baseline"]} == {
        "majority",
        "tfidf_logreg",
        "linear_probe",
    }
    plans = [FoldPlan.read(RunFolder(compared / name).folds) for name in names]
    assert all(np.array_equal(plan.fold, plans[0].fold) for plan in plans)
    for row in told["entries"]:
        run = RunFolder(compared / row["name"])
        if not row["is_baseline"]:
            assert row["cost"]["trained_parameters"] == run.read_json(run.metrics)["parameters"]["trained"]
            assert row["cost"]["artifact_bytes"] > 1000 and row["cost"]["peak_memory_bytes"] > 1e8
            table = Predictions.read(run.oof)
            assert table.logits is not None
            accuracy = float((table.logits.argmax(axis=1) == table.label).mean())
            assert row["score"]["value"] == pytest.approx(accuracy)
    assert "<html" in (compared / "comparison.html").read_text(encoding="utf-8")


def test_the_comparison_from_python(compared: Path) -> None:
    import honed

    comparison = honed.Comparison(compared)
    assert comparison.recommended in repr(comparison) and comparison.recommendation.startswith("Take ")
    assert comparison.run.path == compared / comparison.recommended and comparison.report.is_file()
    with pytest.raises(HonedError, match="no method 'lorra'"):
        honed.compare("none.csv", ["lorra"])


def test_an_untrained_candidate_is_not_recommended(compared: Path) -> None:
    """Rates of 1e-6 leave the head at zero: it guesses."""
    told = json.loads((compared / "comparison.json").read_text())
    row = next(row for row in told["entries"] if row["name"] == "recipe-tiny")
    assert not row["is_within_noise"] and told["recommended"] in ("lora", "full")


def test_the_holdout_is_opened_once_for_the_recommended_run_alone(compared: Path) -> None:
    told = json.loads((compared / "comparison.json").read_text())
    opened = [name for name in ("full", "lora", "recipe-tiny") if (compared / name / "holdout.parquet").exists()]
    assert opened == [told["recommended"]]
    looks = (
        (compared.parent / LEDGER_NAME).read_text().splitlines()
    )  # beside the comparison, where all runs are counted
    assert len(looks) == 1 and not (compared / LEDGER_NAME).exists()
    assert told["holdout"]["verdict"]["holdout_openings"] == 1


def test_resume_keeps_what_is_finished_and_looks_no_second_time(
    compared: Path, tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(compared, tmp_path / "runs" / "both"))
    shutil.copy(compared.parent / LEDGER_NAME, copy.parent)
    (copy / "comparison.json").unlink()
    monkeypatch.setattr(comparing, "fit_elsewhere", lambda *_: pytest.fail("a finished run was trained again"))
    said = cli("compare", "--resume", copy, "--json")
    assert said.code == 0, said.stderr
    assert said.json["recommended"] == json.loads((compared / "comparison.json").read_text())["recommended"]
    assert len((copy.parent / LEDGER_NAME).read_text().splitlines()) == 1


def test_bad_input_is_refused_before_anything_is_trained(cli: Callable, easy_csv: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared.yaml"
    shared.write_text("method: lora\nfolds: 3\n")
    for arguments, fact in (
        ((easy_csv, "--methods", "lora,lorra"), "Did you mean 'lora'"),
        ((easy_csv, "--recipe", "finanse"), "Did you mean 'finance'"),
        ((easy_csv, "--recipe", shared), "folds, which all candidates of a comparison must share"),
        ((easy_csv, "--folds", "1"), "--folds"),
        ((), "No data were named"),
        (("--resume", tmp_path), "not the folder of a comparison"),
        ((easy_csv, "--resume", tmp_path), "Give --resume alone"),
    ):
        said = (
            cli("compare", *arguments, "--out", tmp_path / "out")
            if "--resume" not in arguments
            else cli("compare", *arguments)
        )
        assert said.code in (1, 2, 3) and fact in said.stderr, said.stderr
        assert not (tmp_path / "out").exists()


def test_a_worker_tells_its_error_and_its_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkerError, match="There is no file") as caught:
        fit_elsewhere({"config": {"data": str(tmp_path / "none.csv")}}, Emitter(), "lora")
    assert caught.value.exit_code == 2
    monkeypatch.setattr("honed.pipeline.worker.sys.executable", "false")
    with pytest.raises(HonedError, match="died"):
        fit_elsewhere({"config": {}}, Emitter(), "lora")
