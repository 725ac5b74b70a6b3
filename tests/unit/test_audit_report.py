"""An audit's options, words, plot, page and row table: whole, honest about what is missing, safe with hostile names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score

from evidence_tables import table
from honed.errors import OutputError, UsageError
from honed.evidence.audit import Arm, Audit, Scenario
from honed.evidence.audit_plots import noise_plot
from honed.evidence.audit_report import render_audit
from honed.evidence.audit_words import audit_rows, not_said, summary
from honed.evidence.label_errors import LabelErrors
from honed.pipeline.audit import audit_options
from honed.pipeline.audit_files import audit_table, write_audit
from honed.pipeline.run_folder import claim

HOSTILE = "<script>alert(1)</script>\"'&\u202egnp"
N = 300


def arm(name: str, rate: float, accuracy: float) -> Arm:
    label = np.arange(N) % 3
    right = np.arange(N) < accuracy * N
    predicted = np.where(right, label, (label + 1) % 3)
    return Arm(name, rate, 0, table(label, 3.0 * np.eye(3)[predicted], np.arange(N) % 5))


def made(noisy: float = 0.7, cleaned: float = 0.8) -> Audit:
    label = np.arange(N) % 3
    spoilt = label.copy()
    spoilt[:30] = (label[:30] + 1) % 3
    clean = arm("clean", 0.0, 0.9)
    ids = clean.table.example_id
    quality = np.where(spoilt != label, 0.2, 0.8) + np.linspace(-0.3, 0.3, N)[::-1]
    found = LabelErrors(ids, spoilt, label, np.clip(quality, 0, 1), quality < 0.4)
    return Audit(
        source=f"/data/{HOSTILE.replace('/', '')}", kind="confusion", metric="accuracy", level=0.95, n_rows=N,
        n_all_rows=N, group=ids, label_names=("a", HOSTILE, "c"),
        arms=[clean, arm("noisy", 0.1, noisy), arm("drop", 0.1, cleaned)],
        scenarios=[Scenario(0.1, 0, spoilt, found)], timings_s={"train": 1.0},
    )  # fmt: skip


def test_summary_says_the_fall_and_the_share_won_back() -> None:
    figures = made().to_json()
    told = summary(figures)
    assert len(told) == 1
    assert told[0].startswith("If 10\u202f% of the labels were wrong, accuracy would fall by 20.0 points [")
    low, high = map(float, re.search(r"points \[([\d.]+), ([\d.]+)\]", told[0]).groups())
    assert 0 < low < 20 < high
    assert "Cleaning by drop wins back 50\u202f% [" in told[0]
    assert f"flags {figures['rates'][0]['finder']['n_hits']} of the 30 planted errors" in told[0]


def test_cleaning_that_makes_it_worse_is_said() -> None:
    assert "Cleaning by drop makes it worse, by 50\u202f% of the fall" in summary(made(cleaned=0.6).to_json())[0]


def test_a_gain_within_chance_is_said_to_be_so() -> None:
    assert "of it, which cannot be told from nothing." in summary(made(cleaned=0.703).to_json())[0]
    assert "cannot be told from nothing" not in summary(made().to_json())[0]


def test_a_fall_that_is_none_has_no_share() -> None:
    figures = made(noisy=0.9).to_json()
    told = summary(figures)[0]
    assert "no fall of accuracy could be told from chance" in told
    reason = "not run, because the noise cost no accuracy that could be told from chance"
    assert reason in told
    assert audit_rows(figures)[-1]["won back"] == reason
    assert reason in render_audit(figures)


def test_a_sample_is_said_only_where_one_was_taken() -> None:
    audited = made()
    assert not any("sample" in note for note in not_said(audited.to_json()))
    sampled = replace(audited, n_all_rows=5000).to_json()
    assert any("300 of 5\u202f000" in note for note in not_said(sampled))


def test_finder_that_flags_nothing_is_not_run() -> None:
    audited = made()
    found = replace(audited.scenarios[0].found, is_flagged=np.zeros(N, dtype=bool))
    own = replace(audited, scenarios=[replace(audited.scenarios[0], found=found)])
    assert "not run, because nothing was flagged" in render_audit(own.to_json())


def test_plot_marks_stand_where_the_figures_are() -> None:
    plot = noise_plot(made().to_json())
    assert [line.name for line in plot.lines] == ["not cleaned", "cleaned by drop"]
    noisy, drop = (line.points for line in plot.lines)
    assert noisy[0] == drop[0], "both begin at the labels as given"
    assert noisy[1].y > drop[1].y > noisy[0].y, "lower accuracy stands lower"
    assert all(point.high < point.y < point.low for point in (*noisy, *drop))
    assert noisy[1].x != drop[1].x
    assert "10\u202f% noise, cleaned by drop: 80.0\u202f%" in plot.told


def test_page_is_self_contained_and_obeys_nothing() -> None:
    page = render_audit(made().to_json())
    assert "<script" not in page and "\u202e" not in page and "&lt;script&gt;" in page
    policy = re.search(r"Content-Security-Policy\" content=\"([^\"]+)", page).group(1)
    assert "script-src" not in policy and "default-src" in policy
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert 'role="img" aria-label="Accuracy against planted noise' in page
    assert page == render_audit(made().to_json())


def test_rows_give_back_the_figures(tmp_path: Path) -> None:
    audited = made()
    rows = audit_table(audited).to_pandas()
    own = audited.to_json()["rates"][0]
    for name, figure in (("noisy", own["arms"]["noisy"]), ("drop", own["arms"]["drop"])):
        part = rows[rows.arm == name]
        assert accuracy_score(part.label, part.prediction) == pytest.approx(figure["score"]["value"])
    noisy = rows[rows.arm == "noisy"]
    area = average_precision_score(noisy.label != noisy.planted_label, -noisy.quality.astype(float))
    assert area == pytest.approx(own["finder"]["average_precision"])
    assert int(noisy.is_flagged.sum()) == own["finder"]["n_flagged"]
    assert rows[rows.arm == "drop"].quality.isna().all()
    assert (rows[rows.arm == "clean"].label == rows[rows.arm == "clean"].planted_label).all()
    written = write_audit(tmp_path, audited)
    assert {path.name for path in tmp_path.iterdir()} == {"audit.json", "audit.parquet", "audit.html"}
    assert written.report.read_text(encoding="utf-8") == render_audit(written.figures)


def test_options_take_each_rate_and_mode_once() -> None:
    options = audit_options([0.1, 0.03, 0.1], "uniform", 2, ["drop", "drop"], 100)
    assert (options.rates, options.modes, options.n_draws) == ((0.03, 0.1), ("drop",), 2)
    assert audit_options(None, "confusion", 1, None, 100).rates == (0.03, 0.1)


@pytest.mark.parametrize(
    ("rates", "kind", "draws", "modes", "rows", "says"),
    [
        ([3.0], "uniform", 1, None, 100, "3 means 300%; did you mean 0.03?"),
        ([0.0], "uniform", 1, None, 100, "--inject must lie in"),
        ([-0.1], "uniform", 1, None, 100, "--inject must lie in"),
        ([float("nan")], "uniform", 1, None, 100, "--inject must lie in"),
        ([], "uniform", 1, None, 100, "names no rate"),
        ([0.1], "pink", 1, None, 100, "--noise pink: it is none of"),
        ([0.1], "uniform", 1, ["bleach"], 100, "--mode bleach: it is none of drop, relabel, weight"),
        ([0.1], "uniform", 0, None, 100, "--draws must be at least 1"),
        ([0.1], "uniform", 1, None, 49, "--rows at least 50"),
    ],
)
def test_bad_options_are_named(
    rates: list[float], kind: str, draws: int, modes: list[str] | None, rows: int, says: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        audit_options(rates, kind, draws, modes, rows)


def test_a_folder_that_holds_something_is_refused_without_naming_resume(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(OutputError, match="not empty") as caught:
        claim(str(tmp_path), "x", "audits")
    assert "resume" not in str(caught.value)
