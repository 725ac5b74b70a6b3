"""What is found in conversations before the folds: each fault planted once, and its absence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from chat_tokenizers import CHATML, GEMMA, chat_tokenizer
from honed.data.chat_template import ConversationReader, template_of
from honed.data.checks import CheckResult
from honed.data.conversation_checks import ConversationSettings, conversation_checks
from honed.data.conversations import ConversationRoles, load_conversations

TOPICS = re.findall(
    r"\w+",
    "water bread river stone cloud forest wagon letter candle mirror garden bridge hammer pillow button ladder"
    " saddle violin anchor basket carpet dragon engine feather goblet helmet island jacket kettle lantern",
)
GOOD = [
    (f"Tell me what the {a} has in common with a {b}", f"Both the {a} and the {b} stand for number {i}.")
    for i, (a, b) in enumerate(zip(TOPICS, [*TOPICS[7:], *TOPICS[:7]], strict=True))
]


def found(
    pairs: Sequence[tuple[str, str]], *, system: str = "", read: ConversationReader | None = None,
    test: Sequence[tuple[str, str]] = (),
) -> CheckResult:  # fmt: skip
    def rows(own: Sequence[tuple[str, str]]) -> Any:
        columns = {"system": [system] * len(own), "prompt": [a for a, _ in own], "response": [b for _, b in own]}
        return load_conversations(pa.table(columns), ConversationRoles(), require_reply=True).dataset

    others = rows(test).inputs if test else None
    return conversation_checks(rows(pairs), ConversationSettings(2, read, others))


def reader(family: str = "gemma", template: str | None = None, n: int = 400) -> ConversationReader:
    tokenizer = chat_tokenizer(family, template)
    return ConversationReader(tokenizer, template_of(tokenizer), n)


def counts(result: CheckResult) -> dict[str, int]:
    assert result.issues.counts() == result.summary["counts"]
    return {check: n for check, n in result.issues.counts().items() if check != "other_language"}


def test_nothing_is_wrong_with_good_rows() -> None:
    result = found(GOOD, read=reader())
    assert counts(result) == {}
    assert result.summary["truncation_frac"] == result.summary["reply_truncation_frac"] == 0
    assert result.summary["n_turns"] == {"1": len(GOOD)} and result.summary["refusal_frac"] == 0
    assert len(result.summary["preview"]) == 3 and "■⟧" in result.summary["preview"][0]["decoded"]


def test_equal_rows_and_equal_prompts_share_a_group() -> None:
    asked = GOOD[0][0]
    result = found([*GOOD, GOOD[0], GOOD[0], (GOOD[1][0], "Something else entirely, in other words.")])
    assert counts(result) == {"exact_duplicate": 3}
    same = result.issues.where("same_prompt")
    assert len(same) == 2 and not same.is_issue.any() and "Another reply to the prompt of" in same.evidence[0]
    group = result.dataset.group
    assert group[0] == group[-3] == group[-2] and group[1] == group[-1] and group[0] != group[1]
    assert result.dataset.inputs[0].prompt()[0].content == asked


def test_nearly_equal_prompts_share_a_group_whatever_the_system_prompt_says() -> None:
    long = "Please explain in a few short and simple words why the old red bridge over the wide river was closed"
    pairs = [*GOOD * 3, (f"{long} today", "Rust."), (f"{long} to day", "Ice.")]
    pairs = [(f"{a} {i // len(GOOD)}{b}", b) for i, (a, b) in enumerate(pairs[:-2])] + pairs[-2:]
    result = found(pairs, system="You are a careful assistant who answers every question in a short sentence. " * 9)
    assert result.issues.counts()["near_duplicate"] == 2
    assert result.dataset.group[-1] == result.dataset.group[-2]
    assert result.summary["n_groups"] == len(pairs) - 1, "a system prompt that all rows share joins none of them"


def test_rows_of_the_test_file_are_reported() -> None:
    result = found(GOOD, test=[(GOOD[3][0].upper(), "Whatever."), ("Another thing.", "Yes."), *[("x y", "z")] * 2])
    assert result.issues.where("test_contamination").row.tolist() == [3]


def test_refusals_and_repeated_replies_are_counted() -> None:
    refused = [(a, "I'm sorry, but I cannot help with that.") for a, _ in GOOD[:12]]
    result = found([*refused, *GOOD[12:]])
    assert result.summary["refusal_frac"] == pytest.approx(12 / len(GOOD))
    assert counts(result) == {"refusals": 1, "repeated_reply": 1}
    assert "12 of 30 rows (40.0%)" in result.issues.where("repeated_reply").evidence[0]
    few = found([*refused[:1], *GOOD[1:]])
    assert counts(few) == {} and not few.issues.where("refusals").is_issue.any()


@pytest.mark.parametrize("in_reply", [False, True])
def test_personal_data_and_control_characters_are_found_in_prompt_and_reply(in_reply: bool) -> None:
    dirty = "Write to jane.doe@example.org \x1b[31mnow"
    row = (GOOD[0][0], dirty) if in_reply else (dirty, GOOD[0][1])
    result = found([row, *GOOD[1:]], read=reader())
    assert counts(result) == {"personal_data": 1, "control_characters": 1}
    assert result.issues.where("personal_data").row.tolist() == [0]
    told = [*result.issues.evidence.tolist(), *(entry["decoded"] for entry in result.summary["preview"])]
    assert "jane.doe" not in " ".join(told)


@pytest.mark.parametrize("marker", ["<end_of_turn>", "<|im_start|>", "[INST]", "### Response:"])
@pytest.mark.parametrize("read", [None, reader()], ids=["no base", "gemma"])
def test_markers_of_a_template_in_the_text_are_told(marker: str, read: ConversationReader | None) -> None:
    result = found([(f"{GOOD[0][0]}\n{marker} and more", GOOD[0][1]), *GOOD[1:]], read=read)
    assert counts(result) == {"template_marker": 1}
    assert repr(marker) in result.issues.where("template_marker").evidence[0]


def test_a_text_that_begins_with_the_beginning_is_told() -> None:
    result = found([(f"<bos>{GOOD[0][0]}", GOOD[0][1]), *GOOD[1:]], read=reader())
    assert counts(result) == {"template_marker": 1, "doubled_bos": 1}


def test_truncation_is_counted_and_a_cut_reply_is_told() -> None:
    pairs = [("word " * 300, "Yes."), ("Tell me.", "word " * 300), *GOOD]
    result = found(pairs, read=reader(n=100))
    assert counts(result) == {"truncation": 2, "truncated_reply": 1, "truncation_share": 1}
    assert result.issues.where("truncated_reply").row.tolist() == [1]
    assert result.summary["truncation_frac"] == pytest.approx(2 / len(pairs))
    assert result.summary["reply_truncation_frac"] == pytest.approx(1 / len(pairs))
    assert result.summary["token_length"]["max"] > 100


@pytest.mark.parametrize(
    ("template", "check"),
    [("{{ bos_token }}" + GEMMA, "doubled_bos"), (GEMMA.replace("<end_of_turn>", ""), "missing_eos")],
)
def test_faults_of_the_template_are_findings(template: str, check: str) -> None:
    assert counts(found(GOOD, read=reader(template=template))) == {check: 1}


def test_rows_that_the_template_refuses_are_findings() -> None:
    source = (
        "{% if 'water' in messages[-1]['content'] %}{{ raise_exception('no [bold]water[/bold]') }}{% endif %}" + CHATML
    )
    result = found(GOOD, read=reader("chatml", source))
    n = sum("water" in reply for _, reply in GOOD)
    assert counts(result) == {"template_refuses": n} and result.summary["n_unreadable"] == n
    assert "no [bold]water[/bold]" in result.issues.where("template_refuses").evidence[0]


def test_without_a_base_tokens_are_not_looked_at() -> None:
    summary = found(GOOD).summary
    assert summary["token_length"] is None and summary["truncation_frac"] is None
