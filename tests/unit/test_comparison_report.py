"""The page and the console table of a comparison: whole, honest about what is missing, safe with hostile names."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from evidence_tables import table
from honed.errors import OutputError
from honed.evidence.comparison_plots import cost_plot, interval_plot
from honed.evidence.comparison_report import (
    COLUMNS,
    ComparisonFacts,
    comparison_rows,
    render_comparison,
    write_comparison,
)
from honed.evidence.selection import Comparison, Cost, Entry, compare
from honed.evidence.selection_words import CAVEATS, RULE

HOSTILE = "<script>alert(1)</script>\"'&\u202egnp"
FACTS = ComparisonFacts("legal.csv", "The holdout is shut: `honed gate` opens it.", (("Base model", "minilm"),))
VOID = {"meta", "br"}


def entry(name: str, accuracy: float, cost: Cost, seed: int) -> Entry:
    label = np.random.default_rng(0).integers(0, 3, 200)
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(200) < accuracy, label, (label + 1) % 3)
    return Entry(name, table(label, 3.0 * np.eye(3)[predicted], np.arange(200) % 5), cost)


def made(metric: str = "macro_f1", name: str = "lora", not_run: dict[str, str] | None = None) -> Comparison:
    entries = [
        entry("full", 0.85, Cost(22_713_216, 812.0, 3_400_000_000, 90_900_000, 0.0), 1),
        entry(name, 0.84, Cost(148_224, 310.0, None, 600_000, 0.00021), 2),
        entry("majority", 0.33, Cost(0, 0.1, None, 0, None, is_baseline=True), 3),
        entry("tfidf", 0.5, Cost(None, None, None, None, None, is_baseline=True), 4),
    ]
    return compare(entries, entries[0].predictions.example_id, metric=metric, not_run=not_run)


class Page(HTMLParser):
    """Collects tags, checks that they nest, and keeps the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.stack == [], f"left open: {self.stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack[-1] == tag, f"</{tag}> closes {self.stack[-1:]}"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy", "log_loss", "auroc"])
def test_the_page_says_everything_and_loads_nothing(metric: str) -> None:
    comparison = made(metric, not_run={"prefix": "a slot diverged twice"})
    html = render_comparison(comparison, FACTS)
    page = Page(html)
    assert " ".join(comparison.recommendation.split()) in page.text
    for sentence in (RULE, *CAVEATS, "prefix: not run, because a slot diverged twice", "The holdout is shut:"):
        assert sentence in page.text
    for row in comparison_rows(comparison):
        for column in ("method", "corrected p", "trained parameters", "time", "peak memory", "artifact"):
            assert " ".join(row[column].split()) in page.text, (column, row)
    assert not re.search(r"(?:src|href)=\"(?!#)", html)
    assert "://" not in html and "url(" not in html and "@import" not in html
    assert not any("style" in attrs or any(name.startswith("on") for name in attrs) for _, attrs in page.tags)


def test_the_policy_allows_exactly_our_style_and_script() -> None:
    html = render_comparison(made(), FACTS)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_every_drawing_has_a_title_and_a_description_that_it_names() -> None:
    page = Page(render_comparison(made(), FACTS))
    drawings = [attrs for tag, attrs in page.tags if tag == "svg"]
    ids = [attrs["id"] for tag, attrs in page.tags if tag in ("title", "desc") and "id" in attrs]
    assert len(drawings) == 2
    assert len(set(ids)) == 4
    assert {name for svg in drawings for name in svg["aria-labelledby"].split()} == set(ids)
    assert all(svg["role"] == "img" for svg in drawings)


def test_hostile_names_are_escaped_and_made_visible() -> None:
    html = render_comparison(
        made(name=HOSTILE, not_run={HOSTILE: HOSTILE}), ComparisonFacts(HOSTILE, HOSTILE, ((HOSTILE, HOSTILE),))
    )
    page = Page(html)
    assert html.count("<script>") == 1  # our own
    assert "\u202e" not in html
    assert "⟨U+202E⟩" in page.text
    assert "<script>alert(1)</script>" in page.text  # as words


def test_console_rows_have_every_column_and_say_what_was_not_measured() -> None:
    rows = comparison_rows(made("accuracy"))
    assert [tuple(row) for row in rows] == [COLUMNS] * 4
    by_name = {row["method"]: {key: text.replace("\u202f", " ") for key, text in row.items()} for row in rows}
    assert by_name["lora"]["peak memory"] == "not measured"
    assert by_name["lora"]["added latency"] == "+0.210 ms"
    assert by_name["lora"]["trained parameters"] == "148 224"
    assert by_name["lora"]["time"] == "5 min 10 s"
    assert by_name["full"]["peak memory"] == "3.40 GB"
    assert {by_name["tfidf"][key] for key in ("trained parameters", "time", "artifact")} == {"not measured"}
    assert by_name["majority"]["corrected p"] == "< 0.001"
    best = next(row for row in rows if row["difference to best"] == "–")
    assert best["corrected p"] == "–"
    assert re.fullmatch(r"\d\d\.\d % \(\d\d\.\d – \d\d\.\d %\)", by_name["full"]["score"])
    assert re.fullmatch(r"−\d\d\.\d \(−\d\d\.\d to −\d\d\.\d\)", by_name["majority"]["difference to best"])


def test_the_plots_put_what_is_more_further() -> None:
    comparison = made()
    intervals = {mark.name: mark for mark in interval_plot(comparison).marks}
    costs = {mark.name: mark for mark in cost_plot(comparison).marks}
    for mark in intervals.values():
        assert mark.low <= mark.x <= mark.high
    assert intervals["majority"].x < min(intervals["full"].x, intervals["lora"].x)
    assert costs["majority"].x == costs["tfidf"].x < costs["lora"].x < costs["full"].x
    assert costs["majority"].y > costs["lora"].y  # SVG counts downwards
    assert costs["lora"].low > costs["lora"].y > costs["lora"].high
    assert [mark.shape for mark in intervals.values()].count("square") == 2
    assert {mark.name for mark in costs.values() if mark.tone == "own"} == {comparison.recommended}


def test_names_of_equal_points_do_not_cover_each_other() -> None:
    price = Cost(1_000, 1.0, None, 1, None)
    entries = [entry(f"lora-{i}", 0.8, price, 1) for i in range(5)]
    comparison = compare(entries, entries[0].predictions.example_id, metric="accuracy")
    places = {(mark.text_x, mark.text_y, mark.anchor) for mark in cost_plot(comparison).marks}
    assert len(places) == 5


def test_a_single_method_and_a_lone_fold_still_give_a_page() -> None:
    one = entry("lora", 0.8, Cost(148_224, 310.0, None, 600_000, None), 1)
    one = replace(one, predictions=replace(one.predictions, fold=np.zeros(200, dtype=np.int64)))
    comparison = compare([one], one.predictions.example_id)
    page = Page(render_comparison(comparison, ComparisonFacts("x", "shut")))
    assert "Cross-fitted score: not run, because all rows are of one fold" in page.text


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "comparison.html"
    write_comparison(path, made(), FACTS)
    assert path.read_text(encoding="utf-8") == render_comparison(made(), FACTS)
    with pytest.raises(OutputError, match="cannot be written"):
        write_comparison(tmp_path / "absent" / "comparison.html", made(), FACTS)
