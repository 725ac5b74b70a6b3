"""What a server of language models promises: a mixed batch writes what each specialist writes alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny_language as l
from honed.bases import ResolvedBase
from honed.data.conversations import Message
from honed.errors import DataError, HonedError
from honed.events import Emitter
from honed.methods.base import discover
from honed.serving.asked import Asked, Done, Event, Piece, PromptTooLong
from honed.serving.engine import load_specialist
from honed.serving.family import FrozenBase
from honed.serving.generation import Writing, write_replies
from honed.serving.lookup import Busy, NoAnswer
from honed.serving.store import Entry, Runs
from honed.serving.writer import WriteLimits, Writer
from served import make_specialist, make_writer

PACKED = ("bottleneck", "lora", "prefix")
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "lora": [{"rank": 4}, {"rank": 2, "alpha": 7.0}, {"rank": 8, "rslora": True}],
    "bottleneck": [{"size": 4}, {"size": 6}, {"size": 2}],
    "prefix": [{"tokens": 3}, {"tokens": 5}, {"tokens": 1}],
}
GREEDY = Writing(max_new_tokens=16)
PROMPTS = [(Message("user", text),) for text in ("Where is the red door?", "Why?", "Say three words about a hat.")]


class Heard:
    """What is told of one request."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.end: Event | None = None
        self._is_whole = threading.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Piece):
            self.pieces.append(event.text)
        else:
            self.end = event
            self._is_whole.set()

    def text(self) -> str:
        assert self._is_whole.wait(60), "it was never told"
        return "".join(self.pieces)

    def done(self) -> Done:
        self.text()
        assert isinstance(self.end, Done), self.end
        return self.end

    def error(self) -> HonedError:
        self.text()
        assert isinstance(self.end, HonedError), self.end
        return self.end


@contextmanager
def writer(folders: Mapping[str, Path], base: ResolvedBase, **limits: Any) -> Iterator[tuple[Writer, dict[str, Entry]]]:
    registry = Runs(folders)
    made = Writer(registry, FrozenBase(base, "cpu"), WriteLimits(**{"wait_s": 0.3} | limits))
    try:
        yield made, dict(registry.entries())
    finally:
        made.close()


def ask(made: Writer, entry: Entry, prompt: Any, how: Writing = GREEDY, stops: Sequence[str] = ()) -> Heard:
    heard = Heard()
    made.submit(Asked(entry, prompt, how, tuple(stops), heard))
    return heard


def alone(folder: Path, prompt: Any, how: Writing = GREEDY) -> str:
    """What `honed predict` says."""
    specialist = load_specialist(folder, device="cpu")
    return plain(write_replies(specialist.stack, [prompt], [0], how, Emitter())[0])


def plain(text: str) -> str:
    """Without the half character that a reply cut short may end with, and the spaces around."""
    return text.rstrip("\N{REPLACEMENT CHARACTER} \n\t\r\v\f\x1c\x1d\x1e\x1f\x85").strip()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("writers")
    return {f"s{i}": make_writer(folder / f"s{i}", l.tiny_base("llama"), i, rank=4) for i in range(3)}


@pytest.mark.parametrize("method", list(discover()))
@pytest.mark.parametrize(("name", "depth"), [("llama", 2), ("llama", 3), ("gemma3", 3)])
def test_a_mixed_batch_writes_what_each_writes_alone(tmp_path: Path, name: str, depth: int, method: str) -> None:
    base = l.tiny_base(name)
    options = VARIANTS.get(method, [{}, {}])
    folders = {
        f"s{i}": make_writer(tmp_path / f"s{i}", base, i, method, depth=depth, **own) for i, own in enumerate(options)
    }
    with writer(folders, base) as (made, entries):
        asked = [(who, prompt) for prompt in PROMPTS for who in folders]
        heard = [ask(made, entries[who], prompt) for who, prompt in asked]
        texts = [own.text() for own in heard]
        n_batches = made.counts.n_batches
    assert n_batches == (1 if method in PACKED else len(folders))
    assert [plain(text) for text in texts] == [alone(folders[who], prompt) for who, prompt in asked]
    assert len(set(texts)) > 1, "specialists should differ"


def test_temperatures_and_seeds_share_a_batch_and_do_not_meet(llama: dict[str, Path]) -> None:
    """A row's draws depend on its own seed alone, whoever is beside it."""
    hows = [GREEDY, Writing(16, 1.0, 7, 1.0), Writing(12, 0.5, 8, 0.9), Writing(16, 1.0, 9, 1.0)]
    with writer(llama, l.tiny_base("llama")) as (made, entries):
        heard = [ask(made, entries["s0"], PROMPTS[0], how) for how in hows]
        together = [own.text() for own in heard]
        assert made.counts.n_batches == 1
        again = [ask(made, entries["s0"], PROMPTS[0], how).text() for how in hows]
        assert made.counts.n_batches == 5
    assert together == again
    assert len(set(together)) == 4
    assert [plain(text) for text in together] == [alone(llama["s0"], PROMPTS[0], how) for how in hows]


def test_a_tiny_top_p_is_greedy(llama: dict[str, Path]) -> None:
    with writer(llama, l.tiny_base("llama")) as (made, entries):
        drawn = ask(made, entries["s0"], PROMPTS[0], Writing(16, 1.5, 3, 1e-9))
        assert drawn.text() == ask(made, entries["s0"], PROMPTS[0]).text()


def test_each_row_has_its_own_length_and_reason(llama: dict[str, Path]) -> None:
    with writer(llama, l.tiny_base("llama")) as (made, entries):
        heard = [ask(made, entries["s0"], PROMPTS[0], replace(GREEDY, max_new_tokens=n)) for n in (1, 5, 16)]
        done = [own.done() for own in heard]
        n_read = len(load_specialist(llama["s0"], device="cpu").stack.task.reader.encode_prompt(PROMPTS[0]))
    assert [own.n_new for own in done[:2]] == [1, 5] and {own.reason for own in done[:2]} == {"length"}
    assert done[2].reason == ("stop" if done[2].n_new < 16 else "length")
    assert {own.n_prompt for own in done} == {n_read}
    assert heard[2].text().startswith(heard[1].text())


def test_a_stop_ends_a_row_and_is_not_told(llama: dict[str, Path]) -> None:
    with writer(llama, l.tiny_base("llama")) as (made, entries):
        whole = ask(made, entries["s0"], PROMPTS[0]).text()
        stop = whole[4:6]
        heard = ask(made, entries["s0"], PROMPTS[0], stops=(stop, "never said"))
        done = heard.done()
    assert heard.text() == whole[: whole.index(stop)] and done.reason == "stop" and done.n_new < 16


def test_a_row_whose_client_left_stops_and_the_others_go_on(llama: dict[str, Path]) -> None:
    long = replace(GREEDY, max_new_tokens=400)
    with writer(llama, l.tiny_base("llama")) as (made, entries):
        left: list[Event] = []

        def hear(event: Event) -> None:
            left.append(event)
            gone.is_left = True

        gone = Asked(entries["s0"], PROMPTS[0], long, (), hear)
        made.submit(gone)
        other = ask(made, entries["s1"], PROMPTS[1])
        assert other.done().n_new > 0
        ask(made, entries["s1"], PROMPTS[1]).done()  # the next batch begins: that of the left one is over
        assert gone.is_settled and gone.n_new < 3 and made.counts.n_left == 1
    assert all(isinstance(event, Piece) for event in left)


def test_a_poisoned_request_hurts_only_itself(llama: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from honed.serving.family import Family

    whole = Family.write

    def write(self: Family, prompts: Any, slots: Any, hows: Any, watch: Any) -> None:
        if any(how.seed == 666 for how in hows):
            raise RuntimeError("poison")
        whole(self, prompts, slots, hows, watch)

    monkeypatch.setattr(Family, "write", write)
    with writer(llama, l.tiny_base("llama")) as (made, entries):
        heard = [ask(made, entries["s0"], PROMPTS[i], replace(GREEDY, seed=seed)) for i, seed in enumerate((1, 666, 2))]
        assert isinstance(heard[1].error(), NoAnswer)
        assert [plain(heard[i].text()) for i in (0, 2)] == [alone(llama["s0"], PROMPTS[i]) for i in (0, 2)]


def test_what_fails_in_the_midst_is_told_once(llama: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a batch that broke are written again, alone; their clients hear nothing twice."""
    from honed.serving import writer as module

    put, n_calls = module._Batch.put, [0]

    def broken(self: Any, value: Any) -> None:
        put(self, value)
        n_calls[0] += 1
        if n_calls[0] == 6:
            raise RuntimeError("the device is gone")

    monkeypatch.setattr(module._Batch, "put", broken)
    with writer(llama, l.tiny_base("llama")) as (made, entries):
        heard = [ask(made, entries[f"s{i}"], PROMPTS[i]) for i in range(3)]
        assert [plain(own.text()) for own in heard] == [alone(llama[f"s{i}"], PROMPTS[i]) for i in range(3)]


def test_numbers_that_are_not_finite_end_one_row(llama: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from honed.serving import writer as module

    look = module._Batch.look

    def poisoned(self: Any, input_ids: Any, scores: Any) -> Any:
        for i, row in enumerate(self._rows):
            if row.entry.name == "s1":
                scores[i] = float("nan")
        return look(self, input_ids, scores)

    monkeypatch.setattr(module._Batch, "look", poisoned)
    with writer(llama, l.tiny_base("llama")) as (made, entries):
        heard = [ask(made, entries[f"s{i}"], PROMPTS[0]) for i in range(3)]
        assert "finite" in heard[1].error().problem
        assert [plain(heard[i].text()) for i in (0, 2)] == [alone(llama[f"s{i}"], PROMPTS[0]) for i in (0, 2)]


def test_limits_and_wrong_kinds_are_refused_in_words(llama: dict[str, Path], tmp_path: Path) -> None:
    base = l.tiny_base("llama")
    folders = llama | {"labels": make_specialist(tmp_path / "labels", base, 1)}
    with writer(folders, base, prompt_tokens=60, queue_rows=3) as (made, entries):
        long = ask(made, entries["s0"], (Message("user", "word " * 30),))
        assert isinstance(long.error(), PromptTooLong) and "more than 60" in long.error().problem
        reply = ask(made, entries["s0"], PROMPTS[1], replace(GREEDY, max_new_tokens=4000))
        assert "2048" in reply.error().problem
        kind = ask(made, entries["labels"], PROMPTS[1]).error()
        assert isinstance(kind, DataError) and "classifies" in kind.problem and "/v1/predict" in kind.remedy
        text = ask(made, entries["s0"], "The door is")
        assert text.done().n_prompt == len("The door is")  # bytes; no template
        for _ in range(3):
            ask(made, entries["s0"], PROMPTS[0], replace(GREEDY, max_new_tokens=300))
        with pytest.raises(Busy):
            ask(made, entries["s0"], PROMPTS[0])


def test_specialists_that_do_not_fit_together_are_written_one_after_another(llama: dict[str, Path]) -> None:
    with writer(llama, l.tiny_base("llama"), memory_bytes=1) as (made, entries):
        heard = [ask(made, entries[f"s{i}"], PROMPTS[i]) for i in range(3)]
        assert [plain(own.text()) for own in heard] == [alone(llama[f"s{i}"], PROMPTS[i]) for i in range(3)]
        assert made.residents.n_evictions == 2
