"""The report and the card mask personal data, also of run folders that were written before anything was masked."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from golden.make_run import RunOptions, make_run
from honed.evidence.card import write_card
from honed.evidence.report import write_report
from honed.evidence.run_facts import read_run

SECRET = "Dr. Zorblax, jane.doe@example.org"


def test_what_columns_hold_is_told_by_kind_and_count(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RunOptions())
    facts = json.loads((run / "dataset.json").read_text())
    assert "Personal data were found" not in write_report(run).read_text()
    facts["checks"]["personal_columns"] = {"<b>phone</b>": {"phone": 7}, "note": {"name": 1, "email": 1200}}
    (run / "dataset.json").write_text(json.dumps(facts))
    page = write_report(run).read_text()
    assert "column &#39;&lt;b&gt;phone&lt;/b&gt;&#39;: 7 phone numbers" in page
    assert "1 name of a person, 1,200 e-mail addresses" in page


def test_texts_evidence_and_preview_are_masked(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RunOptions())
    for name, column in (("texts.parquet", "text"), ("issues.parquet", "evidence")):
        table = pq.ParquetFile(run / name).read()
        secret = pa.array([f"{value} {SECRET}" if value else SECRET for value in table.column(column).to_pylist()])
        pq.write_table(table.set_column(table.column_names.index(column), column, secret), run / name)
    facts = (run / "dataset.json").read_text()
    text = read_run(run).dataset["checks"]["preview"][0]["text"]
    (run / "dataset.json").write_text(facts.replace(text[:20], f"{SECRET} {text[:20]}"))
    page, card = write_report(run).read_text(), write_card(run).read_text()
    assert page.count("[e-mail address]") > 20
    assert "Dr. [name of a person]" in page
    for secret in ("Zorblax", "jane.doe", "@example.org"):
        assert secret not in page + card
