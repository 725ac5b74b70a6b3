"""The part of the report on labels that look wrong: whole, safe, masked, and absent where nothing was judged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from golden.make_run import RunOptions, make_run
from honed.app.outcome import show_outcome
from honed.evidence.card import render_card
from honed.evidence.label_table import N_QUOTED, LabelTable
from honed.evidence.report import environment
from honed.evidence.report_labels import N_SHOWN, flagged_words, labels_view
from honed.evidence.run_facts import RunFacts, read_run
from honed.pipeline.run_folder import RunFolder

Change = Callable[[dict[str, Any]], object]


def made(run: Path, options: RunOptions | None = None, metrics: Change = lambda facts: None) -> RunFacts:
    make_run(run, options or RunOptions())
    facts = json.loads((run / "metrics.json").read_text())
    metrics(facts)
    (run / "metrics.json").write_text(json.dumps(facts))
    return read_run(run)


def html_of(facts: RunFacts) -> str:
    return environment().get_template("labels.html.j2").render(labels=labels_view(facts))


def words(html: str) -> str:
    told: list[str] = []

    class Words(HTMLParser):
        def handle_data(self, data: str) -> None:
            told.append(data)

    Words().feed(html)
    return " ".join(" ".join(told).split())


def test_it_shows_the_counts_the_worst_rows_in_order_and_the_way_on(tmp_path: Path) -> None:
    facts = made(tmp_path / "run")
    assert facts.labels is not None
    text = words(html_of(facts))
    assert f"6 of {len(facts.labels)} labels" in text
    assert "specialist, tfidf logreg, linear probe" in text
    shown = facts.labels.example_id[:N_SHOWN].tolist()
    assert re.findall(r"· (row-\d+)", text) == shown
    assert text.count("not flagged") == N_SHOWN - 6
    row = int(facts.labels.row[0]) + 1
    assert (
        f"Given {facts.labels.given[0]} Suggested {facts.labels.suggested[0]} Quality {facts.labels.quality[0]:.3f}"
        in text
    )
    assert f"Row {row} · {shown[0]} " in text
    assert "honed labels RUN --output labels.csv" in text
    assert "honed fit --config RUN/config.yaml --decisions labels.csv" in text


def test_hostile_texts_and_class_names_are_shown_as_text(tmp_path: Path) -> None:
    html = html_of(made(tmp_path / "run", RunOptions(hostile=True)))
    assert "<script" not in html
    assert "<img" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "{{ 7*7 }}" in html
    assert "<script>document.title='owned'</script>" in words(html)


def test_personal_data_are_masked_also_where_the_quotation_is_cut(tmp_path: Path) -> None:
    make_run(tmp_path / "run", RunOptions())
    path = tmp_path / "run" / "texts.parquet"
    table = pq.ParquetFile(path).read()
    address = "jane.doe@example.org"
    told = f"{'x' * (N_QUOTED - 12)} {address} and more"  # the quotation ends inside the address
    pq.write_table(table.set_column(1, "text", pa.array([told] * len(table))), path)
    html = html_of(read_run(tmp_path / "run"))
    assert "[e-mail" in html
    assert "jane" not in html


@pytest.mark.parametrize(
    ("config", "said", "unsaid"),
    [
        ({"clean": "drop"}, "judged only by models that never saw that fold", "decisions of a person"),
        ({"clean": "review", "decisions": "labels.csv"}, "decisions of a person changed only", "never saw that fold"),
    ],
)
def test_cleaning_is_told_by_model_with_why_the_scores_are_honest(
    config: dict[str, str], said: str, unsaid: str, tmp_path: Path
) -> None:
    facts = made(tmp_path / "run", metrics=lambda m: m["cleaning"]["fold 1"].update(n_relabelled=41, n_weighed_less=7))
    text = words(html_of(replace(facts, config=facts.config | config)))
    assert "fold 1 3 41 7 fold 2 4 0 0" in text
    assert "every scored row keeps the label that the data give" in text
    assert said in text
    assert unsaid not in text


def test_no_section_where_nothing_was_judged_or_cleaned(tmp_path: Path) -> None:
    facts = made(tmp_path / "run", RunOptions(bare=True))
    assert labels_view(facts) is None
    assert html_of(facts).strip() == ""
    assert "- **Labels**" not in render_card(facts)


def test_cleaning_without_judged_labels_is_told_alone(tmp_path: Path) -> None:
    text = words(html_of(made(tmp_path / "run", metrics=lambda m: m.pop("labels"))))
    assert "What was taught otherwise" in text
    assert "look wrong, judged" not in text
    assert "Quality" not in text


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    facts = made(tmp_path / "run")
    assert "no labels.parquet" in words(html_of(replace(facts, labels=None)))
    bare = words(html_of(replace(facts, texts=None)))
    assert "this run kept none (no texts.parquet)" in bare
    assert facts.labels is not None
    assert str(facts.labels.example_id[0]) in bare


def test_images_are_named_by_their_path(tmp_path: Path) -> None:
    facts = made(tmp_path / "run")
    paths = {example: f"photos/{example}.jpg" for example in facts.texts or {}}
    image = replace(facts, texts=paths, adapter=facts.adapter | {"task": "image_classification"})
    nameless = words(html_of(replace(image, texts={})))
    text = words(html_of(image))
    assert facts.labels is not None
    assert f"photos/{facts.labels.example_id[0]}.jpg" in text
    assert "(no path)" in nameless
    assert "(no text)" not in nameless


@pytest.mark.parametrize(
    ("n_flagged", "n_judged", "said"),
    [(12, 1718, "12 of 1,718 labels look wrong"), (1, 306, "1 of 306 labels looks wrong"), (0, 306, "")],
)
def test_card_and_outcome_say_one_line_if_a_label_looks_wrong(
    n_flagged: int, n_judged: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = made(tmp_path / "run", metrics=lambda m: m["labels"].update(n_flagged=n_flagged, n_judged=n_judged))
    show_outcome(RunFolder(tmp_path / "run"), as_json=False)
    printed, card = capsys.readouterr().out, render_card(facts)
    if said:
        assert f"{said}: honed labels {tmp_path / 'run'}" in printed
        assert f"- **Labels**: {said.replace(',', chr(0x202F))}; `honed labels` lists them" in card
    else:
        assert "honed labels" not in printed + card
        assert "What to do next" not in html_of(facts)


def test_an_empty_table_of_labels_breaks_nothing(tmp_path: Path) -> None:
    facts = made(tmp_path / "run")
    assert facts.labels is not None
    nobody: LabelTable = facts.labels.take(np.array([], dtype=np.int64))
    assert "<li>" not in html_of(replace(facts, labels=nobody)).split("What to do next")[0].split("</ul>")[1]


@pytest.mark.parametrize(("agreement", "is_said"), [(0.55, True), (0.95, False), (None, False)])
def test_judges_that_err_a_lot_say_so(agreement: float | None, is_said: bool, tmp_path: Path) -> None:
    """Planted fault: on hard data a fifth of the labels would be called wrong, by models that are wrong as often."""
    facts = made(tmp_path / "run", metrics=lambda m: m["labels"].update(agreement_frac=agreement))
    assert ("find the given label the likeliest in only 55% of all rows" in words(html_of(facts))) is is_said
    assert flagged_words(facts).endswith("labels look wrong, or hard" if is_said else "labels look wrong")
