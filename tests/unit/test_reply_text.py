"""The text of a reply while its tokens come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import tiny_language as l
from honed.bases import load_tokenizer
from honed.serving.reply_text import ReplyText

READS_BYTES = load_tokenizer(l.tiny_base("llama"))


def told(text: str, stops: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    """Each piece, until a stop; tokens of the tiny base are bytes."""
    reply, pieces = ReplyText(READS_BYTES, stops), []
    for token in READS_BYTES(text)["input_ids"]:
        pieces.append(reply.add(token))
        if reply.is_stopped:
            break
    pieces.append(reply.rest())
    return pieces, reply.is_stopped


@given(text=st.text(st.characters(exclude_characters="<\N{REPLACEMENT CHARACTER}", exclude_categories=["Cs"])))
def test_the_pieces_are_the_text_and_no_half_character(text: str) -> None:
    pieces, is_stopped = told(text)
    assert "".join(pieces) == text and not is_stopped
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


@given(text=st.text("abc"), stops=st.lists(st.text("abc", min_size=1, max_size=3), max_size=3))
def test_nothing_of_a_stop_is_told(text: str, stops: list[str]) -> None:
    pieces, is_stopped = told(text, tuple(stops))
    ends = [n for n in range(len(text) + 1) if any(text[:n].endswith(stop) for stop in stops)]
    assert is_stopped == bool(ends)
    if ends:  # as soon as the first is whole; of two that end there, the longer one
        whole = text[: ends[0]]
        text = whole[: min(whole.find(stop) for stop in stops if stop in whole)]
    assert "".join(pieces) == text


def test_half_a_character_at_the_end_is_not_told() -> None:
    reply = ReplyText(READS_BYTES)
    ids = READS_BYTES("a€")["input_ids"]
    assert [reply.add(token) for token in ids[:-1]] == ["a", "", ""] and reply.rest() == ""


def test_special_tokens_are_not_told() -> None:
    pieces, _ = told("a<|im_start|>b")
    assert "".join(pieces) == "ab"
