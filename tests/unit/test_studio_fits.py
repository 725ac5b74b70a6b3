"""Fits of the studio: checked, started, found again, stopped, told why they died; and the tables they start with."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from golden.make_run import RunOptions
from honed.app.studio import fits as module
from honed.app.studio.data_files import columns_of, find_table, find_tables, keep_upload, refuse_absolute
from honed.app.studio.fit_form import settings_of
from honed.app.studio.fits import Fits
from honed.app.studio.run_list import list_runs
from honed.errors import ConfigError, DataError, HonedError, OutputError, RunFolderError, UsageError
from studio_pages import client, make_studio

STAGE = {"kind": "stage.start", "message": "waiting", "fields": {"stage": "a"}}
REFUSAL = {"error": {"problem": "No.", "cause": "", "remedy": "Yes.", "exit_code": 3}}
SAYS = {
    "waits": f"import json, time; print(json.dumps({STAGE!r}), flush=True); time.sleep(60)",
    "done": "import json; print(json.dumps({'done': 'there'}))",
    "refuses": f"import json; print(json.dumps({REFUSAL!r})); raise SystemExit(3)",
    "dies": "raise RuntimeError('out of luck')",
}
SETTINGS = {"data": "x.csv", "epochs": "2"}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts another process in the place of the one that trains."""

    def put(which: str) -> None:
        monkeypatch.setattr(module, "WORKER", (sys.executable, "-c", SAYS[which]))

    return put


def ended(fits: Fits, name: str) -> dict[str, Any]:
    while (status := fits.status(name))["state"] == "running":
        time.sleep(0.02)
    return status


def test_a_fit_goes_on_alone_and_is_found_again_and_stopped(tmp_path: Path, worker: Callable[[str], None]) -> None:
    fits = Fits(tmp_path)
    worker("waits")
    fits.start("one", SETTINGS)
    while not fits.status("one")["stages"]:
        time.sleep(0.02)
    order = json.loads((tmp_path / ".studio" / "fits" / "fit-one.order.json").read_text())
    assert order == {"config": {**SETTINGS, "out": str(tmp_path / "one")}}
    with pytest.raises(UsageError, match="'one' is going on"):
        fits.start("two", SETTINGS)
    another = Fits(tmp_path)  # the studio was started anew
    assert another.running() == ["one"] and another.status("one")["stages"][0]["message"] == "waiting"
    another.stop("one")
    assert ended(fits, "one")["state"] == "stopped" and fits.running() == []
    with pytest.raises(UsageError, match="not going on"):
        fits.stop("one")
    assert fits.without_folder(set()) == ["one"]
    fits.forget("one")
    with pytest.raises(RunFolderError):
        fits.status("one")


def test_how_a_fit_ended_is_told(tmp_path: Path, worker: Callable[[str], None]) -> None:
    fits = Fits(tmp_path)
    for which, state in (("done", "finished"), ("refuses", "failed"), ("dies", "failed")):
        worker(which)
        fits.start(which, SETTINGS)
        assert ended(fits, which)["state"] == state
    assert fits.status("refuses")["result"]["error"]["remedy"] == "Yes."
    assert "out of luck" in fits.status("dies")["result"]["error"]["cause"]


def test_what_cannot_be_started_is_told_before_anything_begins(tmp_path: Path, worker: Callable[[str], None]) -> None:
    worker("done")
    fits = Fits(tmp_path)
    (tmp_path / "taken").mkdir()
    for name in ("", ".", "..", "../x", "a/b", ".hidden", "a b", "x" * 65, "-x", "new\n"):
        with pytest.raises(UsageError, match="cannot be the name"):
            fits.start(name, SETTINGS)
    with pytest.raises(OutputError, match="already"):
        fits.start("taken", SETTINGS)
    with pytest.raises(ConfigError, match="2 faults"):
        fits.start("x", {"data": "x.csv", "epochs": "many", "folds": "1"})
    with pytest.raises(RunFolderError):
        fits.resume("../taken")
    assert not (tmp_path / ".studio").exists()
    assert (
        fits.free_name("taken") == "taken-1" and fits.free_name("../ü/x") == "x-1" and fits.free_name("...") == "run-1"
    )


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def upload(root: Path, name: str, *parts: bytes) -> str:
    return asyncio.run(keep_upload(root, name, chunks(*parts)))


def test_an_upload_gets_a_plain_name_and_takes_nobodys_place(tmp_path: Path) -> None:
    assert upload(tmp_path, "a.csv", b"text,", b"label\n") == "a.csv"
    assert upload(tmp_path, "a.csv", b"other") == "a-2.csv" and (tmp_path / "a.csv").read_bytes() == b"text,label\n"
    for name in ("../../evil.csv", "/etc/evil.csv", "C:\\windows\\evil.csv", "..evil.csv"):
        assert upload(tmp_path, name, b"x").startswith("evil")
    assert upload(tmp_path, "\u202egnp é<b>.jsonl", b"x").endswith(".jsonl")
    for name in ("x.exe", "x", ".csv", "x.csv.pkl", ""):
        with pytest.raises(UsageError, match="is no table"):
            upload(tmp_path, name, b"x")
    with pytest.raises(DataError, match="is empty"):
        upload(tmp_path, "empty.csv")
    assert not list(tmp_path.glob(".*")) and all(path.parent == tmp_path for path in tmp_path.rglob("*"))


def test_tables_are_found_below_the_data_folder_alone(tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside.csv"
    (data / "pictures").mkdir(parents=True)
    (data / ".hidden").mkdir()
    for path in (
        outside,
        data / "a.csv",
        data / "pictures" / "metadata.csv",
        data / ".hidden" / "b.csv",
        data / "c.txt",
    ):
        path.write_text("text,label\nhello there,x\n")
    (data / "link.csv").symlink_to(outside)
    assert set(find_tables(data)) == {"a.csv", "pictures"} and find_table(data, "pictures") == data / "pictures"
    assert columns_of(data / "a.csv").guessed == {"text": "text", "label": "label"}
    for name in ("", "../outside.csv", str(outside), "link.csv"):
        with pytest.raises(UsageError, match="no table"):
            find_table(data, name)


@pytest.mark.parametrize("cell", ["/etc/secret.png", "C:\\secret.png", "\\\\host\\share\\secret.png"])
def test_a_table_that_leads_out_of_its_folder_is_refused(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"file_name,label\nhere.png,a\n{cell},b\n")
    with pytest.raises(UsageError, match="Row 2 names its image by an absolute path"):
        refuse_absolute(path, "file_name")
    path.write_text("file_name,label\nhere.png,a\n,b\n")
    refuse_absolute(path, "file_name")


def test_the_form_names_columns_and_leaves_out_what_is_empty(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\nhello there,x\n")
    columns = columns_of(tmp_path / "t.csv")
    settings = settings_of({"text": "text", "label": "label", "epochs": " 3 ", "folds": "", "gate": "on"}, columns, {})
    assert settings == {"text": "text", "label": "label", "group": "", "epochs": "3", "gate": True}
    both = {"text": "text", "label": "label"}
    for wrong in (
        {"text": "nix", "label": "label"}, {"text": "text"}, {"label": "label"}, {"text": "text", "image": "label"},
        both | {"base": "/etc"}, both | {"method": "x"},
    ):  # fmt: skip
        with pytest.raises(HonedError):
            settings_of(wrong, columns, {})


def test_the_list_tells_of_every_kind_of_run(tmp_path: Path) -> None:
    root = make_studio(tmp_path, good=RunOptions(), shut=RunOptions(locked=True), cut=RunOptions(), broken=RunOptions())
    (root / "cut" / "verdict.json").unlink()
    (root / "broken" / "metrics.json").write_text("{")
    (root / "comparison").mkdir()
    (root / "good").rename(root / "comparison" / "lora")
    (root / "none").mkdir()
    cards = {card.name: card for card in list_runs(root)}
    assert {name: card.word for name, card in cards.items()} == {
        "comparison/lora": "PASS", "shut": "LOCKED", "cut": "unfinished", "broken": "damaged"
    }  # fmt: skip
    assert "cannot be read" in cards["broken"].problem
    page = client(root).get("/", headers={"accept": "text/html"})
    assert page.status_code == 200 and all(name in page.text for name in cards)
