"""Commands that train nothing: help, check, bases, doctor; and how progress and hostile text are shown."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from e2e.bad_files import GOOD, csv_file
from honed.app.config_flags import CHECK_FLAGS
from honed.app.console import printable
from honed.app.progress import Watcher, _bars
from honed.config import Config, flag
from honed.events import Emitter

COMMANDS = (
    "fit",
    "demo",
    "check",
    "compare",
    "plan",
    "export",
    "recipes",
    "predict",
    "labels",
    "audit",
    "gate",
    "report",
    "bases",
    "doctor",
)


def test_help_names_every_command_and_every_flag(cli: Callable) -> None:
    page = cli("--help")
    assert page.code == 0 and all(f" {name} " in page.stdout for name in COMMANDS)
    fit = cli("fit", "--help").stdout
    for name, field in Config.model_fields.items():
        if name in ("data", "method_options"):
            continue
        assert flag(name) in fit, name
        assert field.description is not None and field.description.split("'")[0][:40] in fit, name
    for fact in ("--option", "--no-gate", "recall[refund] >= .8", "[default: 0.01]", "N|auto|all", "Evidence"):
        assert fact in fit, fact
    assert all(flag(name) in cli("check", "--help").stdout for name in CHECK_FLAGS)


def test_version(cli: Callable) -> None:
    from honed.version import __version__

    assert cli("--version").stdout == f"honed {__version__}\n"


def test_check(cli: Callable, minilm: None, tmp_path: Path) -> None:
    data = csv_file(tmp_path / "data.csv", GOOD + "message number 0 about refund 0,invoice\nlonely,\n")
    table = tmp_path / "issues.parquet"
    said = cli("check", data, "--out", table, "--max-tokens", "4")
    assert said.code == 0, said.stderr
    for fact in ("46 usable of 47", "conflicting_label", "missing_label", "[CLS]", "Folds    5 of", "honed fit"):
        assert fact in said.stdout, fact
    assert pq.read_table(table).num_rows > 3
    found = cli("check", data, "--json").json
    assert found["is_usable"] and sum(found["fold_sizes"].values()) == 46
    conflict = next(row for row in found["findings"] if row["check"] == "conflicting_label")
    assert conflict["n_issues"] == 2 and "Row" in conflict["examples"][0]


def test_check_of_an_unusable_file_still_shows_what_it_found(cli: Callable, minilm: None, tmp_path: Path) -> None:
    data = csv_file(tmp_path / "data.csv", GOOD + "one,rare\n")
    said = cli("check", data)
    assert said.code == 3
    for fact in ("rare 1", "Not usable", "Class 'rare' has 1 row", "Remedy"):
        assert fact in said.stdout, fact
    found = cli("check", data, "--json")
    assert (
        found.code == 3 == found.json["exit_code"] and not found.json["is_usable"] and found.json["fold_sizes"] is None
    )


def test_check_without_the_base_says_what_was_not_run(
    cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from honed.errors import BaseModelError
    from honed.pipeline import check

    def absent(*_: object, **__: object) -> None:
        raise BaseModelError("It is not here.", remedy="Get it.")

    monkeypatch.setattr(check, "resolve", absent)
    data = csv_file(tmp_path / "data.csv", GOOD)
    said = cli("check", data)
    assert said.code == 0 and "not run, because It is not here." in said.stdout
    assert cli("check", data, "--base", "minilm").code == 2, "asked for by name, it must be there"


def test_bases_and_doctor(cli: Callable) -> None:
    assert "minilm" in cli("bases").stdout
    assert {"minilm", "dinov2-small"} <= {base["name"] for base in cli("bases", "--json").json["bases"]}
    said = cli("doctor", "--json")
    assert {finding["name"] for finding in said.json["findings"]} >= {"Python", "torch", "memory"}
    assert said.code == (1 if any(f["status"] == "missing" for f in said.json["findings"]) else 0)


def test_hostile_text_cannot_steer_the_terminal(cli: Callable, minilm: None, tmp_path: Path) -> None:
    assert printable("a\x1b[31mb\x07\nc") == "a\\x1b[31mb\\x07\nc"
    body = "".join(f"\x1b]0;owned\x07 [bold]text[/] {line}\n" for line in GOOD.splitlines())
    said = cli("check", csv_file(tmp_path / "data.csv", body + "[/red] \x1b[2J,\x1b[31m\n"))
    assert said.code == 3 and "\x1b" not in said.stdout + said.stderr
    assert "\\x1b[31m 1" in said.stdout, "shown as what it is"


def test_a_line_per_stage_where_there_is_no_terminal() -> None:
    file = io.StringIO()
    emitter = Emitter((Watcher(Console(file=file, width=200), None),))
    with emitter.stage("train", "Training [5] folds"):
        emitter.emit("progress", "training", done=1, total=2, unit="step")
        emitter.emit("slot.diverged", "fold 1 diverged")
    assert file.getvalue() == "Training [5] folds ...\nfold 1 diverged\n"


def test_bars_with_the_time_left_on_a_terminal() -> None:
    file = io.StringIO()
    console = Console(file=file, width=120, force_terminal=True)
    bars = _bars(console)
    watcher = Watcher(console, bars)
    emitter = Emitter((watcher,))
    with bars, emitter.stage("train", "Training [5] folds"):
        emitter.emit("progress", "training", done=3, total=8, unit="step")
        bars.refresh()
        task = bars.tasks[0]
        assert (task.completed, task.total, task.fields["count"]) == (3, 8, "3/8 steps")
        emitter.emit("progress", "another count", done=1, total=20, unit="row")
        assert (task.completed, task.total) == (1, 20)
    assert "Training [5] folds" in file.getvalue() and "3/8 steps" in file.getvalue()


def test_progress_listens_and_never_steers() -> None:
    watcher = Watcher(None, None)
    Emitter((watcher,)).emit("run.start", "Run x", path="runs/x")
    assert watcher.run_path == "runs/x"
