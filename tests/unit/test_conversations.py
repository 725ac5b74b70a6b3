"""Which files are conversations, in every format; and no row is lost without a word."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from honed.data.conversations import (
    Conversation,
    ConversationRoles,
    Message,
    find_format,
    load_conversations,
    looks_like_instructions,
)
from honed.data.loading import LoadedData
from honed.data.readers import read_table
from honed.errors import DataError, UsageError

ASKED = [f"What is {n} and {n}?" for n in range(5)]
MESSAGES = [[{"role": "user", "content": text}, {"role": "assistant", "content": "Ten."}] for text in ASKED]
SHAREGPT = [[{"from": "human", "value": text}, {"from": "gpt", "value": "Ten."}] for text in ASKED]
WANTED = [Conversation((Message("user", text), Message("assistant", "Ten."))) for text in ASKED]


def load(rows: list[dict[str, Any]], folder: Path, *, require_reply: bool = True, **roles: str) -> LoadedData:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return load_conversations(read_table(str(path)), ConversationRoles(**roles), require_reply=require_reply)


def bad_row(turns: object, folder: Path, *, require_reply: bool = True) -> LoadedData:
    """Five good rows, and one with these messages."""
    return load([{"messages": row} for row in [*MESSAGES, turns]], folder, require_reply=require_reply)


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ([{"messages": row} for row in MESSAGES], "messages"),
        ([{"conversations": row} for row in SHAREGPT], "sharegpt"),
        ([{"instruction": text, "input": "", "output": "Ten."} for text in ASKED], "alpaca"),
        ([{"Prompt": text, "completion": "Ten."} for text in ASKED], "prompt_response"),
    ],
)
def test_each_format_is_found_and_named(rows: list[dict[str, Any]], name: str, tmp_path: Path) -> None:
    loaded = load(rows, tmp_path)
    assert loaded.dataset.inputs == WANTED
    assert loaded.format is not None and loaded.format.name == name
    assert loaded.notices[0].startswith(f"Format {name}: ")
    assert looks_like_instructions(read_table(str(tmp_path / "rows.jsonl")))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
@pytest.mark.parametrize("cells", [MESSAGES, SHAREGPT], ids=["messages", "sharegpt"])
def test_lists_are_read_from_every_kind_of_file(cells: list[Any], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"chat": cells}), path)
    elif suffix == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([["chat"], *([json.dumps(cell)] for cell in cells)])
    else:
        rows = [json.dumps({"chat": cell}) for cell in cells]
        path.write_text("\n".join(rows) if suffix == "jsonl" else f"[{','.join(rows)}]", encoding="utf-8")
    loaded = load_conversations(read_table(str(path)), ConversationRoles(), require_reply=True)
    assert loaded.dataset.inputs == WANTED
    assert len(set(loaded.dataset.example_id)) == len(WANTED) and loaded.dataset.label_names == ("reply",)


def test_input_and_system_prompt_are_kept(tmp_path: Path) -> None:
    row = {"instruction": "Sort.", "context": "b, a", "output": "a, b", "system": "Be short.", "source": "book"}
    loaded = load([row | {"instruction": f"Sort {i}."} for i in range(4)], tmp_path)
    assert [(m.role, m.content) for m in loaded.dataset.inputs[0].messages] == [
        ("system", "Be short."), ("user", "Sort 0.\n\nb, a"), ("assistant", "a, b"),
    ]  # fmt: skip
    assert loaded.dataset.traits["source"].tolist() == ["book"] * 4
    assert "below it 'context'" in loaded.notices[0] and "system prompt 'system'" in loaded.notices[0]


def test_named_columns_win(tmp_path: Path) -> None:
    rows = [
        {"prompt": "no", "q": text, "a": "Ten.", "response": "no", "who": str(i // 2)} for i, text in enumerate(ASKED)
    ]
    loaded = load(rows, tmp_path, prompt="q", response="a", group="who")
    assert loaded.dataset.inputs == WANTED
    assert loaded.dataset.group.tolist() == ["0", "0", "1", "1", "2"]
    assert set(loaded.dataset.traits) == {"prompt", "response", "who"}


@pytest.mark.parametrize("role", ["developer", "SYSTEM"])
def test_roles_have_other_names(role: str, tmp_path: Path) -> None:
    turns = [{"role": role, "content": "Be short."}, {"role": "human", "content": [{"type": "text", "text": "Hi"}]}]
    loaded = bad_row([*turns, {"role": "model", "content": "Hello."}], tmp_path)
    assert [m.role for m in loaded.dataset.inputs[-1].messages] == ["system", "user", "assistant"]
    assert loaded.dataset.inputs[-1].messages[1].content == "Hi" and not len(loaded.issues.counts())


USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
FAULTS = [
    (None, "broken_conversation", "the cell is empty"),
    ("[{'role': 'user'}]", "broken_conversation", "Python's own writing"),
    ("{", "broken_conversation", "no JSON list"),
    ([1, 2], "broken_conversation", "message 1 is a number"),
    ([USER, None], "broken_conversation", "message 2 is null"),
    ([USER, {"speaker": "x"}], "broken_conversation", "neither 'role' nor 'from'"),
    ([USER, {"role": "assistant", "content": {"a": 1}}], "broken_conversation", "an object, not text"),
    ([{"role": "user", "content": [{"type": "image", "image": "x"}]}, ASSISTANT], "broken_conversation", "'image'"),
    ([{"role": "tool", "content": "x"}, ASSISTANT], "unknown_role", "'tool'"),
    ([{"role": None, "content": "x"}, ASSISTANT], "unknown_role", "None"),
    ([ASSISTANT, USER], "roles_out_of_order", "message 1"),
    ([USER, USER, ASSISTANT], "roles_out_of_order", "message 2"),
    ([USER, {"role": "system", "content": "x"}, ASSISTANT], "roles_out_of_order", "'system'"),
    ([], "empty_prompt", "no user message"),
    ([{"role": "user", "content": None}, ASSISTANT], "empty_prompt", "message 1 is empty"),
    ([USER, {"role": "assistant", "content": " \n"}], "empty_reply", "message 2 is empty"),
    ([USER], "empty_reply", "no reply"),
]


@pytest.mark.parametrize(("turns", "check", "words"), FAULTS)
def test_a_row_that_is_no_conversation_is_a_finding(turns: object, check: str, words: str, tmp_path: Path) -> None:
    loaded = bad_row(turns, tmp_path)
    assert loaded.issues.counts() == {check: 1}
    (issue,) = loaded.issues.where(check).issues()
    assert issue.row == 5 and issue.action == "drop" and words in issue.evidence and issue.evidence.startswith("Row 6:")
    assert loaded.dataset.row.tolist() == [0, 1, 2, 3, 4] and loaded.n_rows == 6


@pytest.mark.parametrize(("turns", "check", "words"), FAULTS)
def test_prediction_keeps_every_row(turns: object, check: str, words: str, tmp_path: Path) -> None:
    del words
    loaded = bad_row(turns, tmp_path, require_reply=False)
    assert len(loaded.dataset) == 6 and not loaded.dataset.inputs[5].reply()
    if check == "empty_reply":
        assert [m.content for m in loaded.dataset.inputs[5].prompt()] == ["Hi"]
    else:
        assert loaded.dataset.inputs[5].messages == () and loaded.issues.counts() == {check: 1}


def test_objects_may_share_the_keys_of_both_formats_and_hold_half_a_character() -> None:
    turns = [
        {"role": None, "content": None, "from": "human", "value": "Hi"},
        {"role": "assistant", "content": "Hello.", "from": None, "value": None},
    ]
    nested = load_conversations(pa.table({"messages": [turns] * 4}), ConversationRoles(), require_reply=True)
    assert [m.content for m in nested.dataset.inputs[0].messages] == ["Hi", "Hello."]
    half = json.dumps([{"role": "user", "content": "a\ud800b"}, {"role": "assistant", "content": "c"}])
    text = load_conversations(pa.table({"messages": [half] * 4}), ConversationRoles(), require_reply=True)
    assert text.dataset.inputs[0].messages[0].content == "a\ufffdb" and text.dataset.fingerprint


def test_what_was_left_out_of_a_row_is_told(tmp_path: Path) -> None:
    loaded = bad_row([{"role": "system", "content": ""}, USER, ASSISTANT, USER], tmp_path)
    assert [m.role for m in loaded.dataset.inputs[5].messages] == ["user", "assistant"]
    assert loaded.issues.counts() == {"empty_system": 1, "unanswered_message": 1}


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([*(json.dumps({"messages": row}) for row in MESSAGES), '{"messages": [']))
    with pytest.raises(DataError, match="line 6"):
        read_table(str(path))


def test_prompts_alone_are_enough_to_predict(tmp_path: Path) -> None:
    loaded = load([{"prompt": text} for text in ASKED], tmp_path, require_reply=False)
    assert [row.prompt() for row in loaded.dataset.inputs] == [(Message("user", text),) for text in ASKED]
    with pytest.raises(UsageError, match="no obvious column of the reply"):
        load([{"prompt": text} for text in ASKED], tmp_path)


def test_ids_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    rows = [{"messages": row} for row in MESSAGES]
    forth, back = load(rows, tmp_path).dataset, load(rows[::-1], tmp_path).dataset
    assert forth.example_id.tolist() == back.example_id.tolist()[::-1] and forth.fingerprint == back.fingerprint


def test_too_few_rows_say_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Only 1 of the 3 rows.*Row 2: the cell is no JSON list"):
        load([{"messages": row} for row in [MESSAGES[0], "x", "y"]], tmp_path)


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ({"messages": "message"}, "Did you mean --messages messages"),
        ({"messages": "messages", "prompt": "messages"}, "beside --prompt"),
        ({"prompt": "messages", "response": "nothing"}, "--response nothing"),
    ],
)
def test_wrong_names_are_refused(roles: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        load([{"messages": row} for row in MESSAGES], tmp_path, **roles)


@pytest.mark.parametrize(
    "columns",
    [{"text": ["a"]}, {"prompt": ["a"], "response": ["b"], "label": ["c"]}, {"messages": ["hello"]}, {"prompt": ["a"]}],
)
def test_other_tables_do_not_look_like_instructions(columns: dict[str, list[str]]) -> None:
    assert not looks_like_instructions(pa.table(columns))


def test_an_unreadable_column_of_messages_is_said() -> None:
    with pytest.raises(UsageError, match="'messages' holds no list of messages"):
        find_format(pa.table({"messages": ["hello"]}), ConversationRoles())
