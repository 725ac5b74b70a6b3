"""The store: names, contents, what is refused, and what survives a process that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from honed.bases import ResolvedBase
from honed.errors import BaseModelError, RunFolderError, UsageError
from honed.serving.store import Runs, Store, load_entry
from served import make_base, make_specialist


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ResolvedBase:
    return make_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def made(base: ResolvedBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two specialists, a and b. Read only."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate("ab"):
        make_specialist(folder / name, base, seed)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def audit(store: Store) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in (store.folder / "audit.jsonl").read_text().splitlines()]
    return [(row["action"], row["name"]) for row in rows]


def test_what_is_added_is_what_is_loaded(store: Store, made: Path) -> None:
    entry = store.add("tickets", made / "a")
    again = Store.open(store.folder)
    assert again.entries() == {"tickets": entry}
    loaded = load_entry(entry)
    assert loaded.info.label_names == ("good", "bad", "late") and again.base()["base_sha256"] == loaded.info.base_sha256
    assert {path.name for path in entry.folder.iterdir()} == {path.name for path in (made / "a").iterdir()}


def test_two_names_share_one_content(store: Store, made: Path) -> None:
    assert store.add("one", made / "a").content == store.add("two", made / "a").content
    assert len(list((store.folder / "contents").iterdir())) == 1
    store.remove("one")
    assert load_entry(store.entries()["two"]).info.method == "lora"
    store.remove("two")
    assert list((store.folder / "contents").iterdir()) == [] and store.entries() == {}


def test_another_process_sees_adds_replacements_and_removals(store: Store, made: Path) -> None:
    store.add("x", made / "a")
    reader = Store.open(store.folder)
    first = reader.entries()["x"]
    store.add("y", made / "b")
    assert set(reader.entries()) == {"x", "y"}
    store.add("x", made / "b", replace=True)
    assert reader.entries()["x"].content != first.content
    store.remove("y")
    assert set(reader.entries()) == {"x"}
    assert audit(store) == [("add", "x"), ("add", "y"), ("replace", "x"), ("remove", "y")]


def test_a_taken_name_is_refused(store: Store, made: Path) -> None:
    store.add("x", made / "a")
    with pytest.raises(UsageError, match=r"already has a specialist 'x'.*--replace"):
        store.add("x", made / "b")
    with pytest.raises(UsageError, match="no specialist 'y'"):
        store.remove("y")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 101, "ü", "a\x00b", "-x", "a\n"])
def test_a_name_cannot_lead_anywhere(store: Store, made: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        store.add(name, made / "a")
    with pytest.raises((UsageError, ValueError)):
        store.remove(name)


def test_another_base_is_refused_with_both_names(store: Store, made: Path, tmp_path: Path) -> None:
    store.add("x", made / "a")
    other = make_base(tmp_path / "llama", "llama")
    foreign = make_specialist(tmp_path / "foreign", other, 3)
    with pytest.raises(BaseModelError, match=r"'foreign' was trained on base .*llama.*but 'x' on .*tiny"):
        store.add("foreign", foreign)
    with pytest.raises(BaseModelError, match=r"'foreign' was trained .* but 'x' on"):
        Runs({"x": made / "a", "foreign": foreign})


def test_damaged_files_are_refused_by_name(store: Store, made: Path) -> None:
    entry = store.add("x", made / "a")
    weights = entry.folder / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(RunFolderError, match=r"specialist 'x'.*damaged"):
        load_entry(entry)
    store.add("x", made / "a", replace=True)  # adding it again repairs it
    load_entry(store.entries()["x"])
    (store.folder / "names" / "y.json").write_text("{")
    assert store.damaged() == ["y"] and set(store.entries()) == {"x"}


def test_numbers_that_are_not_finite_are_refused(store: Store, made: Path, base: ResolvedBase, tmp_path: Path) -> None:
    folder = make_specialist(tmp_path / "nan", base, 1)
    state = load_file(folder / "head.safetensors")
    state["bias"][0] = float("nan")
    save_file(state, folder / "head.safetensors")
    with pytest.raises(RunFolderError, match=r"not finite, first in head\.bias"):
        store.add("nan", folder)
    assert store.entries() == {} and list((store.folder / "contents").iterdir()) == []


def test_only_the_files_of_an_artifact_are_taken(store: Store, made: Path, base: ResolvedBase, tmp_path: Path) -> None:
    folder = make_specialist(tmp_path / "more", base, 1)
    (folder / "evil.pkl").write_bytes(b"cos\nsystem\n")
    entry = store.add("x", folder)
    assert not (entry.folder / "evil.pkl").exists()
    with pytest.raises(RunFolderError, match="cannot be read"):
        store.add("y", tmp_path)
    torch.save({}, folder / "adapter_model.safetensors")  # a pickle under the name of a safetensors file
    with pytest.raises(RunFolderError, match="cannot be read"):
        store.add("y", folder)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no store.*honed store add RUN --store"):
        Store.open(tmp_path)


def test_nothing_is_lost_when_writers_are_killed(store: Store, made: Path) -> None:
    """Processes that add and replace are killed at any moment; every name then has its whole content."""
    store.add("kept", made / "a")
    code = (
        "import sys; from pathlib import Path; from honed.serving.store import Store\n"
        "store, made = Store(Path(sys.argv[1])), Path(sys.argv[2])\n"
        "print('begun', flush=True)\n"
        "for i in range(10_000): store.add('x', made / 'ab'[i % 2], replace=True); store.add(f'n{i}', made / 'b')\n"
    )
    for i in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(store.folder), str(made)], stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, text=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        until = time.monotonic() + 60
        while len(list((store.folder / "names").glob("*.json"))) < 2 + i and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        after = Store.open(store.folder)
        assert after.damaged() == [] and "kept" in after.entries()
        for entry in after.entries().values():
            load_entry(entry)
        for name in [name for name in after.entries() if name not in ("kept", "x")]:
            after.remove(name)
    assert len(list((store.folder / "contents").iterdir())) <= 2, "what a killed process left behind is gone"
