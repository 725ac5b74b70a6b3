"""The main path through the command line, with a real small model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from honed.config import Config, make_config, read_config
from honed.events import Event
from honed.oof import Predictions

Cli = Callable[..., object]
SHORT = ["--epochs", "2", "--depth", "1", "--folds", "3", "--max-tokens", "32"]
CONTRACT = {
    "config.yaml", "dataset.json", "folds.parquet", "issues.parquet", "events.jsonl", "oof.parquet", "holdout.parquet",
    "metrics.json", "verdict.json", "adapter", "report.html", "README.md", "texts.parquet", "baselines",
    "labels.parquet",
}  # fmt: skip


def test_the_run_folder_is_as_contracted(judged_run: Path) -> None:
    assert {path.name for path in judged_run.iterdir()} == CONTRACT
    config = make_config(read_config(judged_run / "config.yaml"))
    assert (config.epochs, config.depth, config.folds) == (2, 1, 3)
    verdict = json.loads((judged_run / "verdict.json").read_text())
    assert verdict["verdict"] in ("PASS", "INCONCLUSIVE") and verdict["holdout_openings"] == 1
    oof = pq.read_table(judged_run / "oof.parquet")
    assert oof.column_names == [
        "example_id", "repeat", "fold", "label", "loss", "weight", "logit_0", "logit_1", "logit_2"
    ]  # fmt: skip


def test_hostile_texts_stay_texts_in_the_report(judged_run: Path) -> None:
    page = (judged_run / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<img src=x" not in page


def test_judged_run_says_its_verdict_again_without_a_look(cli: Cli, copied_run: Path) -> None:
    ledger = (copied_run.parent / "holdout_ledger.jsonl").read_text()
    said = cli("gate", copied_run)
    assert said.code == 0 and "not opened again" in said.stderr
    assert (copied_run.parent / "holdout_ledger.jsonl").read_text() == ledger
    assert str(copied_run / "report.html") in said.stdout


def test_a_further_condition_is_a_further_look_and_fail_is_exit_4(cli: Cli, copied_run: Path) -> None:
    said = cli("gate", copied_run, "--require", "log_loss <= 0.0001", "--json")
    assert said.code == 4 == said.json["exit_code"]
    assert said.json["verdict"] == "FAIL" and said.json["holdout_openings"] == 2
    assert any("2nd look" in reason for reason in said.json["reasons"])
    assert said.stderr == ""
    assert read_config(copied_run / "config.yaml")["require"] == ["log_loss <= 0.0001"]
    human = cli("gate", copied_run)
    assert human.code == 4 and "F A I L" in human.stdout


def test_no_gate_then_gate(cli: Cli, easy_csv: Path, minilm: None, tmp_path: Path) -> None:
    out = tmp_path / "locked"
    said = cli("fit", easy_csv, *SHORT, "--epochs", "1", "--no-gate", "--out", out)
    assert said.code == 0 and "still locked" in said.stdout and f"honed gate {out}" in said.stdout
    assert not (out / "holdout.parquet").exists() and not (tmp_path / "holdout_ledger.jsonl").exists()
    opened = cli("gate", out, "--json")
    assert opened.code == 0 and opened.json["holdout_openings"] == 1 and opened.json["holdout"]["accuracy"]["value"] > 0


def test_predict(cli: Cli, judged_run: Path, easy_csv: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text('code,text\nb,"a train, a tram"\na,"rain, ""hail"" and fog"\nc,\n', encoding="utf-8")
    shown = cli("predict", judged_run, new, "--id", "code")
    lines = shown.stdout.splitlines()
    assert shown.code == 0 and lines[0] == '"example_id","prediction","prob_0","prob_1","prob_2"'
    assert [line.split(",")[:2] for line in lines[1:3]] == [['"b"', '"vehicle"'], ['"a"', '"weather"']]
    assert len(lines) == 4, "a row without a text is answered too: rows are the input's"
    target = tmp_path / "out.parquet"
    assert cli("predict", judged_run / "adapter", new, "--id", "code", "--output", target).code == 0
    table = pq.read_table(target)
    assert table.column("example_id").to_pylist() == ["b", "a", "c"]
    assert all(abs(sum(row[f"prob_{j}"] for j in range(3)) - 1) < 1e-9 for row in table.to_pylist())
    assert cli("predict", judged_run, new, "--id", "code", "--output", target).code == 2
    forced = cli("predict", judged_run, new, "--id", "code", "--output", target, "--force", "--json")
    assert forced.code == 0 and forced.json["n_rows"] == 3
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_report_is_written_again(cli: Cli, copied_run: Path) -> None:
    before = (copied_run / "report.html").read_text()
    (copied_run / "report.html").unlink()
    (copied_run / "README.md").unlink()
    assert cli("report", copied_run).code == 0
    assert (copied_run / "README.md").exists()
    assert len((copied_run / "report.html").read_text()) == pytest.approx(len(before), rel=0.01)


def test_the_resolved_config_reruns_the_run(cli: Cli, judged_run: Path, tmp_path: Path) -> None:
    said = cli("fit", "--config", judged_run / "config.yaml", "--no-gate", "--out", tmp_path / "again")
    assert said.code == 0, said.stderr
    ours, theirs = (Predictions.read(run / "oof.parquet") for run in (tmp_path / "again", judged_run))
    assert (ours.logits == theirs.logits).all()


def test_killed_at_a_step_it_resumes_to_the_same_result(
    cli: Cli, judged_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from honed.pipeline import fit as pipeline

    often = partial(pipeline.TuningContext, every_s=0.0)  # a checkpoint at every step
    monkeypatch.setattr(pipeline, "TuningContext", often)

    def pull_the_plug(event: Event) -> None:
        if event.kind == "progress" and event.message == "training" and event.fields["done"] == 5:
            raise KeyboardInterrupt

    config = make_config(read_config(judged_run / "config.yaml") | {"out": str(tmp_path / "cut"), "gate": False})
    with pytest.raises(KeyboardInterrupt):
        pipeline.fit(config, [pull_the_plug])
    assert not (tmp_path / "cut" / "verdict.json").exists() and (tmp_path / "cut" / "checkpoint").is_dir()
    unfinished = cli("gate", tmp_path / "cut")
    assert unfinished.code == 3 and "--resume" in unfinished.stderr
    assert cli("fit", "--resume", tmp_path / "cut").code == 0
    ours, theirs = (Predictions.read(run / "oof.parquet") for run in (tmp_path / "cut", judged_run))
    assert (ours.logits == theirs.logits).all()


def test_killed_between_verdict_and_report_the_holdout_needs_no_second_look(cli: Cli, copied_run: Path) -> None:
    before = (copied_run / "verdict.json").read_bytes()
    ledger = copied_run.parent / "holdout_ledger.jsonl"
    looks = ledger.read_bytes() if ledger.exists() else b""
    (copied_run / "report.html").unlink()
    cli("fit", "--resume", copied_run)
    assert (copied_run / "report.html").exists()
    assert (copied_run / "verdict.json").read_bytes() == before
    assert (ledger.read_bytes() if ledger.exists() else b"") == looks


def test_interrupt_says_how_to_resume(
    cli: Cli, easy_csv: Path, minilm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from honed.pipeline import tuning

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "cross_validate", interrupt)
    out = tmp_path / "cut"
    said = cli("fit", easy_csv, *SHORT, "--out", out)
    assert said.code == 130 and f"honed fit --resume {out}" in said.stderr and "Traceback" not in said.stderr
    again = cli("fit", "--resume", out, "--json")
    assert again.code == 130 and "--resume" in again.json["error"]["remedy"]


def test_python_m_honed(easy_csv: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    command = [sys.executable, "-m", "honed", "fit", str(tmp_path / "absent.csv"), "--json"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert json.loads(result.stdout)["error"]["exit_code"] == 2


def test_config_files_take_dashes_and_flags_win(tmp_path: Path) -> None:
    from honed.app.config_flags import resolve_config

    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"batch-size": 4, "epochs": 3, "method_options": {"rank": 4, "alpha": 4}}))
    config = resolve_config({"epochs": "5", "method_options": ["rank=2"]}, file)
    assert (config.batch_size, config.epochs, config.method_options) == (4, 5, {"rank": 2, "alpha": 4})
    assert config.seed == Config().seed
