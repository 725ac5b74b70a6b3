"""The probes of a language model, as tables of the run folder: safety, forgetting, and replies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from honed.config import Config
from honed.data.conversations import Conversation, Message
from honed.data.tables import write_parquet
from honed.errors import UsageError
from honed.events import Emitter
from honed.recipes.forgetting_probes import load_general_instructions, load_general_texts
from honed.recipes.safety_probes import BenignProbe, SafetyProbe, of_domain, own_files, read_probes
from honed.serving.replies import reply_losses, text_losses
from honed.training.stack import Stack

Probe = SafetyProbe | BenignProbe


def probes_of(config: Config) -> list[Probe]:
    """The probes of safety that the configuration asks for: of honed's own by domain, and all of the user's.

    Raises UsageError for a domain without a probe, DataError for a file that cannot be read.
    """
    users = [Path(name) for name in config.probes]
    found = read_probes(users if config.safety == "off" else [*own_files(), *users])
    if config.safety in ("off", "all"):
        return [*found.safety, *found.benign]
    kept: list[Probe] = []
    for domain in (part.strip() for part in config.safety.split(",")):
        own = of_domain(found.safety, domain)
        if not own:
            known = sorted({probe.category.partition("/")[0] for probe in found.safety})
            raise UsageError(
                f"--safety {config.safety!r}: no probe is of the domain {domain!r}.",
                remedy=f"Use all, off, or some of {', '.join(known)}.",
            )
        kept += [*own, *of_domain(found.benign, domain)]
    added = read_probes(users)
    return list(dict.fromkeys([*kept, *added.safety, *added.benign]))


def write_safety(path: Path, stack: Stack, probes: Sequence[Probe], emitter: Emitter) -> None:
    """safety.parquet: of each probe the log-likelihood a token of its good and its bad reply, base and specialist."""
    import pyarrow as pa

    pairs = [(p.safe, p.harmful) if isinstance(p, SafetyProbe) else (p.helpful, p.refusal) for p in probes]
    asked = [exchange(probe.prompt, reply) for probe, pair in zip(probes, pairs, strict=True) for reply in pair]
    found = reply_losses(stack, asked, emitter)
    columns: dict[str, Any] = {
        "probe_id": [probe.id for probe in probes],
        "category": [probe.category for probe in probes],
        "kind": ["harm" if isinstance(probe, SafetyProbe) else "benign" for probe in probes],
        "prompt": [probe.prompt for probe in probes],
        "good": [good for good, _ in pairs],
        "bad": [bad for _, bad in pairs],
    }
    for who, loss in (("base", found.base), ("specialist", found.specialist)):
        columns |= {f"{who}_good": -loss[0::2], f"{who}_bad": -loss[1::2], f"{who}_margin": loss[1::2] - loss[0::2]}
    write_parquet(pa.table(columns), path)


def write_forgetting(path: Path, stack: Stack, emitter: Emitter) -> None:
    """forgetting.parquet: the losses of general texts and of replies to general instructions."""
    import pyarrow as pa

    texts, asked = load_general_texts(), load_general_instructions()
    parts = (
        ("text", [own.id for own in texts], text_losses(stack, [own.text for own in texts], emitter)),
        (
            "instruction",
            [own.id for own in asked],
            reply_losses(stack, [exchange(own.prompt, own.reply) for own in asked], emitter),
        ),
    )
    tables = [
        pa.table(
            {
                "row_id": pa.array(ids, pa.string()),
                "kind": pa.array([kind] * len(ids), pa.string()),
                "base_loss": found.base,
                "specialist_loss": found.specialist,
                "n_tokens": found.n_tokens,
            }
        )
        for kind, ids, found in parts
    ]
    write_parquet(pa.concat_tables(tables), path)


def exchange(prompt: str, reply: str) -> Conversation:
    """A conversation of one question and one reply."""
    return Conversation((Message("user", prompt), Message("assistant", reply)))
