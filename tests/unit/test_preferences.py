"""Pairs of replies: the formats that TRL reads, and rows that are no pair."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import tiny_language as l
from honed.bases import load_tokenizer
from honed.data.chat_template import ConversationReader, template_of
from honed.data.conversations import ConversationRoles
from honed.data.preference_checks import preference_checks
from honed.data.preferences import Preference, load_preferences, looks_like_preferences
from honed.errors import DataError, HonedError, UsageError

TEXTS = [{"prompt": f"What is {i}?", "chosen": f"It is {i}.", "rejected": "No."} for i in range(6)]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def load(rows: list[dict[str, Any]], **roles: str) -> Any:
    names = dict.fromkeys(name for row in rows for name in row)
    return load_preferences(
        pa.table({name: [row.get(name) for row in rows] for name in names}), ConversationRoles(**roles)
    )


FORMATS = {
    "texts": TEXTS,
    "lists": [
        {"prompt": [user(row["prompt"])], "chosen": [reply(row["chosen"])], "rejected": [reply(row["rejected"])]}
        for row in TEXTS
    ],
    "whole conversations": [
        {
            "chosen": [user(row["prompt"]), reply(row["chosen"])],
            "rejected": [user(row["prompt"]), reply(row["rejected"])],
        }
        for row in TEXTS
    ],
    "a prompt beside whole conversations": [
        {
            "prompt": row["prompt"],
            "chosen": [user(row["prompt"]), reply(row["chosen"])],
            "rejected": [user(row["prompt"]), reply(row["rejected"])],
        }
        for row in TEXTS
    ],
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_pairs(name: str) -> None:
    found, plain = load(FORMATS[name]), load(TEXTS)
    assert found.dataset.inputs == plain.dataset.inputs
    assert found.dataset.fingerprint == plain.dataset.fingerprint
    pair = found.dataset.inputs[2]
    assert isinstance(pair, Preference)
    assert [message.content for message in pair.with_rejected().messages] == ["What is 2?", "No."]
    assert (pair.reply(), pair.with_chosen().reply()) == ("It is 2.", "It is 2.")
    assert found.format.name == "preference"
    assert "chosen 'chosen'; rejected 'rejected'" in found.notices[0]


def test_a_system_prompt_comes_first_and_named_columns_are_taken() -> None:
    rows = [{"ask": f"q{i}", "good": f"a{i}", "bad": "b", "system": "Be brief."} for i in range(4)]
    found = load(rows, prompt="ask", chosen="good", rejected="bad")
    assert [message.role for message in found.dataset.inputs[0].messages] == ["system", "user", "assistant"]
    assert not looks_like_preferences(pa.table({"ask": ["q"], "good": ["a"], "bad": ["b"]}))
    assert looks_like_preferences(pa.table({"prompt": ["q"], "chosen": ["a"], "rejected": ["b"]}))


def test_the_rejected_reply_is_part_of_a_rows_identity() -> None:
    other = [*TEXTS[:-1], {**TEXTS[-1], "rejected": "Perhaps."}]
    assert load(other).dataset.fingerprint != load(TEXTS).dataset.fingerprint


BROKEN = {
    "equal_replies": {"prompt": "q", "chosen": "same", "rejected": " same "},
    "empty_reply": {"prompt": "q", "chosen": " ", "rejected": "b"},
    "empty_prompt": {"prompt": "", "chosen": "a", "rejected": "b"},
}


@pytest.mark.parametrize("check", BROKEN)
def test_a_row_that_is_no_pair_is_left_out_and_told(check: str) -> None:
    found = load([*TEXTS, BROKEN[check]])
    assert (len(found.dataset), found.n_rows) == (6, 7)
    (issue,) = [issue for issue in found.issues.issues() if issue.is_issue]
    assert (issue.check, issue.row, issue.action) == (check, 6, "drop")
    assert issue.evidence.startswith("Row 7: ")


def test_a_missing_rejected_reply_is_named() -> None:
    found = load([*TEXTS, {"prompt": "q", "chosen": "a", "rejected": None}])
    (issue,) = [issue for issue in found.issues.issues() if issue.is_issue]
    assert "its rejected reply is empty" in issue.evidence


@pytest.mark.parametrize(
    ("row", "check", "words"),
    [
        ({"chosen": [user("a"), reply("x")], "rejected": [user("b"), reply("y")]}, "different_prompts", "differ"),
        ({"chosen": [user("a"), reply("x")], "rejected": [user("a")]}, "empty_reply", "rejected conversation"),
        ({"chosen": [user("a"), {"role": "wizard", "content": "x"}], "rejected": None}, "unknown_role", "'chosen'"),
        ({"chosen": [reply("x")], "rejected": [reply("y")]}, "empty_prompt", "its prompt is empty"),
    ],
)
def test_conversations_that_are_no_pair(row: dict[str, Any], check: str, words: str) -> None:
    found = load([*FORMATS["whole conversations"], row])
    (issue,) = [issue for issue in found.issues.issues() if issue.is_issue]
    assert issue.check == check
    assert words in issue.evidence
    assert len(found.dataset) == 6


def test_an_object_where_a_reply_is_due_is_a_broken_row() -> None:
    rows = [{**row, "rejected": {"text": row["rejected"]}} for row in TEXTS]
    with pytest.raises(DataError, match="holds an object, not text") as caught:
        load(rows)
    assert "--chosen and --rejected" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"prompt": "q", "chosen": "a"}], "rejected reply"),
        ([{"chosen": "a", "rejected": "b"}], "column of the prompt"),
    ],
)
def test_a_table_without_pairs_is_refused(rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load(rows * 6)
    with pytest.raises(HonedError, match="nothing"):
        load(TEXTS, chosen="nothing")


def test_contradictions_and_cut_rejected_replies_are_told(tmp_path) -> None:
    turned = {"prompt": "What is 1?", "chosen": "No.", "rejected": "It is 1."}
    endless = {"prompt": "What is 9?", "chosen": "Nine.", "rejected": "word " * 60}
    found = load([*TEXTS, turned, endless])
    tokenizer = load_tokenizer(l.save_causal_base(tmp_path))
    issues = preference_checks(found.dataset, ConversationReader(tokenizer, template_of(tokenizer), 96))
    told = {(issue.check, issue.row): issue.evidence for issue in issues.issues()}
    assert told.keys() == {("contradiction", 1), ("contradiction", 6), ("truncation", 7), ("truncated_reply", 7)}
    assert told["contradiction", 1].startswith("Row 7 prefers")
    assert told["truncated_reply", 7].startswith("With the rejected reply: ")
    assert len(preference_checks(found.dataset, None)) == 2
