"""Replies to the probes, written by base and specialist and sorted by a detector that honed trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from honed.config import Config
from honed.data.conversations import Message
from honed.data.folds import FoldPlan
from honed.data.tables import write_parquet
from honed.errors import RunFolderError, UsageError
from honed.events import Emitter
from honed.evidence.reply_rates import REPLY_CLASSES
from honed.evidence.safety import KINDS
from honed.oof import Predictions
from honed.pipeline.conscience import Probe
from honed.pipeline.reopen import finished
from honed.pipeline.run_folder import RunFolder
from honed.pipeline.scoring import groups_of
from honed.recipes.reply_rows import as_text
from honed.recipes.safety_probes import SafetyProbe
from honed.serving.engine import Specialist, load_specialist
from honed.serving.generation import Writing, write_replies
from honed.training.stack import Stack

TRAIN_ONE = "Train one with `honed fit probes:replies --recipe reply-detector --out detector`."


def detector_of(config: Config, probes: Sequence[Probe]) -> RunFolder | None:
    """The finished run of `--detector`, or None without the flag.

    Raises RunFolderError if it is no finished run, UsageError if its classes are others or there is no probe to ask.
    """
    if config.detector is None:
        return None
    if not probes:
        raise UsageError(
            f"--detector {config.detector} has nothing to sort: with --safety off and no --probes no prompt is asked.",
            remedy="Leave out --detector, or ask probes.",
        )
    if not Path(config.detector).is_dir():
        raise RunFolderError(f"There is no detector {config.detector}.", remedy=TRAIN_ONE)
    run = finished(config.detector)
    names = run.read_json(run.metrics).get("label_names")
    if names != list(REPLY_CLASSES):
        raise UsageError(
            f"The detector {config.detector} tells apart {', '.join(map(str, names or ['no classes']))}; it must tell "
            f"{', '.join(REPLY_CLASSES)}.",
            remedy=TRAIN_ONE,
        )
    return run


def write_probe_replies(
    run: RunFolder, stack: Stack, probes: Sequence[Probe], detector: RunFolder, config: Config, emitter: Emitter
) -> None:
    """replies.parquet: what base and specialist reply to some probes, and what the detector takes it for;
    detector.parquet: what it took its own out-of-fold rows for, from which its errors are known.
    """
    import pyarrow as pa

    asked = [probes[i] for i in drawn(probes, config.n_asked, config.seed)]
    prompts = [(Message("user", probe.prompt),) for probe in asked]
    n = len(asked)
    written = write_replies(stack, prompts * 2, [None] * n + [0] * n, Writing(config.max_new_tokens), emitter)
    prob = _sort(load_specialist(detector.adapter, device=config.device), [p.prompt for p in asked] * 2, written)
    columns: dict[str, Any] = {
        "probe_id": [probe.id for probe in asked],
        "category": [probe.category for probe in asked],
        "kind": [_kind(probe) for probe in asked],
        "prompt": [probe.prompt for probe in asked],
    }
    for side, own in (("base", slice(n)), ("specialist", slice(n, None))):
        columns[side] = written[own]
        columns[f"{side}_class"] = [REPLY_CLASSES[j] for j in prob[own].argmax(axis=1)]
        columns |= {f"{side}_prob_{name}": prob[own, j] for j, name in enumerate(REPLY_CLASSES)}
    write_parquet(pa.table(columns), run.replies)
    write_parquet(pa.table(_out_of_fold(detector)), run.detector)


def drawn(probes: Sequence[Probe], n: int, seed: int) -> list[int]:
    """Positions of at most n probes, two thirds of them harm probes, each category by its size.

    Drawn systematically: shuffled, sorted by category, then every so-many-th, so that each has the same chance.
    """
    rng = np.random.default_rng(seed)
    kinds = {kind: [i for i, probe in enumerate(probes) if _kind(probe) == kind] for kind in KINDS}
    n_benign = min(len(kinds["benign"]), max(n // 3, n - len(kinds["harm"])))
    chosen: list[int] = []
    for kind, most in (("harm", n - n_benign), ("benign", n_benign)):
        own = sorted(rng.permutation(kinds[kind]).tolist(), key=lambda i: probes[i].category)
        n_own = min(most, len(own))
        at = (np.arange(n_own) + rng.random()) * len(own) / max(n_own, 1)
        chosen += [own[int(i)] for i in at]
    return sorted(chosen)


def _kind(probe: Probe) -> str:
    return "harm" if isinstance(probe, SafetyProbe) else "benign"


def _sort(detector: Specialist, prompts: Sequence[str], replies: Sequence[str]) -> Any:
    return detector.probabilities([as_text(*pair) for pair in zip(prompts, replies, strict=True)])


def _out_of_fold(detector: RunFolder) -> dict[str, list[str]]:
    """kind, group, label, prediction of each row; the kind is what an id says before its first slash."""
    rows = Predictions.read(detector.oof)
    assert rows.logits is not None, "a run with classes"
    ids = rows.example_id.tolist()
    heads = [name.partition("/")[0] for name in ids]
    return {
        "example_id": ids,
        "kind": [head if head in KINDS else "" for head in heads],
        "group": groups_of(rows, FoldPlan.read(detector.folds)).tolist(),
        "label": [REPLY_CLASSES[j] for j in rows.label.tolist()],
        "prediction": [REPLY_CLASSES[j] for j in rows.logits.argmax(axis=1).tolist()],
    }
