"""`honed plan`: what a run will need, from its configuration alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from honed.bases import ResolvedBase, load_tokenizer
from honed.config import Config
from honed.data.loading import load_dataset
from honed.errors import BaseModelError, UsageError
from honed.methods.base import get_method
from honed.pipeline.prepare import read_source, roles_of
from honed.pipeline.settle import with_task
from honed.planning.machines import THIS, Machine, named_machine, this_machine
from honed.planning.plan import Plan, PlanRequest, make_plan
from honed.planning.rehearsal import Specialist
from honed.planning.shapes import BaseShape, check_reach, read_base_shape
from honed.planning.workload import Lengths, Workload
from honed.training.build import pick_device

TOKENS_PER_WORD = 1.4
"""English text in the word pieces of BERT and its kin; used where no tokenizer is at hand."""
CHARACTERS_PER_TOKEN = 4.5
_SAMPLED_TEXTS = 1000


@dataclass(frozen=True)
class AssumedData:
    """What is assumed of data that are not there: rows, tokens of each (None: `--max-tokens`), classes."""

    rows: int = 1000
    tokens: int | None = None
    n_classes: int = 5


def plan(config: Config, *, machines: Sequence[str] = (THIS,), assumed: AssumedData | None = None) -> Plan:
    """The plan of `honed fit` under `config`.

    machines : `this`, or names of `honed.planning.machines.GPUS`.
    assumed : what to plan for if the configuration names no data.

    Raises UsageError for an unknown machine, base, depth or length, and DataError for data that cannot be read.
    """
    config = with_task(config, "text_classification")
    base = read_base_shape(config.base, revision=config.revision)
    check_reach(base, config.max_tokens)
    device = pick_device(config.device)
    known = {name: None if name == THIS else named_machine(name) for name in dict.fromkeys(machines)}
    workload, notes = _workload(config, base, assumed or AssumedData())
    specialist = Specialist(
        method=config.method,
        options=get_method(config.method).options(**config.method_options),
        head=config.head,
        depth=config.depth,
        dtype=config.precision,
        n_classes=workload.n_classes,
        recompute=config.gradient_checkpointing,
    )
    if config.trials or config.learning_rate == "auto":
        notes = (
            *notes,
            "The search for settings (trials, automatic rates) is not in the time; the training after it is.",
        )
    request = PlanRequest(base, specialist, workload, config.cache_frac, config.gate, config.keep_texts, notes)
    found: list[Machine] = [
        machine or this_machine(device, config.precision, base.hidden_size) for machine in known.values()
    ]
    return make_plan(request, found)


def _workload(config: Config, base: BaseShape, assumed: AssumedData) -> tuple[Workload, tuple[str, ...]]:
    notes = []
    if config.data:
        loaded = load_dataset(read_source(config.data), roles_of(config), require_label=True)
        if loaded.roles.image:
            raise UsageError("`honed plan` counts texts; images it cannot plan yet.", remedy="`honed fit` takes them.")
        texts, rows = loaded.dataset.inputs, len(loaded.dataset)
        n_classes = len(loaded.dataset.label_names)
        sample = [texts[i] for i in np.linspace(0, rows - 1, min(rows, _SAMPLED_TEXTS)).astype(int)]
        lengths, how = _lengths(sample, base, config.max_tokens)
        characters = float(np.mean([len(text) for text in sample]))
        notes.append(how)
        if rows > len(sample):
            notes.append(f"Token lengths were taken from {len(sample)} of {rows} rows.")
    else:
        tokens = min(assumed.tokens or config.max_tokens, config.max_tokens)
        rows, n_classes = assumed.rows, assumed.n_classes
        lengths = np.array([tokens], dtype=np.int64)
        characters = CHARACTERS_PER_TOKEN * tokens
        notes.append(f"No data were named: {rows} rows of {tokens} tokens in {n_classes} classes were assumed.")
    workload = Workload(
        rows=rows,
        lengths=lengths,
        characters=characters,
        n_classes=n_classes,
        folds=config.folds,
        holdout_frac=config.holdout_frac,
        stop_frac=config.stop_frac,
        epochs=config.epochs,
        batch_rows=config.batch_size,
    )
    return workload, tuple(notes)


def _lengths(texts: Sequence[str], base: BaseShape, max_tokens: int) -> tuple[Lengths, str]:
    tokenizer = _tokenizer(base)
    if tokenizer is None:
        counts = [round(TOKENS_PER_WORD * len(text.split())) for text in texts]
        how = f"No tokenizer is here: {TOKENS_PER_WORD} tokens a word were assumed."
    else:
        encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens, verbose=False)["input_ids"]
        counts = [len(ids) for ids in encoded]
        how = "Token lengths are those of the base's own tokenizer."
    return np.clip(np.array(counts, dtype=np.int64), 1, max_tokens), how


def _tokenizer(base: BaseShape) -> Any:
    """The base's tokenizer, or None if there is none."""
    if base.folder is None:
        return None
    files = ResolvedBase(
        base.name, base.folder, "folder", None, None, "", "", base.n_layers, base.hidden_size, base.max_positions, 0
    )  # a tokenizer needs no weights
    try:
        return load_tokenizer(files)
    except BaseModelError:
        return None
