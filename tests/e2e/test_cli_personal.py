"""Personal data through the command line: found, redacted, and nowhere shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2e.conftest import SHORT, rows, write_csv

SECRETS = ("jane.doe@example.org", "4539 5787 6362 1486", "020 7946 0958", "Zorblax", "12.03.1985")
SENTENCE = "Dr. Zorblax (jane.doe@example.org, tel. 020 7946 0958, born 12.03.1985) paid with 4539 5787 6362 1486"


@pytest.fixture(scope="module")
def secret_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Easy rows, in which every third text and every id and group hold personal data."""
    table = rows()
    for i, row in enumerate(table):
        row["id"] = f"user{i}@example.org"
        row["group"] = f"family{i // 2}@example.org"
        if i % 3 == 0:
            row["text"] = f"{row['text']} {SENTENCE}"
    return write_csv(tmp_path_factory.mktemp("secret") / "data.csv", table)


def test_check_tells_what_kinds_there_are_and_no_more(cli: Callable, minilm: None, secret_csv: Path) -> None:
    said = cli("check", secret_csv)
    assert said.code == 0, said.stderr
    assert "personal_data" in said.stdout
    found = cli("check", secret_csv, "--json")
    kinds = found.json["checks"]["personal_data"]
    assert set(kinds) == {"name", "email", "phone", "card", "birth_date"}
    assert kinds["card"]["n_places"] == kinds["card"]["n_rows"] == 28
    assert found.json["checks"]["personal_columns"] == {"group": {"email": 84}, "id": {"email": 84}}
    assert "Personal column 'group': 84 e-mail addresses" in said.stdout
    for secret in (*SECRETS, "@example.org"):
        assert secret not in said.stdout + said.stderr + found.stdout


def test_redact_writes_a_copy_in_which_nothing_is_found(
    cli: Callable, minilm: None, secret_csv: Path, tmp_path: Path
) -> None:
    before, copy = secret_csv.read_bytes(), tmp_path / "copy.csv"
    said = cli("check", secret_csv, "--redact", copy)
    assert said.code == 0, said.stderr
    assert "28 card numbers (1 different)" in said.stdout and "no guarantee of anonymity" in said.stdout
    assert secret_csv.read_bytes() == before
    written = copy.read_text()
    assert not any(secret in written for secret in (*SECRETS, "@example.org"))
    again = cli("check", copy, "--json").json
    assert again["checks"]["personal_data"] == {}
    assert again["n_groups"] == cli("check", secret_csv, "--json").json["n_groups"], "groups are still groups"
    refused = cli("check", secret_csv, "--redact", copy)
    assert refused.code == 2 and "exists; nothing was overwritten" in refused.stderr
    assert copy.read_text() == written


def test_redact_answers_machines_and_names_columns(
    cli: Callable, minilm: None, secret_csv: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.csv"
    told = cli("check", secret_csv, "--redact", copy, "--redact-columns", "text", "--json").json["redacted"]
    assert told["n_replaced"]["email"] == 28 and told["n_distinct"]["email"] == 1
    assert "user0@example.org" in copy.read_text()
    alone = cli("check", secret_csv, "--redact-columns", "text")
    assert alone.code == 2 and "without --redact" in alone.stderr
    absent = cli("check", secret_csv, "--redact", tmp_path / "b.csv", "--redact-columns", "txt")
    assert absent.code == 2 and "'txt'" in absent.stderr and not (tmp_path / "b.csv").exists()


def test_a_model_that_is_not_here_is_no_download(cli: Callable, secret_csv: Path) -> None:
    said = cli("check", secret_csv, "--presidio", "no_such_model")
    assert said.code == 2
    assert "honed[presidio]" in said.stderr or "no such spaCy model" in said.stderr


@pytest.mark.slow
def test_a_run_shows_no_personal_data(cli: Callable, minilm: None, secret_csv: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = cli("fit", secret_csv, "--out", run, "--no-gate", *SHORT)
    assert said.code == 0, said.stderr
    shown = {name: (run / name).read_text() for name in ("report.html", "README.md", "events.jsonl", "dataset.json")}
    shown["evidence"] = " ".join(pq.read_table(run / "issues.parquet").column("evidence").to_pylist())
    shown["terminal"] = said.stdout + said.stderr
    for place, text in shown.items():
        for secret in (*SECRETS, "@example.org"):
            assert secret not in text, f"{secret} in {place}"
    assert "[e-mail address]" in shown["report.html"], "what is masked is said"
    assert json.loads(shown["dataset.json"])["checks"]["personal_data"]["card"]["n_rows"] == 28
    assert SECRETS[0] in " ".join(pq.read_table(run / "texts.parquet").column("text").to_pylist()), "the data stay data"
