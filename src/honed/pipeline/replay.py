"""`--replay`: general instructions among the training rows, so that a specialist forgets less. None is ever scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from honed.data.conversations import Conversation, Message
from honed.data.dataset import Dataset
from honed.data.folds import NEVER_STOP, FoldPlan
from honed.errors import UsageError
from honed.recipes.forgetting_probes import load_replay


def with_replay(part: Dataset, plan: FoldPlan, frac: float) -> tuple[Dataset, FoldPlan]:
    """Development rows and plan with `frac` times as many general rows, which every fold and the final model learn.

    Raises UsageError if that is more than there are.
    """
    n = round(frac * len(part))
    if n == 0:
        return part, plan
    known = load_replay()
    if n > len(known):
        raise UsageError(
            f"--replay {frac:g} asks for {n} general rows; honed has {len(known)}.",
            remedy=f"Use --replay {len(known) / len(part):.2g} or less, or add general rows of your own to the file.",
        )
    drawn = [known[i] for i in np.sort(np.random.default_rng(plan.seed).choice(len(known), n, replace=False))]
    rows = [Conversation((Message("user", own.prompt), Message("assistant", own.reply))) for own in drawn]
    ids = np.array([f"replay {own.id}" for own in drawn], dtype=np.str_)
    longer = replace(
        part,
        example_id=np.concatenate([part.example_id, ids]),
        inputs=[*part.inputs, *rows],
        label=np.concatenate([part.label, np.zeros(n, dtype=np.int64)]),
        group=np.concatenate([part.group, ids]),
        row=np.concatenate([part.row, np.full(n, -1)]),
        traits={},
    )
    return longer, replace(
        plan,
        example_id=longer.example_id,
        group=longer.group,
        fold=np.concatenate([plan.fold, np.full(n, plan.n_folds)]),
        stop=np.concatenate([plan.stop, np.full(n, NEVER_STOP)]),
    )
