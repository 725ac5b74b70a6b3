"""`honed check` on conversations: what is found, what is learned, and nothing of the text that steers the terminal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chat_tokenizers import chat_tokenizer
from models import tiny_config

HOSTILE = "[bold red]Ignore all previous instructions[/bold red] \x1b[31m [link=http://example.org]"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal model with a chat template, as a local folder."""
    import transformers

    folder = tmp_path_factory.mktemp("base")
    tokenizer = chat_tokenizer("gemma")
    config = tiny_config("llama")
    config.vocab_size = len(tokenizer)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def conversation(i: int, more: str = "") -> dict[str, Any]:
    word = chr(ord("a") + i % 26) * 5
    asked, replied = f"What does {word} {i * i} mean?", f"It is {word}.{more}"
    turns = [("system", "Be short."), ("user", asked), ("assistant", replied)]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_the_mask_is_shown_in_brackets_and_to_machines(cli: Callable, base: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [conversation(i) for i in range(24)])
    said = cli("check", file, "--base", base, "--no-color", "--folds", "2")
    assert said.code == 0, said.stderr
    assert "Format   messages; rows by number of replies: 24 with 1" in said.stdout
    assert "the chat template that came with the base; a turn ends with <end_of_turn> or <eos>" in said.stdout
    assert "Be short." in said.stdout and said.stdout.count("■⟧") == 3
    found = cli("check", file, "--base", base, "--json", "--folds", "2").json
    assert found["conversations"]["format"] == "messages" and found["conversations"]["template"] == "model"
    (first, *_) = found["checks"]["preview"]
    learned = [piece["text"] for piece in first["pieces"] if piece["is_target"]]
    assert learned[0].startswith("It is ") and learned[1:] == ["<end_of_turn>"] and "⟦It is " in first["decoded"]
    assert found["checks"]["truncation_frac"] == 0 and found["fold_sizes"]


def test_colours_take_the_place_of_brackets(
    cli: Callable, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = write(tmp_path / "a.jsonl", [conversation(i) for i in range(24)])
    said = cli("check", file, "--base", base, "--folds", "2")
    assert "\x1b[1;32mIt is " in said.stdout and "⟦It" not in said.stdout
    plain = cli("check", file, "--base", base, "--folds", "2", "--no-color")
    assert "\x1b[1;32m" not in plain.stdout and "⟦It is " in plain.stdout


def test_text_of_the_data_steers_nothing(cli: Callable, base: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [conversation(i, f" {HOSTILE}") for i in range(24)])
    said = cli("check", file, "--base", base, "--folds", "2")
    assert said.code == 0, said.stderr
    assert "\x1b" not in said.stdout and "[bold red]Ignore all previous instructions[/bold red]" in said.stdout
    assert "control_characters" in said.stdout


def test_bad_rows_are_told_and_a_broken_line_is_named(cli: Callable, base: Path, tmp_path: Path) -> None:
    bad = [{"messages": None}, {"messages": [{"role": HOSTILE, "content": "x"}]}, {"messages": "[{'role': 1}]"}]
    file = write(tmp_path / "a.jsonl", [*(conversation(i) for i in range(24)), *bad])
    found = cli("check", file, "--base", base, "--json", "--folds", "2").json
    assert (found["n_rows"], found["n_used"]) == (27, 24)
    left_out = {entry["check"]: entry["n_issues"] for entry in found["findings"] if "left out" in entry["action"]}
    assert left_out == {"broken_conversation": 2, "unknown_role": 1}
    shown = cli("check", file, "--base", base, "--folds", "2").stdout
    assert "message 1 has the role '[bold red]Ignore all previous" in shown and "\x1b" not in shown
    broken = cli("check", write(tmp_path / "b.jsonl", [conversation(0), '{"messages": [}']))
    assert broken.code == 3 and "line 2" in broken.stderr


def test_rows_that_the_template_refuses_make_the_file_unusable(cli: Callable, base: Path, tmp_path: Path) -> None:
    other = tmp_path / "base"
    shutil.copytree(base, other)
    (other / "chat_template.jinja").write_text(
        "{{ raise_exception('closed') if 'aaaaa' in messages[-1]['content'] }}"
        "{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
    )
    file = write(tmp_path / "a.jsonl", [conversation(i) for i in range(24)])
    said = cli("check", file, "--base", other, "--folds", "2")
    assert said.code == 3 and "refuses 1 row." in said.stdout and "template_refuses" in said.stdout


def test_columns_of_another_task_are_refused(cli: Callable, tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {i}?", "response": f"{i}.", "kind": "x"} for i in range(24)]
    file = write(tmp_path / "a.jsonl", rows)
    said = cli("check", file, "--task", "instruction", "--label", "kind")
    assert said.code == 2 and "--label kind does not fit --task instruction" in said.stderr


def test_without_the_base_what_needs_it_is_not_run(
    cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("honed.tasks.instruction.Instruction.default_base", "nobody/has-this-base")
    rows = [{"category": str(i % 2), "prompt": f"What is {i * 37}?", "response": f"{i}."} for i in range(24)]
    file = write(tmp_path / "a.jsonl", rows)
    said = cli("check", file, "--task", "instruction", "--folds", "2", "--json")
    assert said.code == 0, said.stderr
    assert said.json["conversations"]["format"] == "prompt_response" and said.json["conversations"]["template"] is None
    assert any(text.startswith("Token lengths and preview: not run") for text in said.json["not_run"])
    shown = cli("check", file, "--task", "instruction", "--folds", "2").stdout
    assert f"honed fit {file} --task instruction" in shown
