"""`honed labels` of a real run: what it shows and writes, and that a person's decisions are taught."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from e2e.conftest import SHORT


def test_the_worst_labels_come_first_in_every_form(cli: Callable, judged_run: Path, tmp_path: Path) -> None:
    said = cli("labels", judged_run, "--top", "3")
    assert said.code == 0, said.stderr
    assert "labels look wrong" in said.stdout and "honed labels" in said.stdout and "\x1b" not in said.stdout
    found = cli("labels", judged_run, "--json", "--output", tmp_path / "all.csv", "--top", "3").json
    table = pd.read_csv(tmp_path / "all.csv", keep_default_na=False)
    kept = pd.read_parquet(judged_run / "labels.parquet")
    assert len(found["rows"]) == 3 and found["n_written"] == found["n_judged"] == len(table) == len(kept)
    assert table["example_id"].tolist() == kept["example_id"].tolist()
    assert (np.diff(table["quality"]) >= 0).all() and table["quality"].tolist() == kept["quality"].tolist()
    assert [row["example_id"] for row in found["rows"]] == table["example_id"].tolist()[:3]
    assert found["n_flagged"] == kept["is_flagged"].sum() == table["is_flagged"].sum() > 0
    assert cli("labels", judged_run, "--output", tmp_path / "bad.parquet", "--flagged").code == 0
    assert pd.read_parquet(tmp_path / "bad.parquet")["is_flagged"].tolist() == [True] * found["n_flagged"]


def test_the_row_is_that_of_the_users_file(cli: Callable, judged_run: Path, easy_csv: Path) -> None:
    with easy_csv.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for row in cli("labels", judged_run, "--json", "--top", "500").json["rows"]:
        assert (lines[row["row"] - 1]["text"], lines[row["row"] - 1]["label"]) == (row["text"], row["given"])


def test_what_a_person_decides_is_taught_and_never_scored(
    cli: Callable, judged_run: Path, easy_csv: Path, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    assert cli("labels", judged_run, "--output", path).code == 0
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, "decision"], table.loc[1, "decision"], table.loc[2, "decision"] = "relabel", "drop", "keep"
    table.to_csv(path, sep=";", index=False, encoding="utf-8-sig", lineterminator="\r\n")
    out = tmp_path / "again"
    said = cli("fit", easy_csv, "--decisions", path, *SHORT, "--epochs", "1", "--no-gate", "--out", out)
    assert said.code == 0, said.stderr
    taught = pd.read_parquet(out / "cleaning.parquet")
    assert set(taught["example_id"]) == set(table["example_id"][:2]) and set(taught["source"]) == {"decision"}
    final = taught[taught["model"] == "final"].set_index("example_id")
    assert final.loc[table["example_id"][0], "taught"] == table["suggested"][0]
    assert final.loc[table["example_id"][1], "weight"] == 0
    before, after = (pd.read_parquet(run / "oof.parquet").sort_values("example_id") for run in (judged_run, out))
    assert after["example_id"].tolist() == before["example_id"].tolist()
    assert after["label"].tolist() == before["label"].tolist(), "what is scored keeps the label of the data"


def refused(cli: Callable, run: Path, *arguments: object) -> str:
    said = cli("labels", run, *arguments)
    assert said.code in (2, 3) and "Remedy" in said.stderr and "Traceback" not in said.stderr
    return str(said.stderr)


def test_a_run_that_has_no_judged_labels_says_why(cli: Callable, copied_run: Path) -> None:
    (copied_run / "labels.parquet").unlink()
    assert "Either it was removed" in refused(cli, copied_run)
    config = yaml.safe_load((copied_run / "config.yaml").read_text())
    (copied_run / "config.yaml").write_text(yaml.safe_dump(config | {"clean": "off"}))
    assert "made with --clean off" in refused(cli, copied_run)
    (copied_run / "labels.parquet").write_bytes(b"PAR1 but no more")
    assert "cannot be read as a table of label qualities" in refused(cli, copied_run)
    (copied_run / "metrics.json").unlink()
    assert "not finished" in refused(cli, copied_run)
    (copied_run / "config.yaml").unlink()
    assert "not a run folder" in refused(cli, copied_run)
    assert "There is no run folder" in refused(cli, copied_run / "none")


@pytest.mark.parametrize(
    ("name", "says"), [("l.xlsx", ".xlsx"), ("none/l.csv", "no folder"), ("taken.csv", "exists; nothing was overwr")]
)
def test_an_output_that_cannot_be_written_is_refused(
    name: str, says: str, cli: Callable, judged_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken.csv").write_text("my decisions")
    assert says in refused(cli, judged_run, "--output", tmp_path / name)
    assert (tmp_path / "taken.csv").read_text() == "my decisions"
    assert cli("labels", judged_run, "--output", tmp_path / "taken.csv", "--force").code == 0


def test_texts_that_were_not_kept_are_not_shown(cli: Callable, copied_run: Path, tmp_path: Path) -> None:
    (copied_run / "texts.parquet").unlink()
    assert "because this run kept none" in cli("labels", copied_run).stdout
    assert cli("labels", copied_run, "--output", tmp_path / "l.csv").code == 0
    assert set(pd.read_csv(tmp_path / "l.csv", keep_default_na=False)["text"]) == {""}
