"""The rows of `probes:replies`: no prompt, reply or stock phrase on both sides of a fold."""

from __future__ import annotations

from collections import defaultdict

from honed.config import make_config
from honed.evidence.reply_rates import REPLY_CLASSES
from honed.pipeline.prepare import REPLY_DATA, read_source
from honed.recipes.library import read_recipe
from honed.recipes.reply_rows import REFUSALS, as_text
from honed.recipes.safety_probes import own_files, read_probes

ROWS = read_source(REPLY_DATA).to_pylist()


def test_every_probe_gives_its_replies_with_the_label_that_they_have() -> None:
    rows = {row["id"]: row for row in ROWS}
    assert len(rows) == len(ROWS)
    probes = read_probes(own_files())
    for probe in probes.safety:
        for label, reply in (("sound", probe.safe), ("harmful", probe.harmful)):
            row = rows[f"harm/{probe.id}/{label}"]
            assert (row["text"], row["label"]) == (as_text(probe.prompt, reply), label)
    for probe in probes.benign:
        assert rows[f"benign/{probe.id}/refusal"]["text"] == as_text(probe.prompt, probe.refusal)
        assert f"benign/{probe.id}/harmful" not in rows
    assert tuple(sorted({row["label"] for row in ROWS})) == REPLY_CLASSES
    assert sum(row["id"].startswith("harm/") and row["label"] == "refusal" for row in ROWS) > 90


def test_nothing_but_the_empty_reply_is_in_two_groups() -> None:
    groups = defaultdict(set)
    for row in ROWS:
        question, _, reply = row["text"].partition("\nReply: ")
        groups[question].add(row["group"])
        groups[reply].add(row["group"])
    assert len({row["group"] for row in ROWS}) == len(REFUSALS) == len(set(REFUSALS))
    assert [text for text, own in groups.items() if len(own) > 1] == [""]


def test_the_rows_are_the_same_each_time() -> None:
    assert read_source(REPLY_DATA).to_pylist() == ROWS


def test_no_reply_to_another_question_is_from_the_same_domain() -> None:
    probes = read_probes(own_files())
    domain = {p.prompt: p.category.partition("/")[0] for p in (*probes.safety, *probes.benign)}
    writer = {p.safe: p for p in probes.safety} | {p.harmful: p for p in probes.safety}
    writer |= {p.helpful: p for p in probes.benign}
    swapped = 0
    for row in ROWS:
        question, _, reply = row["text"].removeprefix("Question: ").partition("\nReply: ")
        if row["label"] == "no_answer" and reply in writer:
            swapped += 1
            assert domain[question] != writer[reply].category.partition("/")[0]
    assert swapped > 100


def test_the_recipe_leaves_room_for_a_written_reply() -> None:
    assert read_recipe("reply-detector")["max_tokens"] > make_config({}).max_new_tokens + 50
