"""The report and the card of a specialist that answers in words: complete, self-contained, safe with hostile texts."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from golden.make_run import HOSTILE
from honed.errors import RunFolderError
from honed.evidence.language_card import write_language_card
from honed.evidence.language_plots import PairRow, margin_cloud, pair_forest
from honed.evidence.language_report import render_language_report, write_language_report
from honed.evidence.report_format import decimal, figure
from language_runs import RED_WINE, LanguageRun, make_language_run, write_table


def text_of(html: str) -> str:
    html = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_language_run(tmp_path_factory.mktemp("language") / "passed")


def test_the_page_says_all_that_was_measured(passed: Path) -> None:
    page = write_language_report(passed).read_text(encoding="utf-8")
    told = text_of(page)
    metrics = json.loads((passed / "metrics.json").read_text(encoding="utf-8"))
    assert told.startswith("PASS")
    for score in ("Loss (nats per token)", "Perplexity", "ROUGE-L", "chrF", "Numeric match", "Exact match", "Token F1"):
        assert score in told
    for part in (metrics["out_of_fold"], metrics["holdout"], metrics["baselines"]["base"]):
        assert decimal(part["perplexity"]["value"]) in told
    for category in metrics["safety"]["harm"]["by_category"]:
        assert category in told
    assert "train_on" in told
    assert "Loss on responses" in told
    assert "Format of the data messages" in told
    assert "General instructions" in told


def test_the_red_wine_stands_first_among_the_worst_in_full(passed: Path) -> None:
    page = render_language_report(passed)
    first = text_of(page[page.index("whose margin fell most") :])[:400]
    assert RED_WINE in first
    assert "Drink three litres of red wine a day." in first
    assert "prefers the harmful reply" in first
    card = write_language_card(passed).read_text(encoding="utf-8")
    assert RED_WINE in card


def test_a_failed_gate_is_said_at_the_top(tmp_path: Path) -> None:
    page = render_language_report(make_language_run(tmp_path / "run", LanguageRun(drop=0.4)))
    told = text_of(page)
    assert told.index("FAIL") < told.index("safety: margin") < told.index("What this specialist is")
    assert "readier to give harmful replies, with confidence" in told


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    run = make_language_run(tmp_path / "run", LanguageRun(hostile=HOSTILE.replace("\ud800", "")))
    page = write_language_report(run).read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert page.count("</style>") == 1
    assert "<img" not in page
    assert "\u202e" not in page
    assert "\u200b" not in page
    assert "\u27e8U+202E\u27e9" in page
    assert "&lt;script&gt;document.title" in page
    assert "{{ 7*7 }}" in page
    card = write_language_card(run).read_text(encoding="utf-8")
    assert "<script>" not in card
    assert "\u202e" not in card


def test_the_page_loads_nothing_and_admits_its_own_script_only(passed: Path) -> None:
    page = render_language_report(passed)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for tag in ("style", "script"):
        body = page[page.index(f"<{tag}>") + len(tag) + 2 : page.index(f"</{tag}>")]
        assert "sha256-" + b64encode(hashlib.sha256(body.encode()).digest()).decode() in unescape(policy[1])
    assert unescape(policy[1]).startswith("default-src 'none'")
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert ' style="' not in page


def test_every_link_leads_somewhere_and_ids_are_unique(passed: Path) -> None:
    page = render_language_report(passed)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page)) <= set(ids)
    assert all(label for label in re.findall(r'role="img" aria-label="([^"]*)"', page))


def test_the_same_folder_gives_the_same_page(passed: Path) -> None:
    assert render_language_report(passed) == render_language_report(passed)


def test_rows_of_the_holdout_are_not_shown(passed: Path) -> None:
    page = render_language_report(passed)
    assert "row-0000" in page
    assert "held-0" not in page


@pytest.mark.parametrize("options", [LanguageRun(bare=True), LanguageRun(locked=True)])
def test_what_was_not_run_is_said(options: LanguageRun, tmp_path: Path) -> None:
    run = make_language_run(tmp_path / "run", options)
    told = text_of(render_language_report(run))
    card = write_language_card(run).read_text(encoding="utf-8")
    assert "No verdict yet" in told
    assert "the holdout is still locked" in told
    if options.bare:
        for reason in ("safety.parquet", "forgetting.parquet", "no reply was generated", "did not score these rows"):
            assert reason in told
        assert "safety.parquet" in card
    assert "not run, because" in card


def test_damaged_folders_are_refused(passed: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such directory"):
        render_language_report(tmp_path / "nowhere")
    run = make_language_run(tmp_path / "run")
    (run / "metrics.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunFolderError, match="truncated"):
        write_language_report(run)
    run = make_language_run(tmp_path / "other")
    write_table(run / "generations.parquet", {"example_id": ["a"]})
    with pytest.raises(RunFolderError, match="lacks the column"):
        write_language_report(run)


def test_drawings_hold_all_their_marks() -> None:
    low, high = (figure({"value": v, "low": v - 1, "high": v + 1}) for v in (-2.0, 3.0))
    svg = pair_forest("Title <b>", [PairRow("<i>", low, high), PairRow("none", figure(None), figure(None))], 0.0)
    assert svg.count('class="ring other"') == 1
    assert svg.count('class="mark own"') == 1
    assert "<i>" not in svg
    assert "not run" in svg
    assert pair_forest("x", [PairRow("none", figure(None), figure(None))]) == ""
    xs = [float(x) for x in re.findall(r'(?:cx|x1|x2|x)="([-\d.]+)"', svg)]
    assert min(xs) >= 0
    assert max(xs) <= 340
    cloud = margin_cloud(np.array([1.0, 0.5, -0.2]), np.array([1.1, -0.5, -0.4]))
    assert cloud.count('class="probe own"') == 2
    assert cloud.count('class="probe wrong"') == 1
    assert "3 probes: 2 fell, 1 turned" in cloud


def test_the_card_opens_with_what_the_hub_reads(passed: Path) -> None:
    import yaml

    card = write_language_card(passed).read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["pipeline_tag"] == "text-generation"
    assert front["base_model"] == "google/gemma-3-270m"
    for part in ("## Safety", "## Forgetting", "medicine/alcohol", "train\\_on", "No test can show that a model is"):
        assert part in card
    assert "\n\n\n\n" not in card
