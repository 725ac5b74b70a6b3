"""Batches: what memory holds, what is remembered, what a poisoned request does, what a full queue says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from honed.artifact import load_artifact
from honed.bases import ResolvedBase
from honed.errors import DataError, HonedError
from honed.serving.answers import told
from honed.serving.batcher import Answer, Batcher, BatchLimits
from honed.serving.engine import load_specialist
from honed.serving.family import Family, FrozenBase
from honed.serving.lookup import Busy, NoAnswer, NoSuchSpecialist
from honed.serving.store import Runs, Store
from image_files import encoded, picture
from served import make_base, make_specialist
from tolerances import tolerance

N = 6


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ResolvedBase:
    return make_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def folders(base: ResolvedBase, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("made")
    return {f"s{i}": make_specialist(folder / f"s{i}", base, i, rank=4) for i in range(N)}


@contextmanager
def running(registry: Any, base: ResolvedBase, **limits: Any) -> Iterator[Batcher]:
    made = Batcher(registry, FrozenBase(base, "cpu"), BatchLimits(**limits))
    try:
        yield made
    finally:
        made.close()


def ask(batcher: Batcher, *pairs: tuple[str, Any]) -> list[Answer]:
    entries = batcher.registry.entries()
    return [f.result(60) for f in batcher.submit([(entries[name], value) for name, value in pairs])]


def expected(folder: Path, text: str) -> np.ndarray[Any, Any]:
    return load_specialist(folder, device="cpu").logits([text])[0]


def same(answer: Answer, folder: Path, text: str) -> bool:
    return np.allclose(answer.logits, expected(folder, text), **tolerance("logits_same_weights", "float32"))


def test_the_longest_unused_leave_when_the_memory_is_full(base: ResolvedBase, folders: dict[str, Path]) -> None:
    size = sum(t.numel() * 4 for t in load_artifact(folders["s0"]).state.values())
    with running(Runs(folders), base, memory_bytes=int(2.5 * size)) as batcher:
        for name in ("s0", "s1", "s0", "s2"):  # s1 has waited longest when s2 comes
            assert same(ask(batcher, (name, "good parcel"))[0], folders[name], "good parcel")
        contents = {name: entry.content for name, entry in batcher.registry.entries().items()}
        assert [name for name in folders if contents[name] in batcher.residents] == ["s0", "s2"]
        assert batcher.residents.n_bytes <= 2.5 * size and batcher.residents.n_evictions == 1
        # more in one batch than fit: it takes several passes, and every answer is right
        answers = ask(batcher, *((name, "late again") for name in folders))
        assert all(same(answer, folders[name], "late again") for name, answer in zip(folders, answers, strict=True))
        assert len(batcher.residents) == 2


def test_one_larger_than_the_memory_is_served_alone(base: ResolvedBase, folders: dict[str, Path]) -> None:
    with running(Runs(folders), base, memory_bytes=1) as batcher:
        assert len(ask(batcher, ("s0", "good"), ("s1", "bad"))) == 2 and len(batcher.residents) == 1


def test_slots_are_used_again(base: ResolvedBase, folders: dict[str, Path]) -> None:
    size = sum(t.numel() * 4 for t in load_artifact(folders["s0"]).state.values())
    with running(Runs(folders), base, memory_bytes=int(2.5 * size)) as batcher:
        for _ in range(3):
            for name in folders:
                ask(batcher, (name, "good"))
        (slots,) = batcher.residents._slots.values()
        assert slots.n_made == 2


def test_the_frozen_part_is_computed_once_and_remembered(base: ResolvedBase, tmp_path: Path) -> None:
    folders = {f"s{i}": make_specialist(tmp_path / f"s{i}", base, i, depth=1) for i in range(3)}
    rows: list[int] = []
    with running(Runs(folders), base, wait_s=0.3) as batcher:
        ask(batcher, ("s0", "bad parcel"))
        (slots,) = batcher.residents._slots.values()
        slots.family.layers[0].attention.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
        ask(batcher, *((name, "good parcel") for name in folders), ("s0", "bad parcel"))
        assert rows == [1], "one text for three specialists, and one seen before"
        ask(batcher, *((name, "good parcel") for name in folders))
        assert rows == [1]
        assert batcher.recent.hits == 4


def test_what_is_remembered_is_bounded(base: ResolvedBase, tmp_path: Path) -> None:
    folders = {"s": make_specialist(tmp_path / "s", base, 0, depth=1)}
    with running(Runs(folders), base, recent_bytes=2000) as batcher:
        for i in range(20):
            ask(batcher, ("s", " ".join(["good"] * (i % 9 + 1) + ["bad"] * (i // 9))))
        assert 0 < batcher.recent.n_bytes <= 2000


def test_a_poisoned_row_hurts_only_itself(
    base: ResolvedBase, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Family.logits

    def poisoned(self: Family, inputs: Any, slots: Any, recent: Any) -> Any:
        if any(own.n_tokens == 7 for own in inputs):
            raise RuntimeError("boom")
        return plain(self, inputs, slots, recent)

    monkeypatch.setattr(Family, "logits", poisoned)
    texts = ["good", "good bad late the came and is", "bad parcel"]
    with running(Runs(folders), base, wait_s=0.3) as batcher:
        entries = batcher.registry.entries()
        futures = batcher.submit([(entries["s0"], text) for text in texts])
        with pytest.raises(NoAnswer, match="RuntimeError"):
            futures[1].result(60)
        for i in (0, 2):
            assert same(futures[i].result(60), folders["s0"], texts[i])
        assert batcher.n_open == 0 and batcher.counts.n_failed == 1


def test_numbers_that_are_not_finite_are_no_answer(
    base: ResolvedBase, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Family.logits

    def spoilt(self: Family, inputs: Any, slots: Any, recent: Any) -> Any:
        logits = plain(self, inputs, slots, recent)
        logits[0, 0] = np.nan
        return logits

    monkeypatch.setattr(Family, "logits", spoilt)
    with running(Runs(folders), base) as batcher, pytest.raises(NoAnswer, match="no finite numbers"):
        ask(batcher, ("s0", "good"))


@pytest.mark.parametrize("value", [b"", b"GIF89a", encoded(picture(1, 20)), 3, None, "\ud800"])
def test_a_wrong_input_hurts_only_itself(base: ResolvedBase, folders: dict[str, Path], value: Any) -> None:
    with running(Runs(folders), base, wait_s=0.3) as batcher:
        entries = batcher.registry.entries()
        futures = batcher.submit([(entries["s0"], "good"), (entries["s1"], value), (entries["s2"], "bad")])
        with pytest.raises(HonedError):
            futures[1].result(60)
        assert same(futures[0].result(60), folders["s0"], "good") and same(futures[2].result(60), folders["s2"], "bad")


def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    base = make_base(tmp_path / "dino", "dinov2")
    folders = {"s": make_specialist(tmp_path / "s", base, 0, head="both")}
    with running(Runs(folders), base, max_pixels=20 * 20) as batcher:
        assert ask(batcher, ("s", encoded(picture(1, 20))))[0].n_tokens == 5
        with pytest.raises(DataError, match="more than 400 pixels"):
            ask(batcher, ("s", encoded(picture(1, 21))))
        with pytest.raises(DataError, match="reads an image"):
            ask(batcher, ("s", "good"))


def test_a_full_queue_says_when_to_come_back(base: ResolvedBase, folders: dict[str, Path]) -> None:
    with running(Runs(folders), base, queue_rows=3, wait_s=0.5) as batcher:
        entry = batcher.registry.entries()["s0"]
        futures = batcher.submit([(entry, "good")] * 3)
        with pytest.raises(Busy) as caught:
            batcher.submit([(entry, "good")])
        assert caught.value.retry_after_s >= 1
        assert all(future.result(60) for future in futures)
        assert ask(batcher, ("s0", "good"))


def test_rows_that_nobody_waits_for_are_not_computed(base: ResolvedBase, folders: dict[str, Path]) -> None:
    with running(Runs(folders), base, wait_s=0.5) as batcher:
        entry = batcher.registry.entries()["s0"]
        futures = batcher.submit([(entry, "good"), (entry, "bad")])
        assert futures[0].cancel()
        futures[1].result(60)
    assert batcher.counts.n_rows == 1 and batcher.n_open == 0


def test_closing_answers_what_is_open(base: ResolvedBase, folders: dict[str, Path]) -> None:
    batcher = Batcher(Runs(folders), FrozenBase(base, "cpu"), BatchLimits(wait_s=0.2))
    entries = batcher.registry.entries()
    futures = batcher.submit([(entries[f"s{i % N}"], f"good {i}") for i in range(300)])
    batcher.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(Busy):
        batcher.submit([(entries["s0"], "good")])


def test_a_store_changes_while_it_is_served(base: ResolvedBase, folders: dict[str, Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old = store.add("x", folders["s0"])
    with running(store, base) as batcher:
        assert same(ask(batcher, ("x", "good"))[0], folders["s0"], "good")
        store.add("x", folders["s1"], replace=True)
        assert same(ask(batcher, ("x", "good"))[0], folders["s1"], "good")
        assert old.content not in batcher.residents, "nobody can ask for the old one any more"
        # asked for before it was replaced, read after: the answer is the new one's
        assert same(batcher.submit([(old, "good")])[0].result(60), folders["s1"], "good")
        store.remove("x")
        with pytest.raises(NoSuchSpecialist, match="'x' was removed"):
            batcher.submit([(old, "good")])[0].result(60)


def test_many_threads_ask_at_once(base: ResolvedBase, folders: dict[str, Path]) -> None:
    wanted = {name: expected(path, "good parcel") for name, path in folders.items()}
    wrong: list[str] = []

    def client(name: str) -> None:
        for _ in range(20):
            got = ask(batcher, (name, "good parcel"))[0].logits
            if not np.allclose(got, wanted[name], **tolerance("logits_same_weights", "float32")):
                wrong.append(name)

    with running(Runs(folders), base) as batcher:
        threads = [threading.Thread(target=client, args=(name,)) for name in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == [] and batcher.counts.n_rows == 20 * N
    assert batcher.counts.n_batches < 20 * N, "some of them shared a batch"


def test_what_is_told_is_what_predict_says(base: ResolvedBase, tmp_path: Path) -> None:
    folder = make_specialist(tmp_path / "s", base, 1, temperature=2.5, ordinal=True, positive=("late",), threshold=0.3)
    specialist = load_specialist(folder, device="cpu")
    probs = specialist.probabilities(["good parcel"])[0]
    with running(Runs({"s": folder}), base) as batcher:
        answer = ask(batcher, ("s", "good parcel"))[0]
    said = told("s", answer, 0.0)
    names = specialist.label_names
    assert said["label"] == names[probs.argmax()] and not said["abstained"] and said["n_tokens"] == 2
    assert list(said["probabilities"]) == list(names)
    assert list(said["probabilities"].values()) == pytest.approx(probs.tolist(), abs=1e-5)
    assert said["positive_probability"] == pytest.approx(probs[2], abs=1e-5) and said["positive"] == (probs[2] >= 0.3)
    assert said["grade"] == names[int(np.searchsorted(probs.cumsum(), 0.5))]
    shy = told("s", answer, 1.0)
    assert (
        shy["abstained"]
        and shy["label"] is None
        and shy["grade"] is None
        and shy["probability"] == max(said["probabilities"].values())
    )
