"""An audit in words, drawing and page: says what was measured, and what could not be; safe with hostile names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence_tables import table
from honed.errors import OutputError
from honed.evidence.audit import Arm, Audit, Scenario
from honed.evidence.audit_plot import noise_plot
from honed.evidence.audit_report import render_audit, write_audit
from honed.evidence.audit_words import CAVEATS, advice, audit_rows, finder_rows, headline, summary
from honed.evidence.label_errors import LabelErrors

HOSTILE = "<script>alert(1)</script>{{ 7*7 }}\u202egnp"
M = 400


def made(
    wrong: dict[str, float], rates: tuple[float, ...] = (0.03, 0.1), *, n_draws: int = 1, alarms: float = 1.0
) -> dict[str, Any]:
    """Figures of an audit of which the truth is known.

    wrong : the share of rows that each arm gets wrong at the highest rate, and in proportion at the others; nested,
    so that the worse arm is wrong on the rows of the better one too.    alarms : share of planted errors flagged.
    """
    label = np.arange(M) % 4
    order = np.random.default_rng(0).permutation(M)

    def predictions(share: float) -> Any:
        guess = label.copy()
        guess[order[: round(share * M)]] += 1
        return table(label, 3.0 * np.eye(4)[guess % 4], np.arange(M) % 5)

    arms = [Arm("clean", 0.0, 0, predictions(wrong["clean"]))]
    scenarios = []
    for rate in rates:
        for draw in range(n_draws):
            for name, share in wrong.items():
                if name != "clean":
                    size = wrong["clean"] + (share - wrong["clean"]) * rate / max(rates)
                    arms.append(Arm(name, rate, draw, predictions(size)))
            planted = np.random.default_rng(draw).permutation(M)[: round(rate * M)]
            spoilt = label.copy()
            spoilt[planted] = (spoilt[planted] + 1) % 4
            flagged = np.zeros(M, dtype=bool)
            flagged[planted[: round(alarms * len(planted))]] = True
            quality = np.where(flagged, 0.1, 0.9)
            found = LabelErrors(arms[0].table.example_id, spoilt, label, quality, flagged)
            scenarios.append(Scenario(rate, draw, spoilt, found))
    group = arms[0].table.example_id
    audit = Audit(
        HOSTILE, "uniform", "accuracy", 0.95, M, 2 * M, group, ("a", "b", "c", "d"), arms, scenarios, {"x": 1}
    )
    figures = audit.to_json() | {"settings": {"seed": 0, "base": HOSTILE, "revision": None}}
    figures["summary"] = summary(figures)
    return json.loads(json.dumps(figures, allow_nan=False))


COSTLY = {"clean": 0.05, "noisy": 0.25, "drop": 0.1, "weight": 0.2}
HARMLESS = {"clean": 0.1, "noisy": 0.1025, "drop": 0.1}
CASES = {
    "costly": made(COSTLY),
    "harmless": made(HARMLESS),
    "one rate, nothing cleaned, nothing flagged": made({"clean": 0.05, "noisy": 0.25}, (0.1,), alarms=0),
    "many rates and draws": made(COSTLY | {"relabel": 0.3}, (0.01, 0.02, 0.5), n_draws=2),
}


class Page(HTMLParser):
    """Collects tags and words, and checks that tags nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_settled_loss_and_what_is_won_back() -> None:
    figures = CASES["costly"]
    at_10 = figures["rates"][1]
    assert at_10["cost"]["value"] == pytest.approx(-0.2) and at_10["arms"]["drop"]["gain"]["value"] == pytest.approx(
        0.15
    )
    share = at_10["arms"]["drop"]["won_back"]
    assert share["value"] == pytest.approx(0.75) and share["low"] < 0.75 < share["high"]
    told = figures["summary"][1].replace("\u202f", " ")
    assert re.match(r"If 10 % of your labels were wrong, you would lose 20\.0 points \[\d+\.\d, \d+\.\d\] of acc", told)
    assert re.search(r"Of that, cleaning by drop wins back 75 % \[\d\d, \d\d\]; cleaning by weight 25 % \[", told)
    assert headline(figures).replace("\u202f", " ").startswith("10 % of wrong labels would cost 20.0 points")
    assert "`honed fit --clean drop` won +15.0 points" in advice(figures)


def test_a_loss_within_chance_is_no_loss() -> None:
    figures = CASES["harmless"]
    assert figures["rates"][1]["arms"]["drop"]["won_back"]["not_run"]
    assert "no loss that could be told from chance" in figures["summary"][0]
    assert headline(figures) == "Wrong labels cost no accuracy that could be told from chance here."
    assert advice(figures).startswith("Worth your afternoon? Not for the accuracy")
    assert "won back" in audit_rows(figures)[0] and audit_rows(figures)[-1]["won back"] == "not run"


def test_a_loss_that_cannot_be_ruled_out_asks_for_more_rows() -> None:
    figures = made({"clean": 0.1, "noisy": 0.1}, (0.1,))
    figures["rates"][0]["cost"] |= {"value": -0.01, "low": -0.05, "high": 0.03}
    assert "They cannot rule out a loss of 5.0 points either" in advice(figures)


def test_nothing_cleaned_and_nothing_flagged_are_said() -> None:
    figures = CASES["one rate, nothing cleaned, nothing flagged"]
    assert figures["summary"][0].endswith("of accuracy.") and "the finder flagged none" in figures["summary"][1]
    assert "Up to 20.0 points are there to be won by hand" in advice(figures)
    row = finder_rows(figures)[0]
    assert row["precision"] == "not run, because nothing was flagged" and row["recall"].startswith("0")


def test_a_finder_that_finds_all_and_one_that_guesses() -> None:
    area = CASES["costly"]["rates"][1]["finder"]["average_precision"]
    assert (area["value"], area["low"], area["high"]) == (1, 1, 1)
    blind = CASES["one rate, nothing cleaned, nothing flagged"]["rates"][0]["finder"]["average_precision"]
    assert blind["value"] == pytest.approx(0.1) and blind["low"] < 0.1 < blind["high"]


def test_draws_are_repeats_of_the_same_rows() -> None:
    figures = CASES["many rates and draws"]
    assert {one["n_draws"] for one in figures["rates"]} == {2} and figures["rates"][0]["finder"]["n_planted"] == 8
    alone = made(COSTLY | {"relabel": 0.3}, (0.01, 0.02, 0.5))
    for one, other in zip(figures["rates"], alone["rates"], strict=True):
        assert one["cost"]["value"] == pytest.approx(other["cost"]["value"])
        assert one["cost"]["low"] == pytest.approx(other["cost"]["low"], rel=0.2), (
            "twice the rows are not twice as sure"
        )


@pytest.mark.parametrize("name", CASES)
def test_the_drawing_puts_less_accuracy_lower_and_nothing_outside(name: str) -> None:
    figures = CASES[name]
    plot = noise_plot(figures)
    lines = {line.name: line for line in plot.lines}
    assert lines["clean"].dots[0].y < lines["noisy"].dots[-1].y or name == "harmless"
    assert len(lines["noisy"].dots) == len(figures["rates"])
    for line in plot.lines:
        for dot in line.dots:
            assert 0 <= dot.high <= dot.y <= dot.low <= plot.bottom and 46 <= dot.x <= plot.name_x
    names = sorted(line.name_y for line in plot.lines)
    assert all(b - a >= 13.9 for a, b in pairwise(names)) and names[-1] <= plot.bottom + 5
    ticks = [tick.at for tick in plot.x_ticks]
    assert all(b - a > 30 for a, b in pairwise(ticks))
    for one in figures["rates"]:
        assert f"{100 * one['rate']:g}\u202f% spoilt: {100 * one['arms']['noisy']['score']['value']:.1f}" in plot.told


@pytest.mark.parametrize("name", CASES)
def test_the_page_says_it_all_loads_nothing_and_obeys_nothing(name: str) -> None:
    figures = CASES[name]
    html = render_audit(figures)
    page = Page(html)
    for sentence in (*figures["summary"], *CAVEATS):
        bare = " ".join(sentence.replace("`", " ").split())
        assert bare.split(" honed ")[0] in page.text, sentence
    assert "<script" not in html and "\u202e" not in html and "{{ 7*7 }}" in page.text
    assert not re.search(r"(?:src|href)=\"(?!#)", html) and "://" not in html and "url(" not in html
    assert not any("style" in attrs or any(key.startswith("on") for key in attrs) for _, attrs in page.tags)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src &#39;sha256-{digest}" in html and "default-src &#39;none&#39;" in html
    assert next(attrs for tag, attrs in page.tags if tag == "svg")["aria-label"]
    anchors = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {str(attrs["href"])[1:] for tag, attrs in page.tags if tag == "a"} <= anchors
    for way in ("drop", "weight", "relabel"):
        assert (f"--clean&nbsp;{way}" in html) == (way in figures["rates"][0]["arms"])


def test_what_was_not_run_stands_on_the_page() -> None:
    text = Page(render_audit(CASES["harmless"])).text
    assert "not run, because the noise cost no accuracy that could be told from chance" in text


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_audit(tmp_path / "audit.html", CASES["costly"])
    assert (tmp_path / "audit.html").read_text(encoding="utf-8") == render_audit(CASES["costly"])
    with pytest.raises(OutputError, match="cannot be written"):
        write_audit(tmp_path / "absent" / "audit.html", CASES["costly"])
