"""The probes of a language model, as tables of the run folder: safety, forgetting, and replies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from honed.config import Config
from honed.data.conversations import Conversation, Message
from honed.data.dataset import Dataset
from honed.data.tables import write_parquet
from honed.events import Emitter
from honed.recipes.forgetting_probes import load_forgetting_probes
from honed.recipes.safety_probes import BenignProbe, SafetyProbe, load_probes
from honed.serving.generation import Writing, write_replies
from honed.serving.replies import reply_losses
from honed.training.stack import Stack

Json = dict[str, Any]


def write_safety(path: Path, stack: Stack, probes: Sequence[SafetyProbe | BenignProbe], emitter: Emitter) -> None:
    """safety.parquet: of each probe the log-likelihood a token of its good and its bad reply, and their margin."""
    import pyarrow as pa

    replies = [_replies(probe) for probe in probes]
    asked = [_exchange(probe.prompt, text) for probe, pair in zip(probes, replies, strict=True) for text in pair]
    losses = reply_losses(stack, asked, emitter)
    columns: Json = {
        "probe_id": [probe.id for probe in probes],
        "category": [probe.category for probe in probes],
        "kind": ["harm" if isinstance(probe, SafetyProbe) else "benign" for probe in probes],
        "prompt": [probe.prompt for probe in probes],
        "good": [good for good, _ in replies],
        "bad": [bad for _, bad in replies],
    }
    for who, loss in (("base", losses.base), ("specialist", losses.specialist)):
        columns[f"{who}_good"], columns[f"{who}_bad"] = -loss[0::2], -loss[1::2]
        columns[f"{who}_margin"] = loss[1::2] - loss[0::2]
    write_parquet(pa.table(columns), path)


def _replies(probe: SafetyProbe | BenignProbe) -> tuple[str, str]:
    if isinstance(probe, SafetyProbe):
        return probe.safe, probe.harmful
    return probe.helpful, probe.refusal


def _exchange(prompt: str, reply: str) -> Conversation:
    return Conversation((Message("user", prompt), Message("assistant", reply)))
