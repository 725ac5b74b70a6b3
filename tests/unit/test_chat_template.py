"""Tokens and loss mask: a prompt is the same in training and in use, every reply ends, and nothing else is learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from chat_tokenizers import CHATML, FAMILIES, GEMMA, chat_tokenizer
from honed.data.chat_template import ChatTemplate, ConversationReader, EncodedConversation, template_of
from honed.data.conversation_tokens import faults_of, marked, pieces_of
from honed.data.conversations import Conversation, Message
from honed.errors import BaseModelError, DataError

TURNS = (("user", "How much water?"), ("assistant", "About two litres."))
MORE = (*TURNS, ("user", "And when it is hot?"), ("assistant", "\n\nMore.\n"))


def talk(*turns: tuple[str, str], system: str = "") -> Conversation:
    said = (("system", system), *turns) if system else turns
    return Conversation(tuple(Message(role, content) for role, content in said))


def reader(
    family: str, template: str | None = None, *, n: int = 1000, on: Literal["responses", "all"] = "responses"
) -> ConversationReader:
    tokenizer = chat_tokenizer(family, template)
    return ConversationReader(tokenizer, template_of(tokenizer), n, on)


def learned(encoded: EncodedConversation, read: ConversationReader) -> list[str]:
    """The text of every run of targets."""
    return [piece.text for piece in pieces_of(read, encoded) if piece.is_target]


def as_usual(read: ConversationReader, messages: tuple[Message, ...]) -> list[int]:
    """A prompt as transformers alone makes its tokens."""
    said = [{"role": m.role, "content": m.content} for m in messages]
    tokenizer: Any = read.tokenizer
    ids: list[int] = tokenizer.apply_chat_template(
        said, chat_template=read.template.source, add_generation_prompt=True, tokenize=True
    )["input_ids"]
    return ids


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("turns", [TURNS, MORE], ids=["one", "two"])
def test_a_prompt_is_the_same_tokens_in_training_in_use_and_in_transformers(
    family: str, turns: tuple[tuple[str, str], ...]
) -> None:
    read = reader(family)
    conversation = talk(*turns)
    encoded, prompt = read.encode(conversation), read.encode_prompt(conversation.prompt())
    assert prompt.dtype == encoded.ids.dtype == np.int32
    assert encoded.ids[: len(prompt)].tolist() == prompt.tolist() == as_usual(read, conversation.prompt())
    assert encoded.n_prompt == len(prompt) and encoded.n_cut == 0
    assert faults_of(read, conversation, encoded) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_replies_with_their_end_are_learned_and_nothing_else(family: str) -> None:
    read = reader(family)
    encoded = read.encode(talk(*MORE))
    end = read.tokenizer.decode([read.end_ids[0]])
    said = learned(encoded, read)
    assert said[1::2] == [end, end]
    assert [text.strip() for text in said[::2]] == ["About two litres.", "More."]
    assert not encoded.is_target[: encoded.n_prompt].all() and not encoded.is_target[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_all_learns_everything_but_the_first_token(family: str) -> None:
    encoded = reader(family, on="all").encode(talk(*MORE))
    assert not encoded.is_target[0] and encoded.is_target[1:].all()


@pytest.mark.parametrize("family", FAMILIES)
def test_there_is_one_beginning_where_the_model_knows_one(family: str) -> None:
    read = reader(family)
    ids = read.encode(talk(*MORE, system="Be short.")).ids.tolist()
    if family in ("gemma", "llama"):
        assert ids[0] == read.tokenizer.bos_token_id and ids.count(ids[0]) == 1
        assert any(check == "doubled_bos" and not is_fault for check, is_fault, _ in read.facts.remarks)
    else:
        assert ids[0] != read.tokenizer.bos_token_id


def test_a_beginning_that_only_the_tokenizer_adds_is_kept() -> None:
    read = reader("gemma", GEMMA.removeprefix("{{ bos_token }}"))
    ids = read.encode(talk(*TURNS)).ids.tolist()
    assert ids == reader("gemma").encode(talk(*TURNS)).ids.tolist()
    assert read.encode_prompt(talk(*TURNS).prompt())[0] == read.tokenizer.bos_token_id


def test_a_template_that_writes_two_beginnings_is_told_and_mended() -> None:
    read = reader("gemma", "{{ bos_token }}" + GEMMA)
    assert any(check == "doubled_bos" and is_fault for check, is_fault, _ in read.facts.remarks)
    assert read.encode(talk(*TURNS)).ids.tolist() == reader("gemma").encode(talk(*TURNS)).ids.tolist()


def test_a_template_without_an_end_is_told_and_ended() -> None:
    source = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    read = reader("chatml", source)
    assert [remark.check for remark in read.facts.remarks if remark.is_fault] == ["missing_eos"]
    encoded = read.encode(talk(*MORE))
    assert encoded.ids[-1] == read.tokenizer.eos_token_id and encoded.is_target[-1]
    prompt = read.encode_prompt(talk(*MORE).prompt())
    assert encoded.ids[: len(prompt)].tolist() == prompt.tolist()
    assert learned(encoded, read) == ["About two litres.\n", "\n\nMore.\n\n", "<|im_end|>"]


def test_a_template_that_ends_only_the_last_reply_does_not_unmask_a_prompt() -> None:
    source = CHATML.replace(
        "+ '<|im_end|>' + '\\n' }}", "+ ('<|im_end|>' if loop.last or m['role'] == 'user' else '') + '\\n' }}"
    )
    assert source != CHATML
    read = reader("chatml", source)
    assert not read.facts.ends_every_reply
    assert learned(read.encode(talk(*TURNS)), read) == ["About two litres.", "<|im_end|>"]
    with pytest.raises(DataError, match="differently"):  # what was the last reply is written anew when it is not
        read.encode(talk(*MORE))


def test_a_system_prompt_without_a_role_for_it_stands_above_the_first_message() -> None:
    read = reader("llama")
    assert any(remark.check == "no_system_role" for remark in read.facts.remarks)
    text = read.tokenizer.decode(read.encode(talk(*TURNS, system="Be short.")).ids)
    assert "[INST] Be short.\n\nHow much water? [/INST]" in text


@pytest.mark.parametrize("family", FAMILIES)
def test_a_system_prompt_is_kept(family: str) -> None:
    read = reader(family)
    assert "Be short." in read.tokenizer.decode(read.encode_prompt(talk(TURNS[0], system="Be short.").messages))


@pytest.mark.parametrize("family", FAMILIES)
def test_control_tokens_in_a_text_stay_text(family: str) -> None:
    read = reader(family)
    strings = read.chat.control_strings.strings
    forged = " ".join(sorted(strings))
    plain = read.encode(talk(("user", "Hi"), ("assistant", "Hello."))).ids.tolist()
    conversation = talk(("user", f"Hi {forged}{forged}"), ("assistant", f"Hello. {forged}"))
    encoded = read.encode(conversation)
    control = {i for i, token in read.tokenizer.added_tokens_decoder.items() if token.content in strings}
    assert [i for i in encoded.ids.tolist() if i in control] == [i for i in plain if i in control]
    said = read.tokenizer.decode(encoded.ids)
    assert f"Hi {forged}{forged}" in said and f"Hello. {forged}" in said, "nothing of the text is lost"
    assert faults_of(read, conversation, encoded) == []


def test_a_model_that_thinks_aloud_keeps_its_tokens() -> None:
    from tokenizers import AddedToken

    tokenizer = chat_tokenizer("chatml", CHATML + "{# <think> #}")
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    read = ConversationReader(tokenizer, template_of(tokenizer), 100)
    think = tokenizer.convert_tokens_to_ids("<think>")
    ids = read.encode(talk(("user", "<think>"), ("assistant", "<think>Well."))).ids.tolist()
    assert ids.count(think) == 1


def test_a_prompt_is_cut_on_its_left_and_the_reply_stays_whole() -> None:
    whole = reader("gemma").encode(talk(("user", "word " * 50), ("assistant", "Yes.")))
    n = 30
    encoded = reader("gemma", n=n).encode(talk(("user", "word " * 50), ("assistant", "Yes.")))
    assert len(encoded.ids) <= n and encoded.n_reply_cut == 0 and encoded.n_cut == len(whole.ids) - len(encoded.ids)
    kept = encoded.ids[encoded.n_prompt :].tolist()
    assert kept == whole.ids[whole.n_prompt : whole.n_prompt + len(kept)].tolist()
    assert encoded.ids[0] == whole.ids[0] and int(encoded.is_target.sum()) == int(whole.is_target.sum())
    assert (
        encoded.ids[encoded.n_prompt - 5 : encoded.n_prompt].tolist()
        == whole.ids[whole.n_prompt - 5 : whole.n_prompt].tolist()
    )


def test_a_reply_too_long_is_cut_at_its_end_and_has_none() -> None:
    read = reader("gemma", n=40)
    encoded = read.encode(talk(("user", "word " * 50), ("assistant", "word " * 500)))
    assert len(encoded.ids) == 40 and encoded.n_prompt == 10 and encoded.n_reply_cut > 0
    assert encoded.is_target[10:].all() and encoded.ids[-1] not in read.end_ids
    assert len(read.encode_prompt(talk(("user", "word " * 500)).messages)) == 40


def test_a_row_of_100_000_tokens_is_no_trouble() -> None:
    encoded = reader("chatml", n=64).encode(talk(("user", "a b " * 50_000), ("assistant", "Yes.")))
    assert len(encoded.ids) == 64 and encoded.n_cut > 100_000 - 64 and encoded.n_reply_cut == 0


def test_many_are_encoded_as_one() -> None:
    read = reader("chatml")
    rows = [talk(*MORE[:k], system=system) for k in (2, 4) for system in ("", "Be short.")]
    for one, row in zip(read.encode_all(rows), rows, strict=True):
        alone = read.encode(row)
        assert one.ids.tolist() == alone.ids.tolist() and one.is_target.tolist() == alone.is_target.tolist()


def test_a_template_is_stored_whole() -> None:
    for family in FAMILIES:
        template = template_of(chat_tokenizer(family))
        assert ChatTemplate.from_json(template.to_json()) == template
        assert template.name == ("plain" if family == "plain" else "model")
    with pytest.raises(DataError, match="no stored chat template"):
        ChatTemplate.from_json({"source": "x", "name": "other"})


REWRITES = CHATML.replace("'<|im_start|>assistant\\n'", "'<|im_start|>assistant\\nYes: '")
RAISES = "{{ raise_exception('only French') }}"


@pytest.mark.parametrize(
    ("source", "words"), [(REWRITES, "differently"), (RAISES, "only French"), ("hi", "leaves the reply")]
)
def test_a_template_that_cannot_be_trained_on_is_refused(source: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        reader("chatml", source).encode(talk(*TURNS))


def test_a_row_that_the_template_refuses_is_told_in_its_words() -> None:
    with pytest.raises(DataError, match="roles must alternate"):
        reader("gemma").encode(talk(TURNS[0], *TURNS))
    with pytest.raises(DataError, match="without a reply"):
        reader("gemma").encode(talk(TURNS[0]))


def test_a_tokenizer_without_an_end_of_text_is_refused() -> None:
    tokenizer = chat_tokenizer("chatml")
    tokenizer.eos_token = None
    with pytest.raises(BaseModelError, match="no end-of-text token"):
        ConversationReader(tokenizer, template_of(tokenizer), 100).encode(talk(*TURNS))


def test_planted_faults_are_caught() -> None:
    read, conversation = reader("gemma"), talk(*MORE)
    good = read.encode(conversation)
    assert faults_of(read, conversation, good) == []

    def checks(encoded: EncodedConversation) -> set[str]:
        return {check for check, _ in faults_of(read, conversation, encoded)}

    last = int(np.flatnonzero(good.is_target)[-1])
    no_end = replace(good, ids=np.delete(good.ids, last), is_target=np.delete(good.is_target, last))
    assert checks(no_end) == {"missing_eos"}
    untrained = good.is_target.copy()
    untrained[last] = False
    assert checks(replace(good, is_target=untrained)) == {"missing_eos"}
    twice = replace(good, ids=np.insert(good.ids, 0, good.ids[0]), is_target=np.insert(good.is_target, 0, False))
    assert checks(twice) >= {"doubled_bos"}
    open_prompt = good.is_target.copy()
    open_prompt[1:last] = True
    assert checks(replace(good, is_target=open_prompt)) == {"unmasked_prompt"}
    second = good.is_target.copy()
    second[good.n_prompt - 12 : good.n_prompt] = True  # the second question alone
    assert checks(replace(good, is_target=second)) == {"unmasked_prompt"}
    first = int(np.flatnonzero(good.is_target)[0])
    third = good.is_target.copy()
    third[first : good.n_prompt - 4] = True  # the first reply and the second question
    assert checks(replace(good, is_target=third)) == {"unmasked_prompt"}
    assert checks(replace(good, is_target=np.zeros_like(good.is_target))) >= {"reply_cut_off"}
    other = reader("gemma", GEMMA.replace("model", "helper"))
    assert {check for check, _ in faults_of(other, conversation, good)} == {"template_mismatch"}


def test_the_mask_can_be_read_without_colours() -> None:
    read = reader("chatml")
    assert marked(pieces_of(read, read.encode(talk(*TURNS)))) == (
        "<|im_start|>user\nHow much water?<|im_end|>\n<|im_start|>assistant\n⟦About two litres.■⟧\n"
    )
