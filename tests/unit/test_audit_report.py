"""An audit's options, words, plot, page and row table: whole, honest about what is missing, safe with hostile names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score

from evidence_tables import table
from honed.errors import OutputError, UsageError
from honed.evidence.audit import Arm, Audit, Scenario
from honed.evidence.audit_plots import noise_plot
from honed.evidence.audit_report import render_audit
from honed.evidence.audit_words import advice, audit_rows, finder_rows, headline, not_said, summary
from honed.evidence.label_errors import LabelErrors
from honed.pipeline.audit import audit_options
from honed.pipeline.audit_files import audit_table, write_audit
from honed.pipeline.run_folder import claim

HOSTILE = "<script>alert(1)</script>\"'&\u202egnp"
N = 300
SETTINGS = {"method": "lora", "base": HOSTILE, "revision": None}


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


def figures_of(audited: Audit) -> dict[str, Any]:
    """As audit.json holds them."""
    figures: dict[str, Any] = json.loads(json.dumps(audited.to_json() | {"settings": SETTINGS}, allow_nan=False))
    return figures


def many(rates: tuple[float, ...], n_draws: int = 1, ways: tuple[str, ...] = ("drop", "weight", "relabel")) -> Audit:
    """Several rates, draws and ways of cleaning; the more noise the worse."""
    one, label = made(), np.arange(N) % 3
    arms, scenarios = [one.arms[0]], []
    for rate in rates:
        for draw in range(n_draws):
            for i, name in enumerate(("noisy", *ways)):
                arms.append(replace(arm(name, rate, 0.9 - (0.4 - 0.1 * i) * rate), draw=draw))
            spoilt = label.copy()
            rows = np.random.default_rng(draw).permutation(N)[: round(rate * N)]
            spoilt[rows] = (label[rows] + 1) % 3
            found = replace(one.scenarios[0].found, quality=np.full(N, 0.5), is_flagged=np.zeros(N, dtype=bool))
            scenarios.append(Scenario(rate, draw, spoilt, found))
    return replace(one, arms=arms, scenarios=scenarios)


def test_summary_says_the_fall_and_the_share_won_back() -> None:
    figures = made().to_json()
    told = summary(figures)
    assert len(told) == 2
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
    assert reason in render_audit(figures | {"settings": SETTINGS})


def test_a_sample_is_said_only_where_one_was_taken() -> None:
    audited = made()
    assert not any("sample" in note for note in not_said(audited.to_json()))
    sampled = replace(audited, n_all_rows=5000).to_json()
    assert any("300 of 5\u202f000" in note for note in not_said(sampled))


def test_finder_that_flags_nothing_is_not_run() -> None:
    audited = made()
    found = replace(audited.scenarios[0].found, is_flagged=np.zeros(N, dtype=bool))
    own = replace(audited, scenarios=[replace(audited.scenarios[0], found=found)])
    assert "not run, because nothing was flagged" in render_audit(figures_of(own))


def test_plot_marks_stand_where_the_figures_are() -> None:
    plot = noise_plot(made().to_json())
    lines = {line.name: line for line in plot.lines}
    assert list(lines) == ["clean", "noisy", "drop"]
    clean, noisy, drop = (line.dots for line in plot.lines)
    assert noisy[-1].y > drop[-1].y > clean[0].y, "lower accuracy stands lower"
    assert lines["noisy"].line.startswith(f"{clean[0].x:g},{clean[0].y:g} "), "it begins at the labels as given"
    assert lines["noisy"].band and not lines["drop"].band, "a single figure has no band"
    assert noisy[-1].x != drop[-1].x
    assert "10\u202f% spoilt, cleaned by drop: 80.0\u202f%" in plot.told


@pytest.mark.parametrize("rates", [(0.1,), (0.01, 0.02, 0.5), (0.1, 0.2, 0.3, 0.4)])
def test_nothing_of_the_plot_stands_outside_or_on_another_name(rates: tuple[float, ...]) -> None:
    plot = noise_plot(many(rates).to_json())
    for line in plot.lines:
        for dot in line.dots:
            assert 0 <= dot.high <= dot.y <= dot.low <= plot.bottom and 46 <= dot.x <= plot.name_x
    names = sorted(line.name_y for line in plot.lines)
    assert all(b - a >= 13.9 for a, b in pairwise(names)) and names[-1] <= plot.bottom + 5
    assert all(b.at - a.at > 30 for a, b in pairwise(plot.x_ticks)), "numbers do not overlap"


def test_worth_your_afternoon() -> None:
    figures = made().to_json()
    assert headline(figures).startswith("10\u202f% of wrong labels would cost 20.0 points [")
    assert re.search(
        r"`honed fit --clean drop` won back \+10\.0 points \[\+[\d.]+, \+[\d.]+\] without", advice(figures)
    )
    within = made(cleaned=0.703).to_json()
    assert "Cleaning by drop won nothing back" in advice(within) and "Up to 20.0 points are to be won" in advice(within)
    harmless = made(noisy=0.9).to_json()
    assert "no accuracy that could be told from chance" in headline(harmless)
    assert advice(harmless) == "Worth your afternoon? Not for the accuracy, as far as these rows can tell."
    harmless["rates"][0]["cost"]["low"] = -0.05
    assert "They cannot rule out a fall of 5.0 points either" in advice(harmless)
    alone = many((0.5,), ways=()).to_json()
    assert advice(alone).startswith("Worth your afternoon? Up to 20.0 points are to be won by hand")


def test_average_precision_has_an_interval_that_holds_it() -> None:
    area = made().to_json()["rates"][0]["finder"]["average_precision"]
    assert 0 < area["low"] < area["value"] < area["high"] <= 1
    blind = many((0.1,)).to_json()["rates"][0]["finder"]["average_precision"]
    assert blind["value"] == pytest.approx(0.1) and blind["low"] < 0.1 < blind["high"]
    assert finder_rows(made().to_json())[0]["average precision"].startswith(f"{100 * area['value']:.1f}\u202f% [")


def test_draws_are_repeats_of_the_same_rows() -> None:
    one, two = (many((0.5,), n_draws, ("drop",)).to_json()["rates"][0] for n_draws in (1, 2))
    assert (two["n_draws"], two["finder"]["n_planted"]) == (2, 300)
    assert two["cost"]["value"] == pytest.approx(one["cost"]["value"])
    assert two["cost"]["low"] == pytest.approx(one["cost"]["low"], rel=0.2), "no more rows, so no more certain"


def test_page_is_self_contained_and_obeys_nothing() -> None:
    page = render_audit(figures_of(made()))
    assert "<script" not in page and "\u202e" not in page and "&lt;script&gt;" in page
    policy = re.search(r"Content-Security-Policy\" content=\"([^\"]+)", page).group(1)
    assert "script-src" not in policy and "default-src" in policy
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert 'role="img" aria-label="Accuracy against the share of spoilt labels' in page
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    assert f"style-src &#39;sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}" in page
    assert not re.search(r" (style|on\w+)=", page) and "://" not in page and "url(" not in page
    assert all(f'id="{anchor}"' in page for anchor in re.findall(r'href="#([\w-]+)"', page))
    assert all((f"--clean&nbsp;{way}" in page) == (way == "drop") for way in ("drop", "weight", "relabel"))
    assert page == render_audit(figures_of(made()))


def test_rows_give_back_the_figures(tmp_path: Path) -> None:
    audited = made()
    rows = audit_table(audited).to_pandas()
    own = audited.to_json()["rates"][0]
    for name, figure in (("noisy", own["arms"]["noisy"]), ("drop", own["arms"]["drop"])):
        part = rows[rows.arm == name]
        assert accuracy_score(part.label, part.prediction) == pytest.approx(figure["score"]["value"])
    noisy = rows[rows.arm == "noisy"]
    area = average_precision_score(noisy.label != noisy.planted_label, -noisy.quality.astype(float))
    assert area == pytest.approx(own["finder"]["average_precision"]["value"])
    assert int(noisy.is_flagged.sum()) == own["finder"]["n_flagged"]
    assert rows[rows.arm == "drop"].quality.isna().all()
    assert (rows[rows.arm == "clean"].label == rows[rows.arm == "clean"].planted_label).all()
    assert rows[rows.arm == "clean"].group.tolist() == audited.group.tolist()
    written = write_audit(tmp_path, audited, SETTINGS)
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
        (["3%"], "uniform", 1, None, 100, "--inject '3%' is no number"),
        ([], "uniform", 1, None, 100, "names no rate"),
        ([0.1], "pink", 1, None, 100, "--noise pink: it is none of"),
        ([0.1], "uniform", 1, ["bleach"], 100, "--mode bleach: it is none of drop, relabel, weight"),
        ([0.1], "uniform", 0, None, 100, "--draws must be at least 1"),
        ([0.1], "uniform", 1, None, 49, "--rows at least 50"),
    ],
)
def test_bad_options_are_named(
    rates: list[float | str], kind: str, draws: int, modes: list[str] | None, rows: int, says: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        audit_options(rates, kind, draws, modes, rows)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="could not be written"):
        write_audit(tmp_path / "absent", made(), SETTINGS)


def test_a_folder_that_holds_something_is_refused_without_naming_resume(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(OutputError, match="not empty") as caught:
        claim(str(tmp_path), "x", "audits")
    assert "resume" not in str(caught.value)
