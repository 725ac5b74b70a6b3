"""Figures of pairs from tables whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from honed.errors import EvidenceError
from honed.evidence.gate import FAIL, PASS, GateTerms
from honed.evidence.language_gate import judge_language, language_requirement
from honed.evidence.language_metrics import language_metrics
from honed.evidence.language_report import render_language_report
from honed.evidence.language_tables import LanguageTables, Part
from honed.evidence.preferences import PreferenceTable, preference_difference, preference_estimate, worst_pairs
from honed.oof import Predictions
from language_runs import LanguageRun, forgetting, make_language_run, safety, write_table

HOSTILE = "<script>alert(1)</script>"


def pairs(gain: float, n: int = 60, seed: int = 0) -> PreferenceTable:
    """Chosen replies gain `gain` nats over the base on average, rejected ones nothing; equal chances before."""
    rng = np.random.default_rng(seed)
    base = -rng.uniform(10, 30, (n, 2))
    change = np.stack([gain + rng.normal(0, 0.5, n), rng.normal(0, 0.5, n)], axis=1)
    return PreferenceTable(base, base + change, np.full((n, 2), 10.0))


def part(table: PreferenceTable, *, holdout: bool = False, beta: float = 0.1) -> Part:
    n = len(table.base)
    ids = np.array([f"row-{i}" for i in range(n)])
    zeros, fold = np.zeros(n, np.int64), np.full(n, -1) if holdout else np.arange(n) % 5

    def predictions(logits: np.ndarray) -> Predictions:
        loss = np.logaddexp(0, logits[:, 1] - logits[:, 0])
        return Predictions(ids, zeros, fold.astype(np.int64), zeros, loss, np.ones(n), logits)

    own = predictions(beta * (table.specialist - table.base))
    return Part(own, predictions(np.zeros((n, 2))), ids, None, table)


def test_shares_and_losses_are_those_of_the_table() -> None:
    table = PreferenceTable(
        base=np.array([[-10.0, -30.0], [-20.0, -9.0], [-12.0, -12.0]]),
        specialist=np.array([[-12.0, -33.0], [-10.0, -9.5], [-13.0, -12.5]]),
        n_tokens=np.array([[10.0, 10.0], [20.0, 3.0], [4.0, 6.0]]),
    )
    group = np.array(["a", "b", "c"])

    def value(who: str, name: str) -> float:
        return preference_estimate(table, who, name, group).value

    assert value("specialist", "reward_accuracy") == pytest.approx(2 / 3)  # -2 > -3, 10 > -0.5, -1 < -0.5
    assert value("base", "preference_accuracy") == pytest.approx(2 / 3)  # -1 > -3, -1 > -3, -3 < -2
    assert value("specialist", "chosen_loss") == pytest.approx((12 + 10 + 13) / 34)
    assert preference_difference(table, "chosen_loss", group).value == pytest.approx((2 - 10 + 1) / 34)
    with pytest.raises(EvidenceError, match="gains nothing over itself"):
        value("base", "reward_accuracy")


def tables(gain: float) -> LanguageTables:
    return LanguageTables(part(pairs(gain)), part(pairs(gain, seed=1), holdout=True), safety(), forgetting())


def test_the_gate_passes_what_learned_and_fails_what_learned_the_contrary() -> None:
    terms = GateTerms(metric="preference_loss")
    assert judge_language(tables(4.0), terms).verdict == PASS
    contrary = judge_language(tables(-4.0), terms)
    assert contrary.verdict == FAIL
    assert "nats per pair" in contrary.reasons[0]


def test_requirements_on_pairs() -> None:
    own = (language_requirement("reward_accuracy >= .8"), language_requirement("preference_loss <= .2"))
    found = judge_language(tables(4.0), GateTerms(metric="preference_loss", requirements=own))
    outcome = {check["name"]: check["outcome"] for check in found.checks}
    assert (outcome["reward_accuracy >= .8"], outcome["preference_loss <= .2"]) == ("met", "missed")


def test_metrics_name_the_two_classes_and_no_perplexity() -> None:
    found = language_metrics(tables(4.0))
    assert (found["task"], found["label_names"], found["length"]) == ("preference", ["chosen", "rejected"], [])
    assert "perplexity" not in found["out_of_fold"]
    assert found["baselines"]["base"]["preference_loss"]["value"] == pytest.approx(np.log(2))


def run_of_pairs(folder: Path, *, texts: bool) -> Path:
    """A run folder of pairs, of which row 0 was moved the wrong way."""
    run = make_language_run(folder, LanguageRun())
    columns: dict[str, object] = {"example_id": [], "part": []}
    found = {}
    for name, file in (("out_of_fold", "oof.parquet"), ("holdout", "holdout.parquet")):
        n = len(Predictions.read(run / file))
        table = pairs(4.0, n)
        table.specialist[0] = table.base[0] + [-3.0, 2.0]
        ids = Predictions.read(run / file).example_id
        for path, own in zip(
            (run / file, run / "baselines" / ("base.parquet" if name == "out_of_fold" else "base_holdout.parquet")),
            (part(table, holdout=name == "holdout").specialist, part(table, holdout=name == "holdout").base),
            strict=True,
        ):
            assert own is not None
            replace(own, example_id=ids).write(path)
        found[name] = (ids.tolist(), np.concatenate([table.base, table.specialist, table.n_tokens], axis=1))
    ids = [*found["out_of_fold"][0], *found["holdout"][0]]
    values = np.concatenate([found["out_of_fold"][1], found["holdout"][1]])
    names = [f"{who}_{reply}" for who in ("base", "specialist", "n") for reply in ("chosen", "rejected")]
    columns = {"example_id": ids, "part": [name for name, (own, _) in found.items() for _ in own]}
    columns |= {name: values[:, j] for j, name in enumerate(names)}
    columns |= {
        name: [f"{name} {i} {HOSTILE}" if texts else None for i in range(len(ids))]
        for name in ("prompt", "chosen", "rejected")
    }
    write_table(run / "preferences.parquet", columns)
    (run / "metrics.json").write_text(json.dumps(language_metrics(LanguageTables.read(run))))
    return run


def test_the_report_shows_the_pairs_it_gets_wrong_as_text(tmp_path: Path) -> None:
    run = run_of_pairs(tmp_path / "run", texts=True)
    (wrong,) = worst_pairs(run) or []
    assert (wrong.prompt, wrong.gain) == (f"prompt 0 {HOSTILE}", -5.0)
    page = render_language_report(run)
    assert "Gain</dt><dd>-5.00 nats" in page
    assert HOSTILE not in page
    assert "prompt 100 " not in page  # a row of the holdout


def test_without_texts_the_report_says_so(tmp_path: Path) -> None:
    run = run_of_pairs(tmp_path / "run", texts=False)
    assert worst_pairs(run) is None
    assert "the run kept no texts" in render_language_report(run)


def test_a_table_that_lacks_a_row_or_a_number_is_refused(tmp_path: Path) -> None:
    run = run_of_pairs(tmp_path / "run", texts=False)
    with pytest.raises(EvidenceError, match="lacks the example 'nobody'"):
        PreferenceTable.read(run, "holdout", np.array(["nobody"]))
