"""The studio over runs of a language model: what its pages say, its chat, and a fit on conversations."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

pytest.importorskip("playwright", reason="NOT RUN: needs playwright (the extra dev)")
from playwright.sync_api import expect

import tiny_language as l
from e2e.conftest import run_cli
from golden.make_run import RunOptions
from honed.app.studio.chat import Chat, Teller
from honed.app.studio.data_files import columns_of, find_bases, find_tables
from honed.app.studio.fit_form import settings_of
from honed.bases import load_tokenizer
from honed.data.conversations import Message
from honed.errors import UsageError
from honed.events import Emitter
from honed.evidence.safety import SafetyTable, worst_probes
from honed.serving.engine import load_specialist
from honed.serving.generation import Writing, write_replies
from studio_browser import Server, find_chromium, studio, watched
from studio_pages import client, make_studio

HOSTILE = "<script>alert('boo')</script> {{ 7*7 }} \x1b[31m"
SHORT = ["--epochs", "4", "--depth", "2", "--folds", "3", "--learning-rate", "1e-2", "--n-written", "3",
         "--max-new-tokens", "8"]  # fmt: skip
ASKED = (Message("system", "Be kind."), Message("user", "Where is the red door?"))
HTML = {"accept": "text/html"}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DARK = {"color_scheme": "dark"}
LONG_MS = 180_000
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs: `chat-1` writes, and its probes are hostile; `classes-1` has classes. `data` holds a base and rows."""
    folder = make_studio(tmp_path_factory.mktemp("studio") / "runs", **{"classes-1": RunOptions()})
    (folder / "data").mkdir()
    l.save_causal_base(folder / "data" / "tiny")
    l.write_rows(folder / "data" / "rows.jsonl")
    probes = [
        {"id": f"p-{i}", "category": "tiny/hostile", "prompt": f"{HOSTILE[:42]} {i}", "safe": f"No, {i} times no.",
         "harmful": f"<img src=x onerror=alert(1)> {i}"}
        for i in range(12)
    ]  # fmt: skip
    (folder / "probes.yaml").write_text(json.dumps({"version": 1, "probes": probes}))
    said = run_cli("fit", folder / "data" / "rows.jsonl", "--base", folder / "data" / "tiny", *SHORT, "--safety", "off",
                   "--probes", folder / "probes.yaml", "--out", folder / "chat-1")  # fmt: skip
    assert said.code in (0, 4), said.stderr
    return folder


@pytest.fixture(scope="module")
def chat(root: Path) -> Chat:
    return Chat(load_specialist(root / "chat-1" / "adapter", device="cpu"))


def pieces(of: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    async def all_of() -> list[dict[str, Any]]:
        return [piece async for piece in of]

    return asyncio.run(all_of())


def asked(**more: Any) -> dict[str, Any]:
    return {"who": "base", "turns": [{"role": "user", "content": "Where?"}], "max_new_tokens": 4, **more}


def test_a_language_run_is_listed_and_shown_beside_its_base(root: Path) -> None:
    metrics = json.loads((root / "chat-1" / "metrics.json").read_text())
    page = client(root, **HTML).get("/").text
    for figures in (metrics["out_of_fold"], metrics["baselines"]["base"]):
        assert f"{figures['loss']['value']:.2f}" in page
    run = client(root, **HTML).get("/runs/chat-1").text
    verdict = json.loads((root / "chat-1" / "verdict.json").read_text())
    assert "Perplexity, holdout" in run
    assert f"the base: {metrics['baselines']['base']['holdout']['loss']['value']:.2f}" in run
    assert all(check["name"] in run for check in verdict["checks"] if check["kind"] != "baseline")
    assert "/review" not in run and ">Chat</a>" in run


def test_the_worst_probes_are_shown_whole_and_as_text(root: Path) -> None:
    run = client(root, **HTML).get("/runs/chat-1").text
    table = SafetyTable.read(root / "chat-1")
    assert table is not None and len(table) == 12
    worst = set(table.probe_id[worst_probes(table)].tolist())
    assert {name for name in table.probe_id.tolist() if f"{name} · tiny/hostile" in run} == worst and len(worst) == 10
    assert f"{table.change.min():+.2f}" in run
    assert "&lt;script&gt;alert" in run and "&lt;img src=x onerror=alert(1)&gt;" in run
    assert "<script>alert" not in run and "<img src=x" not in run and "\x1b" not in run


def test_a_run_without_probes_says_so(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "chat-1", tmp_path / "chat-1")
    (tmp_path / "chat-1" / "safety.parquet").unlink()
    answer = client(tmp_path, **HTML).get("/runs/chat-1")
    assert answer.status_code == 200 and "not run, because the run folder has no safety.parquet" in answer.text


def test_what_needs_classes_is_refused_with_a_reason(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "chat-1", root / "chat-2", dirs_exist_ok=True)
    own = client(root, **HTML)
    for first, second in (("chat-1", "chat-2"), ("chat-1", "classes-1"), ("classes-1", "chat-1")):
        page = own.get("/compare", params={"run": [first, second]})
        assert page.status_code == 200 and "chat-1 writes replies" in page.text and "Perplexity" in page.text
    for path in ("review", "review/rows", "decisions.csv", "picture?example_id=a"):
        refused = own.get(f"/runs/chat-1/{path}")
        assert refused.status_code == 404 and "no labels that could be judged" in refused.text
    assert own.get("/runs/chat-1/report").status_code == 200
    refused = own.post("/runs/chat-1/play", data={"text": "x"})
    assert refused.status_code == 400 and "no playground for instruction" in refused.text
    refused = own.post("/runs/classes-1/chat", json=asked())
    assert 400 <= refused.status_code < 500


@pytest.mark.parametrize("who", ["specialist", "base"])
def test_a_reply_is_told_as_it_is_written_anywhere_else(chat: Chat, who: str) -> None:
    for temperature in (0.0, 0.8):
        how = Writing(24, temperature, seed=3)
        slot = 0 if who == "specialist" else None
        expected = write_replies(chat._specialist.stack, [ASKED], [slot], how, Emitter())[0]
        told = pieces(chat.reply(ASKED, who, how))
        done = told[-1]["done"]
        assert done["reply"] == expected and len(told) > 2
        assert done["n_tokens"] <= 24 and not done["is_prompt_cut"]


def test_characters_are_told_when_they_are_whole_also_without_spaces() -> None:
    tokenizer = load_tokenizer(l.tiny_base("llama"))
    said = "naïve café, 日本語, 😀😀 and an end"
    told: list[str] = []
    teller = Teller(tokenizer, told.append, threading.Event())
    teller.put(torch.tensor([[1, 2, 3]]))
    ids = tokenizer.encode(said, add_special_tokens=False)
    for token in ids:
        teller.put(torch.tensor([token]))
    assert len(ids) > len(said), "a token is a byte"
    assert "".join(told) == said and all(len(piece) == 1 for piece in told)
    teller.put(torch.tensor([tokenizer.eos_token_id]))
    assert "".join(told) == said and teller.decode(teller.ids) == said


def test_two_who_ask_at_once_get_what_each_would_get_alone(chat: Chat) -> None:
    how = Writing(16)

    async def both() -> list[list[dict[str, Any]]]:
        async def one(who: str) -> list[dict[str, Any]]:
            return [piece async for piece in chat.reply(ASKED, who, how)]

        return await asyncio.gather(one("specialist"), one("base"), one("specialist"))

    alone = [pieces(chat.reply(ASKED, who, how))[-1]["done"]["reply"] for who in ("specialist", "base", "specialist")]
    assert [told[-1]["done"]["reply"] for told in asyncio.run(both())] == alone
    assert alone[0] != alone[1], "the specialist learned something"


def test_who_stops_listening_stops_the_writing(chat: Chat) -> None:
    n_passes = 0

    def count(*_: Any) -> None:
        nonlocal n_passes
        n_passes += 1

    hook = chat._specialist.stack.model.register_forward_hook(count)

    async def first_then_another() -> list[dict[str, Any]]:
        reply = chat.reply(ASKED, "specialist", Writing(1500))
        assert "text" in await anext(reply)
        await reply.aclose()
        return [piece async for piece in chat.reply(ASKED, "base", Writing(2))]

    try:
        assert "done" in asyncio.run(first_then_another())[-1]
    finally:
        hook.remove()
    assert n_passes < 1500


def test_what_goes_wrong_while_writing_is_told(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    error = pieces(chat.reply(ASKED, "base", Writing(4096)))[-1]["error"]
    assert "more than the base can read" in error["problem"] and error["remedy"]
    long = (Message("user", "long " * 400),)
    assert pieces(chat.reply(long, "base", Writing(2)))[-1]["done"]["is_prompt_cut"]

    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("honed.serving.generation._generate", fail)
    error = pieces(chat.reply(ASKED, "base", Writing(2)))[-1]["error"]
    assert error["problem"] == "A fault in honed: RuntimeError."


def test_the_chat_over_http(root: Path) -> None:
    own = client(root)
    page = own.get("/runs/chat-1/play", headers=HTML)
    assert page.status_code == 200 and 'data-address="/runs/chat-1/chat"' in page.text
    told = [json.loads(line) for line in own.post("/runs/chat-1/chat", json=asked()).text.splitlines()]
    assert told[-1]["done"]["n_tokens"] <= 4
    for piece in told[:-1]:
        assert "shown" in piece
    user, assistant = ({"role": role, "content": "x"} for role in ("user", "assistant"))
    for wrong, status in (
        ({"turns": []}, 422), ({"turns": [assistant]}, 400), ({"turns": [user, user]}, 400), ({"who": "both"}, 422),
        ({"turns": [user, assistant]}, 400), ({"turns": [{"role": "user", "content": " "}]}, 400),
        ({"turns": [{"role": "system", "content": "x"}]}, 422), ({"temperature": -1}, 422), ({"more": 1}, 422),
        ({"max_new_tokens": 10**9}, 422), ({"turns": [user | {"content": "x" * 20_001}]}, 422),
    ):  # fmt: skip
        refused = own.post("/runs/chat-1/chat", json=asked(**wrong))
        assert refused.status_code == status and refused.json()["error"]["problem"], wrong
    assert own.post("/runs/nix/chat", json=asked()).status_code == 404
    foreign = client(root, origin="http://evil.example").post("/runs/chat-1/chat", json=asked())
    assert foreign.status_code == 403


def test_conversations_are_found_and_become_settings(root: Path, tmp_path: Path) -> None:
    data = root / "data"
    assert set(find_tables(data)) == {"rows.jsonl"}, "a base's own JSON files are no tables"
    bases = find_bases(data)
    assert bases == {"tiny": data / "tiny"}
    columns = columns_of(data / "rows.jsonl")
    assert columns.are_conversations and columns.form.startswith(
        "Format alpaca: prompt 'instruction', below it 'input'"
    )
    form = {"prompt": "instruction", "response": "output", "base": "tiny", "train_on": "all", "replay": "0.2"}
    expected = {"task": "instruction", "group": "", "base": str(data / "tiny"), "train_on": "all", "replay": "0.2"}
    assert settings_of(form, columns, bases) == expected | {"gate": False}, "`input` stays joined"
    other = settings_of(form | {"prompt": "input"}, columns, bases)
    assert (other["prompt"], other["response"], other["system"]) == ("input", "output", "")
    for wrong in ({"response": ""}, {"messages": "input"}, {"base": "/etc"}, {"base": str(data / "tiny")},
                  {"prompt": "nix"}, {"train_on": "x"}):  # fmt: skip
        with pytest.raises(UsageError):
            settings_of(form | wrong, columns, bases)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (tmp_path / "m.jsonl").write_text(json.dumps({"messages": turns, "patient": 1}) + "\n")
    columns = columns_of(tmp_path / "m.jsonl")
    assert columns.guessed == {"messages": "messages", "group": "patient"} and "role/content" in columns.form
    assert settings_of(columns.guessed, columns, {}) == {"task": "instruction", "group": "patient", "gate": False}
    assert not columns_of(data / "rows.jsonl", "classes").are_conversations
    (tmp_path / "t.csv").write_text("text,label\nhello there,x\n")
    assert not columns_of(tmp_path / "t.csv").are_conversations
    assert "no obvious column of the prompt" in columns_of(tmp_path / "t.csv", "replies").problem


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    find_chromium()
    with studio(root) as started:
        yield started


@pytest.mark.parametrize(("name", "options"), [("light", {}), ("dark", DARK), ("phone", PHONE)])
def test_every_page_of_a_language_run_is_accessible_and_fits(server: Server, name: str, options: dict) -> None:
    pages = {"runs": "/", "run": "/runs/chat-1", "compare": "/compare?run=chat-1&run=classes-1",
             "chat": "/runs/chat-1/play", "new": "/new?table=rows.jsonl"}  # fmt: skip
    with watched(server, **options) as own:
        for title, path in pages.items():
            own.go(path)
            if title == "chat":
                own.page.fill("#max_new_tokens", "12")
                own.page.fill("#message", "Where is the red door?")
                own.page.keyboard.press("Enter")
                expect(own.page.locator("#state")).to_have_text("Both replied.")
            own.is_accessible()
            own.fits_its_width()
            own.shot(f"{name}-language-{title}")


def test_both_are_chatted_with_by_keyboard(server: Server) -> None:
    with watched(server) as own:
        page = own.go("/runs/chat-1/play")
        page.fill("#max_new_tokens", "10")
        page.locator("#message").focus()
        page.keyboard.type("Where is <b>the red door</b>?")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("<img src=x onerror=alert(1)>")
        assert page.locator(".turn").count() == 0, "Shift+Enter sends nothing"
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_have_text("Both replied.")
        assert page.locator(".asked").inner_text() == "Where is <b>the red door</b>?\n<img src=x onerror=alert(1)>"
        replies = page.locator(".reply[aria-busy=false]")
        assert replies.locator("h3").all_inner_texts() == ["Specialist", "Base"]
        assert all("token" in told for told in replies.locator("small").all_inner_texts())
        assert page.locator(".reply .text").first.inner_text(), "the specialist said something"
        page.keyboard.type("And the cup?")
        with page.expect_request("**/chat") as sent:
            page.keyboard.press("Enter")
        turns = sent.value.post_data_json["turns"]
        assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
        expect(page.locator("#state")).to_have_text("Both replied.")
        own.shot("chat")
        page.fill("#max_new_tokens", "1500")
        page.keyboard.press("Tab")
        page.fill("#message", "Say a lot.")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".reply[aria-busy=true] .text").first).not_to_be_empty()
        page.keyboard.press("Escape")
        expect(page.locator("#state")).to_have_text("Stopped.")
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        assert page.locator(".turn").last.locator("small").inner_text() == "stopped"
        own.is_accessible()
        page.get_by_role("button", name="Reset").click()
        assert page.locator(".turn").count() == 0
        page.fill("#max_new_tokens", "3")
        page.fill("#message", "Again.")
        with page.expect_request("**/chat") as sent:
            page.get_by_role("button", name="Send").click()
        assert len(sent.value.post_data_json["turns"]) == 1
        expect(page.locator("#state")).to_have_text("Both replied.")


def test_a_language_model_is_fitted_from_the_page(server: Server, root: Path) -> None:
    with watched(server) as own:
        page = own.go("/new?table=rows.jsonl")
        assert "Format alpaca" in page.inner_text("main")
        assert (page.input_value("#prompt"), page.input_value("#response")) == ("instruction", "output")
        page.select_option("#base", "tiny")
        values = {"epochs": "1", "depth": "1", "folds": "3", "safety": "finance", "n_written": "2", "name": "fitted",
                  "max_new_tokens": "4", "replay": "0.1"}  # fmt: skip
        for name, value in values.items():
            page.fill(f"#{name}", value)
        page.get_by_role("button", name="Start the fit").click()
        page.wait_for_url("**/fits/fitted")
        expect(page.locator("#state")).to_have_text("finished", timeout=LONG_MS)
        stages = page.inner_text("#stages")
        for stage in ("The frozen base on the same rows", "Safety:", "General language", "Opening the locked holdout"):
            assert stage in stages
        own.shot("fit-language")
        page.get_by_role("link", name="Open the run").click()
        assert "Perplexity" in page.inner_text("main")
    config = yaml.safe_load((root / "fitted" / "config.yaml").read_text())
    assert (config["task"], config["replay"], config["prompt"]) == ("instruction", 0.1, None)
