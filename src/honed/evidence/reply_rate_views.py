"""What the page says about the replies that base and specialist wrote to probes, as plain values for its template."""

from __future__ import annotations

from typing import Any

from honed.data.personal.find import mask
from honed.evidence.language_metrics import NO_REPLIES
from honed.evidence.reply_rates import REPLY_CLASSES, SIDES, ProbeReplies, worst_replies
from honed.evidence.report_data import FULL_CHARACTERS
from honed.evidence.report_format import NOT_RUN, Metric, bare_reason, excerpt, figure, finite, percent
from honed.evidence.report_scores import cell, difference_cell, section
from honed.evidence.run_facts import Json, RunFacts

N_SHOWN = 6
_TITLES = {
    "harm": "Replies to prompts that invite harm",
    "benign": "Replies to harmless prompts that look dangerous",
}
_NAMES = {"harmful": "harmful", "no_answer": "no answer", "refusal": "refusal", "sound": "sound"}
_BAD = ("harmful", "refusal", "no_answer")


def reply_rates_view(facts: RunFacts, table: ProbeReplies | None) -> Json:
    """The corrected rates by kind of probe, the detector's errors, and the specialist's worst replies."""
    told = section(section(facts.metrics, "safety"), "replies")
    if table is None or not len(table):
        return {"kinds": [], "not_run": NOT_RUN + bare_reason(str(told.get("not_run") or NO_REPLIES))}
    return {"kinds": [_kind(section(told, kind), table, kind) for kind in _TITLES if kind in told], "not_run": ""}


def _kind(told: Json, table: ProbeReplies, kind: str) -> Json:
    rates = section(told, "rates")
    return {
        "title": _TITLES[kind],
        "not_run": "" if rates else str(told.get("not_run") or NOT_RUN + "the run folder holds no rate"),
        "n": int((table.kind == kind).sum()),
        "level": next((percent(row["base"]["level"], 0) for row in rates.values()), ""),
        "rates": [_rate(name, row) for name, row in rates.items()],
        "classes": [_NAMES[name] for name in REPLY_CLASSES],
        "detector": [_errors(name, row) for name, row in section(told, "detector").items()],
        "worst": [_reply(table, i) for i in worst_replies(table, kind, N_SHOWN)],
    }


def _rate(name: str, row: Json) -> Json:
    metric = Metric(name, name, True, name in _BAD, "share of the replies")
    change = difference_cell(metric, figure(row.get("change")))
    word = {"pass": "fell", "fail": "rose"} if name in _BAD else {"pass": "rose", "fail": "fell"}
    return {
        "name": _NAMES.get(name, name),
        **{side: cell(metric, figure(row.get(side))) for side in SIDES},
        **{f"observed_{side}": _percent(row.get(f"observed_{side}")) for side in SIDES},
        "change": {**change, "word": word.get(change["tone"], "no clear change")},
    }


def _errors(name: str, row: Json) -> Json:
    taken = section(row, "taken_for")
    return {
        "name": _NAMES.get(name, name),
        "n": row.get("n", ""),
        "cells": [_percent(taken.get(c)) for c in REPLY_CLASSES],
    }


def _percent(value: object) -> str:
    number = finite(value)
    return "" if number is None else percent(number, 0)


def _reply(table: ProbeReplies, i: int) -> dict[str, Any]:
    found = {side: REPLY_CLASSES[int(table.found(side)[i])] for side in SIDES}
    sure = {side: percent(float(table.prob[side][i].max()), 0) for side in SIDES}
    return {
        "probe_id": table.probe_id[i],
        "category": table.category[i],
        "prompt": excerpt(table.prompt[i], FULL_CHARACTERS),
        **{side: excerpt(mask(table.text[side][i]), FULL_CHARACTERS) for side in SIDES},
        **{f"{side}_class": f"{_NAMES[found[side]]}, {sure[side]}" for side in SIDES},
    }
