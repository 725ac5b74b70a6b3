"""Promises about any conversation: its turns come back from every writing, and its prompt is the same tokens in use."""

from __future__ import annotations

import json
import re
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_tokenizers import FAMILIES, chat_tokenizer
from honed.data.chat_template import ConversationReader, template_of
from honed.data.control_strings import BREAK, ControlStrings
from honed.data.conversation_tokens import faults_of
from honed.data.conversations import Conversation, ConversationRoles, Message, load_conversations

# Text as JSON can hold it; not blank. Control tokens and line breaks come often.
pieces = st.sampled_from(
    ["<end_of_turn>", "<bos>", "<|im_end|>", "</s>", "\n", "\n\n", " ", "### User:", "é", "水", "a"]
)
texts = st.lists(pieces | st.text(st.characters(codec="utf-8", exclude_characters="\U000f0000"), max_size=5)).map(
    "".join
)
contents = texts.map(lambda text: text if text.strip() else f"{text}x")
NAMES = {
    "user": ("user", "human", "User"),
    "assistant": ("assistant", "gpt", "model"),
    "system": ("system", "developer"),
}


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    roles = ["system"] * draw(st.integers(0, 1)) + ["user", "assistant"] * draw(st.integers(1, 3))
    return Conversation(tuple(Message(role, draw(contents)) for role in roles))


@given(st.lists(conversations(), min_size=4, max_size=8), st.data())
def test_turns_come_back_from_every_writing(rows: list[Conversation], data: st.DataObject) -> None:
    keys = data.draw(st.sampled_from([("role", "content"), ("from", "value")]))
    cells = [
        [
            {keys[0]: data.draw(st.sampled_from(NAMES[m.role])), keys[1]: m.content}
            for m in row.messages
        ]
        for row in rows
    ]  # fmt: skip
    nested = pa.table({"messages": cells})
    as_text = pa.table({"messages": [json.dumps(cell) for cell in cells]})
    for table in (nested, as_text):
        assert load_conversations(table, ConversationRoles(), require_reply=True).dataset.inputs == rows


@given(conversations(), conversations())
def test_only_equal_conversations_are_written_alike(one: Conversation, other: Conversation) -> None:
    assert (str(one) == str(other)) == (one == other)
    assert (*one.prompt(), Message("assistant", one.reply())) == one.messages


@cache
def reader(family: str, n: int) -> ConversationReader:
    tokenizer = chat_tokenizer(family)
    return ConversationReader(tokenizer, template_of(tokenizer), n)


@pytest.mark.parametrize("family", FAMILIES)
@given(conversations())
def test_nothing_is_wrong_with_the_tokens_of_any_conversation(family: str, row: Conversation) -> None:
    read = reader(family, 100_000)
    encoded = read.encode(row)
    assert faults_of(read, row, encoded) == []
    prompt = read.encode_prompt(row.prompt())
    assert encoded.ids[: len(prompt)].tolist() == prompt.tolist()


@pytest.mark.parametrize("family", FAMILIES)
@given(conversations(), st.integers(4, 80))
def test_a_cut_row_is_no_longer_than_allowed_and_keeps_something_to_learn(
    family: str, row: Conversation, n: int
) -> None:
    whole, encoded = reader(family, 100_000).encode(row), reader(family, n).encode(row)
    assert len(encoded.ids) == min(n, len(whole.ids)) == len(whole.ids) - encoded.n_cut
    assert encoded.is_target[encoded.n_prompt :].any() and not encoded.is_target[0]


@given(st.sets(st.text("<>ab|", min_size=2, max_size=4), max_size=6), st.text("<>ab|c", max_size=30))
def test_control_strings_are_found_as_a_pattern_finds_them(strings: set[str], text: str) -> None:
    longest_first = sorted(strings, key=lambda string: (-len(string), string))
    pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
    control = ControlStrings(strings)
    assert list(control.starts(text)) == [(match.start(), match[0]) for match in pattern.finditer(text)]
    assert control.cut(text).replace(BREAK, "") == text
    assert control.cut(text).count(BREAK) == len(pattern.findall(text))
