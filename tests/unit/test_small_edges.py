"""Words that people meet: what they could have meant, and where to go next."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import honed
from evidence_tables import draw
from honed.app.cli import run as cli
from honed.config import make_config
from honed.data.class_names import class_named
from honed.data.loading import load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles
from honed.errors import ConfigError, DataError, UsageError
from honed.evidence.gate import INCONCLUSIVE, MET, MISSED, NOT_RUN, OPEN, GateTerms, judge
from honed.evidence.requirement import CLINICAL_METRICS, Requirement
from honed.pipeline.clinical import check_reading
from image_runs import make_run

GRADES = ("0 none", "1 mild", "2 moderate", "2 or more", "severe")


@pytest.mark.parametrize(
    ("word", "found"),
    [("1 mild", "1 mild"), ("1", "1 mild"), ("2", None), ("severe", "severe"), ("mild", None), ("", None)],
)
def test_a_class_is_named_whole_or_by_its_first_word(word: str, found: str | None) -> None:
    assert class_named(word, GRADES) == found


def test_a_second_reader_may_write_first_words(tmp_path: Path) -> None:
    label = ["0 none", "1 mild", "2 moderate"] * 4
    rows = {"text": [f"text number {i}" for i in range(12)], "label": label}
    whole, first = [*label[:11], ""], [*(name.split()[0] for name in label[:11]), ""]
    read = []
    for i, second in enumerate((whole, first)):
        pd.DataFrame({**rows, "second": second}).to_csv(tmp_path / f"{i}.csv", index=False)
        table = read_table(str(tmp_path / f"{i}.csv"))
        read.append(load_dataset(table, Roles(reader="second"), require_label=True).dataset.reader)
    np.testing.assert_array_equal(*read)
    assert read[0] is not None and read[0].tolist() == [*([0, 1, 2] * 4)[:11], -1]
    pd.DataFrame({**rows, "second": ["moderate", *first[1:]]}).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(DataError, match="'moderate' in 1 rows") as refused:
        load_dataset(read_table(str(tmp_path / "bad.csv")), Roles(reader="second"), require_label=True)
    assert "first word" in refused.value.remedy


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prevalence": "5"}, "did you mean 0.05?"),
        ({"sensitivity": 90}, "did you mean 0.9?"),
        ({"level": "95"}, "did you mean 0.95?"),
        ({"balance": 50}, "did you mean 0.5?"),
    ],
)
def test_per_cent_in_the_place_of_a_share_is_seen(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make_config(settings)
    assert said in refused.value.problem


@pytest.mark.parametrize(
    "settings", [{"prevalence": 1}, {"prevalence": 500}, {"prevalence": -1}, {"learning_rate": 50}]
)
def test_what_was_no_per_cent_gets_no_guess(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        make_config(settings)
    assert "did you mean" not in refused.value.problem


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("edges"), "lora", "both", layers=2, depth=1, epochs=1)


def test_a_depth_that_the_cut_leaves_no_room_for_names_both_flags(run: Path) -> None:
    with pytest.raises(UsageError) as refused:
        make_run(run.parent, "lora", "both", layers=2, depth=3)
    assert "--depth 3 adapts more layers than --layers 2 leaves" in refused.value.problem
    assert "--layers 3 or more" in refused.value.remedy and "--depth 2 or less" in refused.value.remedy


def test_a_fit_on_images_names_attention_next(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from honed.app.outcome import show_outcome
    from honed.pipeline.run_folder import RunFolder

    show_outcome(RunFolder(run), as_json=False)
    assert f"honed attention {run}" in capsys.readouterr().out


def test_attention_on_a_table_of_texts_names_no_flag_that_it_lacks(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "med.csv").write_text("text,label\nabc,red\ndef,blue\n")
    assert cli(["attention", str(run), str(tmp_path / "med.csv"), "--out", str(tmp_path / "out")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "has no column 'file_name', which this run reads" in said and "The columns are text, label" in said
    assert "--image" not in said and "folder of images" in said


def test_the_table_of_check_ends_at_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("honed.app.findings._EXAMPLE_CHARACTERS", 100)
    words = [f"word{i:03} of a text that says little" for i in range(60)]
    rows = {"text": words, "label": ["a", "b"] * 30, "source": ["one", "two"] * 30}
    pd.DataFrame(rows).to_csv(tmp_path / "leak.csv", index=False)
    cli(["check", str(tmp_path / "leak.csv"), "--out", str(tmp_path / "all.parquet")])
    shown = capsys.readouterr().out.split()
    last = [before for before, word in pairwise(shown) if word == "…"]
    assert last, "something is long enough to be cut"
    assert set(last) <= set(" ".join(pd.read_parquet(tmp_path / "all.parquet")["evidence"]).split())


def judged(text: str, clinical: dict[str, Any] | None) -> dict[str, Any]:
    holdout, group = draw(60, 2, 1.0)
    terms = GateTerms((Requirement.parse(text),), clinical=clinical)
    return next(c for c in judge(holdout, {}, group, ("a", "b"), terms).checks if c["kind"] == "requirement")


@pytest.mark.parametrize(("bound", "outcome"), [(0.7, MET), (0.8, MET), (0.85, OPEN), (0.9, OPEN), (0.96, MISSED)])
@pytest.mark.parametrize("metric", CLINICAL_METRICS)
def test_a_clinical_condition_is_judged_by_the_interval_at_the_operating_point(
    metric: str, bound: float, outcome: str
) -> None:
    figures = {key: {"value": 0.01, "low": 0.0, "high": 0.02} for key in CLINICAL_METRICS}
    found = judged(f"{metric} >= {bound}", {**figures, metric: {"value": 0.9, "low": 0.8, "high": 0.95}})
    assert (found["outcome"], found["value"], found["bound"]) == (outcome, 0.9, bound)
    assert (found["n_more"] is None) == (outcome != OPEN or bound == 0.9)


@pytest.mark.parametrize(
    ("clinical", "why"),
    [
        ({"not_run": "not run, because the artifact has no operating point"}, "the artifact has no operating point"),
        ({"sensitivity": {"value": None, "not_run": "not run, because nobody is ill"}}, "nobody is ill"),
        (None, "--positive"),
    ],
)
def test_a_clinical_condition_that_cannot_be_judged_is_said(clinical: dict[str, Any] | None, why: str) -> None:
    found = judged("sensitivity >= .9", clinical)
    assert found["outcome"] == NOT_RUN and why in found["sentence"]
    assert found["sentence"].startswith("Not run: sensitivity >= .9, because")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sensitivity=0.9", "Write sensitivity >= 0.9"),
        ("sensitivity <= .9", "Write sensitivity >= .9"),
        ("sensitivity >= 90", "Did you mean 0.9"),
        ("sensitivty >= .9", "Did you mean 'sensitivity'"),
        ("sensitivity[red] >= .9", "without [LABEL]"),
    ],
)
def test_a_clinical_condition_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        Requirement.parse(text)
    assert said in refused.value.remedy


def test_a_clinical_condition_needs_to_know_who_is_ill() -> None:
    check_reading(make_config({"require": ["sensitivity >= .9"], "positive": "ill"}))
    check_reading(make_config({"require": ["accuracy >= .9"]}))
    with pytest.raises(UsageError, match=r"--require 'npv >= .9' is part of the clinical reading"):
        check_reading(make_config({"require": ["accuracy >= .9", "npv >= .9"]}))


def test_the_gate_of_a_run_judges_the_figures_of_its_own_holdout(run: Path) -> None:
    found = honed.load(
        make_run(run.parent, "lora", "both", positive="red", require=["sensitivity >= .0", "specificity >= .999"])
    )
    checks = {c["name"]: c for c in found._folder.read_json(found._folder.verdict)["checks"]}
    clinical = found.metrics["holdout"]["clinical"]
    for name in ("sensitivity", "specificity"):
        check = next(c for text, c in checks.items() if text.startswith(name))
        assert [check[key] for key in ("value", "low", "high")] == [
            clinical[name][key] for key in ("value", "low", "high")
        ]
    assert checks["sensitivity >= .0"]["outcome"] == MET
    assert checks["specificity >= .999"]["outcome"] in (OPEN, MISSED)
    assert found.verdict in ("FAIL", INCONCLUSIVE)
