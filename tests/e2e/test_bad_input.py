"""Bad input through the command line: a message with problem and remedy, the right exit code, nothing overwritten."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e import bad_files as bad
from e2e.bad_files import GOOD, GOOD_BYTES, HEADER, as_bytes, csv_file

USAGE, DATA = 2, 3
Make = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """make(folder) writes the fault and returns the arguments after `honed`; `says` must stand in the message."""

    name: str
    code: int
    make: Callable[[Path], list[object]]
    says: str


def file_case(name: str, code: int, write: Callable[[Path], Path], says: str, suffix: str = ".csv") -> Case:
    return Case(name, code, lambda d: ["fit", write(d / f"data{suffix}"), "--out", d / "run"], says)


def flag_case(name: str, code: int, flags: list[str], says: str) -> Case:
    return Case(name, code, lambda d: ["fit", csv_file(d / "data.csv", GOOD), *flags, "--out", d / "run"], says)


def config_case(name: str, text: str, says: str) -> Case:
    def make(d: Path) -> list[object]:
        (d / "c.yaml").write_text(text)
        return ["fit", csv_file(d / "data.csv", GOOD), "--config", d / "c.yaml", "--out", d / "run"]

    return Case(name, USAGE, make, says)


def not_empty(d: Path) -> list[object]:
    (d / "run").mkdir()
    (d / "run" / "thesis.txt").write_text("years of work")
    return ["fit", csv_file(d / "data.csv", GOOD), "--out", d / "run"]


def pickled_base(d: Path) -> list[object]:
    (d / "base").mkdir()
    (d / "base" / "config.json").write_text('{"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1}')
    (d / "base" / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    return ["fit", csv_file(d / "data.csv", GOOD), "--base", d / "base", "--out", d / "run"]


def taken(d: Path) -> list[object]:
    (d / "taken.parquet").write_text("mine")
    return ["check", csv_file(d / "data.csv", GOOD), "--out", d / "taken.parquet"]


def under_a_file(d: Path) -> list[object]:
    (d / "file").write_text("mine")
    return ["fit", csv_file(d / "data.csv", GOOD), "--out", d / "file" / "run"]


CASES = [
    file_case("empty file", DATA, lambda p: as_bytes(p, b""), "empty"),
    file_case("header only", DATA, lambda p: csv_file(p, ""), "no rows"),
    file_case("one class", DATA, bad.one_class, "one class"),
    file_case("two rows", DATA, lambda p: csv_file(p, "a text,refund\nanother,invoice\n"), "Only 2 rows"),
    file_case("no obvious text column", USAGE, bad.two_texts, "no obvious text column"),
    file_case("labels missing", DATA, lambda p: csv_file(p, "a message,\nanother,\n" * 9), "label"),
    file_case("texts missing", DATA, lambda p: csv_file(p, ",refund\n  ,invoice\n" * 9), "text"),
    file_case("one row of 1 MB", DATA, lambda p: csv_file(p, "word " * 200_000 + ",refund\n"), "Only 1 row"),
    file_case("invalid UTF-8", DATA, lambda p: as_bytes(p, GOOD_BYTES + b"caf\xe9,refund\n"), "not UTF-8: line 47"),
    file_case("UTF-16", DATA, lambda p: as_bytes(p, (HEADER + GOOD).encode("utf-16")), "UTF-16"),
    file_case("NUL bytes", DATA, lambda p: as_bytes(p, GOOD_BYTES + b"a\x00b,refund\n"), "NUL"),
    file_case("duplicate ids", DATA, bad.with_ids, "'40'"),
    file_case("labels are numbers", DATA, bad.numbers, "looks like a number"),
    file_case("10,000 classes", DATA, bad.many_classes, "10000 different values"),
    file_case("too small a class", DATA, lambda p: csv_file(p, GOOD + "one,rare\ntwo,rare\n"), "Class 'rare' has 2"),
    file_case("too few groups", DATA, bad.two_groups, "2 groups"),
    file_case("ragged row", DATA, lambda p: csv_file(p, GOOD + "a,b,c,d\n"), "line 47"),
    file_case("open quote", DATA, lambda p: csv_file(p, GOOD + '"never closed,refund\n'), "quot"),
    file_case("repeated column", DATA, lambda p: csv_file(p, GOOD, "label,label\n"), "label"),
    file_case("broken JSON lines", DATA, bad.jsonl_cut, "line 45", ".jsonl"),
    file_case("not Parquet", DATA, lambda p: as_bytes(p, b"PAR1 but no more"), "data.parquet", ".parquet"),
    file_case("Excel workbook", DATA, lambda p: as_bytes(p, b"PK\x03\x04 rest"), "Excel", ".xlsx"),
    file_case("pickle", DATA, lambda p: as_bytes(p, pickle.dumps([1])), "pickle", ".pkl"),
    Case("no such file", USAGE, lambda d: ["fit", csv_file(d / "data.csv", GOOD).with_name("dta.csv")], "data.csv"),
    Case("a folder as data", USAGE, lambda d: ["fit", csv_file(d / "data.csv", GOOD).parent], "is a folder"),
    Case("no data", USAGE, lambda d: ["fit"], "No data"),
    Case("out not empty", USAGE, not_empty, "not empty"),
    Case("out under a file", USAGE, under_a_file, "run"),
    Case("pickled base", USAGE, pickled_base, "pickle"),
    flag_case("missing column", USAGE, ["--text", "txt"], "Did you mean --text text"),
    flag_case("missing group column", USAGE, ["--group", "patient"], "--group patient"),
    flag_case("text is the label", USAGE, ["--text", "label"], "label"),
    flag_case("text and template", USAGE, ["--text", "text", "--template", "{text}"], "Choose one"),
    flag_case("template with an unknown column", USAGE, ["--template", "{title} {text}"], "title"),
    flag_case("depth 99", USAGE, ["--depth", "99"], "1 to 6"),
    flag_case("depth some", USAGE, ["--depth", "some"], "--depth"),
    flag_case("max tokens", USAGE, ["--max-tokens", "5000"], "512"),
    flag_case("device", USAGE, ["--device", "quantum"], "--device quantum"),
    flag_case("require nonsense", USAGE, ["--require", "be good"], "be good"),
    flag_case("require an unknown metric", USAGE, ["--require", "acuracy >= .9"], "accuracy"),
    flag_case("require an unknown class", USAGE, ["--require", "recall[refnd] >= .9"], "refund"),
    flag_case("faults all at once", USAGE, ["--epochs", "0", "--folds", "one", "--level", "2"], "3 faults"),
    flag_case("unknown method", USAGE, ["--method", "lorra"], "Did you mean 'lora'"),
    flag_case("unknown option of the method", USAGE, ["--option", "rnk=4"], "did you mean rank"),
    flag_case("option without a value", USAGE, ["--option", "rank"], "NAME=VALUE"),
    flag_case("unknown base", USAGE, ["--base", "minilmm"], "minilm"),
    flag_case("unknown flag", USAGE, ["--epoch", "3"], "--epochs"),
    flag_case("test file absent", USAGE, ["--test-file", "absent.csv"], "absent.csv"),
    config_case("config with typos", "epoch: 3\nlearnin_rate: 1\n", "did you mean learning_rate"),
    config_case("config is no mapping", "- 1\n", "not a mapping"),
    config_case("config is no YAML", "a: [1\n", "c.yaml"),
    Case("config absent", USAGE, lambda d: ["fit", "x.csv", "--config", d / "none.yaml"], "none.yaml"),
    Case("resume of nothing", DATA, lambda d: ["fit", "--resume", d / "nothing"], "no run folder"),
    Case("resume of another folder", DATA, lambda d: ["fit", "--resume", d], "config.yaml"),
    Case("resume with flags", USAGE, lambda d: ["fit", "--resume", d, "--epochs", "3"], "epochs"),
    Case("unknown command", USAGE, lambda d: ["fitt"], "fit"),
    Case("check: out is taken", USAGE, taken, "taken.parquet"),
    Case("predict: no run", DATA, lambda d: ["predict", d / "nothing", csv_file(d / "data.csv", GOOD)], "nothing"),
    Case("predict: no specialist", DATA, lambda d: ["predict", d, csv_file(d / "data.csv", GOOD)], "honed.json"),
    Case("gate: no run", DATA, lambda d: ["gate", d / "nothing"], "nothing"),
    Case("report: no run", DATA, lambda d: ["report", d / "nothing"], "nothing"),
]  # fmt: skip


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative outputs of a command that should have failed must not land in the repository."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def check_refused(said: object, code: int, says: str) -> None:
    assert said.code == code, said.stdout + said.stderr
    assert "Problem" in said.stderr and "Remedy" in said.stderr, said.stderr
    assert says in said.stderr, said.stderr
    assert "Traceback" not in said.stderr and said.stdout == ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused(case: Case, cli: Callable, minilm: None, tmp_path: Path) -> None:
    arguments = case.make(tmp_path)
    before = snapshot(tmp_path)
    check_refused(cli(*arguments), case.code, case.says)
    assert snapshot(tmp_path) == before, "a refused command writes nothing"


def test_refused_in_json_too(cli: Callable, minilm: None, tmp_path: Path) -> None:
    for arguments in (["fit", tmp_path / "none.csv"], ["fit", "--nonsense"], ["predict", tmp_path, "x.csv"], ["nope"]):
        said = cli(*arguments, "--json")
        error = said.json["error"]
        assert said.code == error["exit_code"] in (2, 3) and error["problem"] and said.stderr == ""


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("byte order mark", b"\xef\xbb\xbf" + GOOD_BYTES),
        ("mixed newlines", (HEADER + GOOD).replace("\n", "\r\n", 20).encode()),
        ("one text of 1 MB", (HEADER + GOOD + "word " * 200_000 + ",refund\n").encode()),
        ("integer labels", bad.integer_labels()),
    ],
)  # fmt: skip
def test_odd_but_usable(name: str, data: bytes, cli: Callable, minilm: None, tmp_path: Path) -> None:
    said = cli("check", as_bytes(tmp_path / "odd.csv", data), "--json")
    assert said.code == 0, said.stdout
    assert said.json["is_usable"] and len(said.json["label_names"]) == 3 and said.json["n_used"] >= 45


def test_resume_of_a_finished_run_does_nothing(cli: Callable, copied_run: Path) -> None:
    before = snapshot(copied_run)
    said = cli("fit", "--resume", copied_run)
    assert said.code == 0 and snapshot(copied_run) == before


@pytest.mark.parametrize("name", ["honed.json", "adapter_model.safetensors", "head.safetensors"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_damaged_adapter(name: str, how: str, cli: Callable, copied_run: Path, easy_csv: Path) -> None:
    damage(copied_run / "adapter" / name, how)
    check_refused(
        cli("predict", copied_run, easy_csv, "--output", "p.csv"), DATA, "adapter" if how == "cut" else "honed"
    )
    assert not Path("p.csv").exists()


@pytest.mark.parametrize(
    "name", ["config.yaml", "dataset.json", "folds.parquet", "oof.parquet", "metrics.json", "verdict.json"]
)
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_damaged_run_folder(name: str, how: str, cli: Callable, copied_run: Path) -> None:
    page = (copied_run / "report.html").read_bytes()
    damage(copied_run / name, how)
    for command in ("report", "gate"):
        said = cli(command, copied_run)
        assert said.code in (USAGE, DATA), said.stdout + said.stderr
        assert "Remedy" in said.stderr and name in said.stderr and "Traceback" not in said.stderr, said.stderr
    assert (copied_run / "report.html").read_bytes() == page


def damage(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if path.suffix != ".yaml" else b"a: [1\n")


def test_adapter_of_another_base(cli: Callable, copied_run: Path, easy_csv: Path) -> None:
    path = copied_run / "adapter" / "honed.json"
    text = path.read_text()
    start = text.index('"base_sha256": "') + len('"base_sha256": "')
    path.write_text(text[:start] + "0" * 64 + text[start + 64 :])
    check_refused(cli("predict", copied_run, easy_csv), USAGE, "sha256 000000000000")


def test_predict_refusals(cli: Callable, judged_run: Path, tmp_path: Path) -> None:
    other = csv_file(tmp_path / "other.csv", "1,x\n", "n,m\n")
    check_refused(cli("predict", judged_run, other), USAGE, "--text text: there is no such column")
    new = csv_file(tmp_path / "new.csv", GOOD)
    (tmp_path / "mine.csv").write_text("mine")
    check_refused(cli("predict", judged_run, new, "--output", tmp_path / "mine.csv"), USAGE, "exists")
    assert (tmp_path / "mine.csv").read_text() == "mine"
    check_refused(cli("predict", judged_run, new, "--output", tmp_path / "p.txt"), USAGE, ".txt")
    check_refused(cli("predict", judged_run, new, "--output", tmp_path / "no" / "p.csv"), USAGE, "mkdir")
    check_refused(cli("predict", judged_run, csv_file(tmp_path / "none.csv", "")), DATA, "no rows")


def test_gate_on_changed_data(cli: Callable, copied_run: Path, easy_csv: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.csv"
    changed.write_text(easy_csv.read_text() + "one more row about plums,fruit\n")
    config = copied_run / "config.yaml"
    config.write_text(config.read_text().replace(str(easy_csv), str(changed)))
    ledger = (tmp_path / "holdout_ledger.jsonl").read_text()
    check_refused(cli("gate", copied_run, "--require", "accuracy >= .1"), DATA, "changed since")
    check_refused(cli("gate", copied_run, "--require", "accuracy >= high"), USAGE, "high")
    assert (tmp_path / "holdout_ledger.jsonl").read_text() == ledger, "a refused look is no look"


def unfinished(run: Path) -> Path:
    for name in ("verdict.json", "report.html", "metrics.json", "holdout.parquet", "oof.parquet"):
        (run / name).unlink()
    shutil.rmtree(run / "adapter")
    return run


def test_corrupted_checkpoint(cli: Callable, copied_run: Path) -> None:
    run = unfinished(copied_run)
    (run / "checkpoint" / "train").mkdir(parents=True)
    (run / "checkpoint" / "train" / "state.json").write_text('{"fingerprint": "x", "slo')
    check_refused(cli("fit", "--resume", run), DATA, "checkpoint")
    (run / "checkpoint" / "train" / "state.json").write_text('{"fingerprint": "x", "slots": {}, "position": {}}')
    (run / "checkpoint" / "train" / "tensors.safetensors").write_bytes(b"\x00" * 40)
    check_refused(cli("fit", "--resume", run), DATA, "checkpoint")


def test_full_disk(cli: Callable, easy_csv: Path, minilm: None, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"NOT RUN: no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        said = cli(
            "fit",
            easy_csv,
            "--epochs",
            "1",
            "--depth",
            "1",
            "--folds",
            "2",
            "--max-tokens",
            "32",
            "--out",
            disk / "run",
        )
        check_refused(said, 1, f"--resume {disk / 'run'}")
        assert "disk is full" in said.stderr
    finally:
        subprocess.run(["umount", disk], check=True)


def test_unexpected_fault(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from honed.app import doctor

    def break_down(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(doctor, "examine", break_down)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    said = cli("doctor")
    assert said.code == 1 and "ZeroDivisionError: planted" in said.stderr and "Traceback" not in said.stderr
    saved = next(tmp_path.glob("honed-traceback-*.txt"))
    assert str(saved) in said.stderr and "break_down" in saved.read_text()
    shown = cli("doctor", "--traceback")
    assert shown.code == 1 and "break_down" in shown.stderr
